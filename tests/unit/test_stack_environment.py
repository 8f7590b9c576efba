"""Settings survive the way through environment variables, and no others slip in."""

from __future__ import annotations

import pytest

from docnats.config import NatsConfig, S3Config
from docnats.stack.environment import (
    nats_from,
    nats_variables,
    s3_from,
    s3_variables,
    worker_environment,
)

S3 = S3Config(
    endpoint_url="http://127.0.0.1:9000",
    bucket_name="papers",
    region_name="us-east-1",
    aws_access_key_id="AKIA",
    aws_secret_access_key="s3cret",  # noqa: S106 - of nobody
    use_credentials=False,
    presigned_endpoints="https://s3.example.org,http://b:9",
    read_buckets="library",
)


@pytest.mark.parametrize(
    "nats",
    [
        NatsConfig(servers="nats://127.0.0.1:4222"),
        NatsConfig(servers="nats://ann:p%40ss%2Fw%3Ard@a:1,tls://b:2", replicas=3),
        NatsConfig(servers="nats://t%40ken@a:1", namespace="n", ack_wait=5),
        NatsConfig(servers="tls://a", nkey_file=__file__, inbox_prefix="_INBOX_worker"),
        NatsConfig(servers="tls://a", cert_file=__file__, key_file=__file__, ca_file=__file__),
    ],
)
def test_a_nats_config_survives_and_its_url_holds_the_login(nats: NatsConfig) -> None:
    variables = nats_variables(nats)
    assert nats_from(variables) == nats
    alone = NatsConfig(servers=variables["NATS_URL"])
    assert (alone.user, alone.password, alone.token) == (nats.user, nats.password, nats.token)
    assert not variables.keys() & {"NATS_USER", "NATS_PASSWORD", "NATS_TOKEN"}


def test_an_s3_config_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the process that reads it says."""
    variables = s3_variables(S3)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of something else")
    monkeypatch.setenv("S3_BUCKET", "other")
    assert s3_from(variables) == S3


def test_a_worker_gets_the_stack_and_none_of_the_users_other_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "NATS_TOKEN", "S3_PROXY"):
        monkeypatch.setenv(name, "the user's")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = worker_environment(S3, NatsConfig(servers="nats://u:p@127.0.0.1:4222"))
    assert "the user's" not in environment.values()
    assert environment["LANG"] == "C.UTF-8"
    assert environment["S3_BUCKET"] == "papers"
    assert environment["NATS_URL"] == "nats://u:p@127.0.0.1:4222"


def test_a_worker_of_a_server_without_keys_keeps_the_users_credential_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "lab")
    environment = worker_environment(S3Config(bucket_name="on-aws"), NatsConfig())
    assert environment["AWS_PROFILE"] == "lab"


def test_a_worker_of_a_stack_without_s3_is_told_so_and_gets_no_s3_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "S3_BUCKET"):
        monkeypatch.setenv(name, "the user's")
    environment = worker_environment(None, NatsConfig(servers="nats://u:p@127.0.0.1:4222"))
    assert "the user's" not in environment.values()
    assert environment["USE_S3_STORAGE"] == "false"
    monkeypatch.setenv("USE_S3_STORAGE", "false")
    assert "USE_S3_STORAGE" not in worker_environment(S3, NatsConfig())
