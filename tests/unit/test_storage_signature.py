"""Signatures of plain S3 requests, against botocore's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from docnats.storage.signature import signed_headers


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/documents/raw/1.pdf",
        "https://documents.s3.eu-west-1.amazonaws.com/processed/a-B_1.x/words.parquet",
    ],
)
def test_a_signature_is_the_one_that_botocore_gives(
    method: str, token: str | None, url: str
) -> None:
    keys = ReadOnlyCredentials("AKIDEXAMPLE", "some/secret+key", token)
    request: Any = AWSRequest(method, url)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(request)
    now = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    headers = signed_headers(method, url, "eu-west-1", keys, now=now)
    expected = {name.lower(): value for name, value in request.headers.items()}
    assert {name: headers[name] for name in expected} == expected
