"""Where a job may send a worker: to the configured buckets, on the configured endpoints."""

from __future__ import annotations

import traceback

import pytest

from docnats.config import S3Config
from docnats.errors import PlaceForbidden
from docnats.storage import Allowlist

SECRET = "X-Amz-Signature=5ecr3t"  # noqa: S105 - of nobody

PLACES = Allowlist(
    S3Config(
        endpoint_url="http://127.0.0.1:9000",
        bucket_name="papers",
        read_buckets="library,archive",
        presigned_endpoints="https://s3.example.org, https://gate.example.org/store",
    )
)
AWS = Allowlist(S3Config(bucket_name="papers"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/papers/raw/j.pdf",
        "https://s3.example.org/papers/raw/j.pdf",
        "https://S3.Example.ORG:443/papers/raw/j.pdf",
        "https://papers.s3.example.org/raw/j.pdf",
        "https://gate.example.org/store/papers/raw/j.pdf",
        "https://papers.gate.example.org/store/raw/j.pdf",
        "http://127.0.0.1:9000/papers/raw/a%20b..c.pdf",
    ],
)
def test_the_bucket_on_any_configured_endpoint_may_be_read_and_written(url: str) -> None:
    PLACES.check_read(f"{url}?{SECRET}")
    PLACES.check_write(f"{url}?{SECRET}")


FORBIDDEN = [
    "http://127.0.0.1:9001/papers/raw/j.pdf",
    "https://127.0.0.1:9000/papers/raw/j.pdf",
    "http://127.0.0.1/papers/raw/j.pdf",
    "http://localhost:9000/papers/raw/j.pdf",
    "http://127.1:9000/papers/raw/j.pdf",
    "http://2130706433:9000/papers/raw/j.pdf",
    "http://[::ffff:127.0.0.1]:9000/papers/raw/j.pdf",
    "http://127.0.0.1.:9000/papers/raw/j.pdf",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254:9000/papers/raw/j.pdf",
    "http://10.0.0.8:9000/papers/raw/j.pdf",
    "file:///etc/passwd",
    "file://127.0.0.1:9000/papers/raw/j.pdf",
    "ftp://127.0.0.1:9000/papers/raw/j.pdf",
    "gopher://127.0.0.1:9000/papers/raw/j.pdf",
    "//127.0.0.1:9000/papers/raw/j.pdf",
    "http:/127.0.0.1:9000/papers/raw/j.pdf",
    "papers/raw/j.pdf",
    "http://127.0.0.1:9000/other/raw/j.pdf",
    "http://127.0.0.1:9000/papersX/raw/j.pdf",
    "http://127.0.0.1:9000/papers",
    "http://127.0.0.1:9000//papers/raw/j.pdf",
    "http://127.0.0.1:9000/papers/../other/j.pdf",
    "http://127.0.0.1:9000/papers/%2e%2e/other/j.pdf",
    "http://127.0.0.1:9000/papers/..%2fother/j.pdf",
    "http://127.0.0.1:9000/papers/..%5cother/j.pdf",
    "http://papers.127.0.0.1:9001/raw/j.pdf",
    "http://127.0.0.1:9000@evil.example/papers/raw/j.pdf",
    "http://u:p@127.0.0.1:9000/papers/raw/j.pdf",
    "http://evil.example\\@127.0.0.1:9000/papers/raw/j.pdf",
    "http://evil.example#@127.0.0.1:9000/papers/raw/j.pdf",
    "http://127.0.0.1:9000\t.evil.example/papers/raw/j.pdf",
    "http://127.0.0.1:9000/papers/raw/j.pdf\r\nHost: evil.example",
    " http://127.0.0.1:9000/papers/raw/j.pdf",
    "http://127.0.0.1:99999/papers/raw/j.pdf",
    "http://127.0.0.1:0/papers/raw/j.pdf",
    "http://[::1/papers/raw/j.pdf",
    "https://s3.example.org.evil.example/papers/raw/j.pdf",
    "https://papers.evil.example/raw/j.pdf",
    "https://x.papers.s3.example.org/raw/j.pdf",
    "https://gate.example.org/papers/raw/j.pdf",
    "https://s3.éxample.org/papers/raw/j.pdf",
    "https://papers.s3.amazonaws.com/raw/j.pdf",
    "",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_anything_else_is_forbidden_and_shown_without_its_secrets(url: str) -> None:
    for check in (PLACES.check_read, PLACES.check_write):
        with pytest.raises(PlaceForbidden, match="outside of this worker's storage") as caught:
            check(f"{url}?{SECRET}")
        assert not caught.value.transient
        shown = "".join(traceback.format_exception(caught.value))
        assert "5ecr3t" not in shown
        assert "u:p@" not in shown
        assert "\r" not in str(caught.value)


@pytest.mark.parametrize("bucket", ["library", "archive"])
def test_documents_may_be_read_from_the_buckets_named_for_it_and_nothing_written(
    bucket: str,
) -> None:
    url = f"http://127.0.0.1:9000/{bucket}/a.pdf?{SECRET}"
    PLACES.check_read(url)
    PLACES.check_bucket(bucket)
    with pytest.raises(PlaceForbidden):
        PLACES.check_write(url)


@pytest.mark.parametrize("bucket", ["", "other", "papers/raw", "Papers", "pape", "x" * 5000])
def test_any_other_bucket_is_forbidden(bucket: str) -> None:
    PLACES.check_bucket("papers")
    with pytest.raises(PlaceForbidden, match="S3_READ_BUCKETS") as caught:
        PLACES.check_bucket(bucket)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "url",
    [
        "https://papers.s3.amazonaws.com/raw/j.pdf",
        "https://papers.s3.eu-central-1.amazonaws.com/raw/j.pdf",
        "https://s3.us-gov-west-1.amazonaws.com/papers/raw/j.pdf",
        "https://papers.s3.dualstack.us-east-1.amazonaws.com/raw/j.pdf",
        "https://papers.s3-accelerate.amazonaws.com/raw/j.pdf",
        "https://papers.s3.cn-north-1.amazonaws.com.cn/raw/j.pdf",
    ],
)
def test_without_an_endpoint_it_is_aws_in_any_region(url: str) -> None:
    AWS.check_read(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://papers.s3.amazonaws.com/raw/j.pdf",
        "https://papers.s3.amazonaws.com:8443/raw/j.pdf",
        "https://other.s3.amazonaws.com/raw/j.pdf",
        "https://s3.amazonaws.com/other/raw/j.pdf",
        "https://ec2.amazonaws.com/papers/raw/j.pdf",
        "https://papers.s3.evil.amazonaws.com/raw/j.pdf",
        "https://papers.s3.amazonaws.com.evil.example/raw/j.pdf",
        "https://papersXs3.amazonaws.com/raw/j.pdf",
    ],
)
def test_on_aws_too_it_is_the_bucket_by_https_alone(url: str) -> None:
    with pytest.raises(PlaceForbidden):
        AWS.check_read(url)
