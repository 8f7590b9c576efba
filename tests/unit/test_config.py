"""Settings: what is accepted, where it comes from, and that no secret is shown."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from docnats.config import (
    LlmConfig,
    NatsConfig,
    ProcessingConfig,
    S3Config,
    StackConfig,
    TelemetryConfig,
)
from docnats.config.settings import Settings
from docnats.errors import ConfigError

SECRET = "s3cr3t-value"  # noqa: S105 - nobody's
MIB = 1024 * 1024


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("DOCNATS_HOME")
    return monkeypatch


OUT_OF_RANGE = [
    (S3Config, "multipart_threshold", 5 * MIB - 1, "a whole number from 5242880 to 5368709120"),
    (S3Config, "multipart_threshold", 5 * 1024 * MIB + 1, "from 5242880 to 5368709120"),
    (S3Config, "multipart_chunksize", 1, "from 5242880 to 5368709120"),
    (S3Config, "multipart_chunksize", "8 MB", "from 5242880 to 5368709120"),
    (S3Config, "max_concurrency", 0, "from 1 to 1000"),
    (S3Config, "max_concurrency", 1001, "from 1 to 1000"),
    (S3Config, "connect_timeout", 0, "a number from more than 0 to 600"),
    (S3Config, "connect_timeout", float("nan"), "from more than 0 to 600"),
    (S3Config, "read_timeout", float("inf"), "from more than 0 to 3600"),
    (S3Config, "max_attempts", 2.5, "a whole number from 1 to 20"),
    (S3Config, "max_attempts", 21, "from 1 to 20"),
    (S3Config, "presign_expiry", 0, "from 1 to 604800"),
    (S3Config, "presign_expiry", 7 * 24 * 3600 + 1, "from 1 to 604800"),
    (NatsConfig, "connect_timeout", -1, "from more than 0 to 600"),
    (NatsConfig, "request_timeout", 601, "from more than 0 to 600"),
    (NatsConfig, "ack_wait", 0.5, "a number from 1 to 3600"),
    (NatsConfig, "max_deliver", 0, "from 1 to 100"),
    (NatsConfig, "max_ack_pending", 0, "from 1 to 1000000"),
    (NatsConfig, "replicas", 2, "1, 3 or 5"),
    (ProcessingConfig, "timeout", 0, "a number from more than 0 to 604800"),
    (ProcessingConfig, "timeout", None, "from more than 0 to 604800"),
    (ProcessingConfig, "max_file_size", 0, "from 1 to"),
    (ProcessingConfig, "max_pages", 0, "from 1 to 10000000"),
    (ProcessingConfig, "pages_per_range", 0, "from 1 to 10000"),
    (ProcessingConfig, "memory_limit", MIB, "from 536870912 to"),
    (ProcessingConfig, "max_uploads", 257, "from 1 to 256"),
    (TelemetryConfig, "metrics_port", -1, "from 0 to 65535"),
    (TelemetryConfig, "metrics_port", 65536, "from 0 to 65535"),
    (StackConfig, "start_timeout", 0, "from more than 0 to 600"),
]

NOT_USABLE = [
    (S3Config, "endpoint_url", "", "a URL such as"),
    (S3Config, "endpoint_url", "s3.example.org:9000", "a URL such as"),
    (S3Config, "endpoint_url", "ftp://s3.example.org", "a URL such as"),
    (S3Config, "endpoint_url", "http://", "a URL such as"),
    (S3Config, "endpoint_url", "http://[::1", "a URL such as"),
    (S3Config, "endpoint_url", "http://h:port", "a URL such as"),
    (S3Config, "endpoint_url", "http://h:99999", "a URL such as"),
    (S3Config, "endpoint_url", "http://h:9000 ", "a URL such as"),
    (S3Config, "endpoint_url", "http://h?x=1", "a URL such as"),
    (S3Config, "bucket_name", "ab", "3 to 63 characters"),
    (S3Config, "bucket_name", "a" * 64, "3 to 63 characters"),
    (S3Config, "bucket_name", "Papers", "a-z"),
    (S3Config, "bucket_name", "my_papers", "a-z"),
    (S3Config, "bucket_name", "-papers", "a-z"),
    (S3Config, "bucket_name", "my..papers", "a-z"),
    (S3Config, "bucket_name", "192.168.0.1", "no IP address"),
    (S3Config, "region_name", "", "one word"),
    (S3Config, "region_name", "eu central 1", "one word"),
    (S3Config, "addressing_style", "dns", "'auto', 'path' or 'virtual'"),
    (S3Config, "use_accelerate_endpoint", "maybe", "true or false"),
    (S3Config, "ca_bundle", "/no/such/file", "a file that exists"),
    (S3Config, "presigned_endpoints", "s3.example.org", "a URL such as"),
    (S3Config, "read_buckets", "library,My_Papers", "a-z"),
    (S3Config, "use_credentials", "perhaps", "true or false"),
    (NatsConfig, "namespace", "", "1 to 64 characters"),
    (NatsConfig, "namespace", "a.b", "1 to 64 characters"),
    (NatsConfig, "credentials_file", "/no/such/file", "a file that exists"),
    (NatsConfig, "ca_file", "/no/such/file", "a file that exists"),
    (NatsConfig, "nkey_file", "/no/such/file", "a file that exists"),
    (NatsConfig, "inbox_prefix", "_INBOX.>", "words of"),
    (NatsConfig, "cert_file", "/no/such/file", "a file that exists"),
    (ProcessingConfig, "use_s3_storage", "maybe", "true or false"),
    (ProcessingConfig, "cleanup_on_error", 2, "true or false"),
    (ProcessingConfig, "presign", "perhaps", "true or false"),
    (ProcessingConfig, "debug", "release", "true or false"),
    (TelemetryConfig, "metrics_host", "", "at least 1 character"),
    (TelemetryConfig, "log_format", "xml", "'text' or 'json'"),
    (StackConfig, "home", 3, "path"),
    (StackConfig, "nats_server", "/no/such/file", "a file that exists"),
    (StackConfig, "s3_server", __file__, "an executable file"),
]


@pytest.mark.parametrize(("model", "field", "value", "accepted"), OUT_OF_RANGE + NOT_USABLE)
def test_a_bad_value_is_refused_with_field_value_and_what_is_accepted(
    model: type[Settings], field: str, value: object, accepted: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        model(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{model.__name__}.{field}={value!r}: ")
    assert accepted in message


def test_presigned_urls_need_s3() -> None:
    with pytest.raises(ConfigError, match="presign needs S3"):
        ProcessingConfig(presign=True, use_s3_storage=False)


def test_every_bad_value_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        S3Config(bucket_name="X", max_attempts=0)
    assert [line.split("=")[0] for line in str(caught.value).splitlines()] == [
        "S3Config.bucket_name",
        "S3Config.max_attempts",
    ]


@pytest.mark.parametrize("model", [S3Config, NatsConfig, ProcessingConfig, StackConfig])
def test_an_unknown_field_is_refused_with_the_known_ones(model: type[Settings]) -> None:
    with pytest.raises(ConfigError, match="has no field 'colour'; it has: ") as caught:
        model(colour="blue")
    assert all(field in str(caught.value) for field in model.model_fields)


ENVIRONMENT = [
    (S3Config, "endpoint_url", "S3_ENDPOINT_URL", "http://h:9000/", "http://h:9000"),
    (S3Config, "bucket_name", "S3_BUCKET", "papers", "papers"),
    (S3Config, "region_name", "AWS_DEFAULT_REGION", "eu-central-1", "eu-central-1"),
    (S3Config, "region_name", "AWS_REGION", "eu-central-1", "eu-central-1"),
    (S3Config, "addressing_style", "S3_ADDRESSING_STYLE", "virtual", "virtual"),
    (S3Config, "ca_bundle", "AWS_CA_BUNDLE", __file__, Path(__file__)),
    (S3Config, "use_credentials", "S3_USE_CREDENTIALS", "false", False),
    (
        S3Config,
        "presigned_endpoints",
        "S3_PRESIGNED_ENDPOINTS",
        "https://a/, http://b:9000/s3",
        ("https://a", "http://b:9000/s3"),
    ),
    (S3Config, "read_buckets", "S3_READ_BUCKETS", "library, archive", ("library", "archive")),
    (NatsConfig, "servers", "NATS_URL", "nats://a,b:1", ("nats://a", "nats://b:1")),
    (NatsConfig, "user", "NATS_USER", "ann", "ann"),
    (NatsConfig, "credentials_file", "NATS_CREDS", __file__, Path(__file__)),
    (NatsConfig, "ca_file", "NATS_CA", __file__, Path(__file__)),
    (NatsConfig, "nkey_file", "NATS_NKEY", __file__, Path(__file__)),
    (NatsConfig, "inbox_prefix", "NATS_INBOX_PREFIX", "_INBOX.ann", "_INBOX.ann"),
    (NatsConfig, "cert_file", "NATS_CERT", __file__, Path(__file__)),
    (NatsConfig, "namespace", "DOCNATS_NAMESPACE", "lab", "lab"),
    (NatsConfig, "replicas", "DOCNATS_REPLICAS", "3", 3),
    (NatsConfig, "ack_wait", "DOCNATS_ACK_WAIT", "5", 5.0),
    (ProcessingConfig, "timeout", "DOCNATS_TIMEOUT", "60", 60.0),
    (ProcessingConfig, "use_s3_storage", "USE_S3_STORAGE", "false", False),
    (ProcessingConfig, "outage_limit", "DOCNATS_OUTAGE_LIMIT", "20", 20.0),
    (ProcessingConfig, "presign", "DOCNATS_PRESIGN", "1", True),
    (ProcessingConfig, "max_file_size", "DOCNATS_MAX_FILE_SIZE", "9", 9),
    (ProcessingConfig, "max_pages", "DOCNATS_MAX_PAGES", "9", 9),
    (ProcessingConfig, "pages_per_range", "DOCNATS_PAGES_PER_RANGE", "9", 9),
    (ProcessingConfig, "memory_limit", "DOCNATS_MEMORY_LIMIT", str(2**30), 2**30),
    (ProcessingConfig, "debug", "DEBUG", "true", True),
    (StackConfig, "home", "DOCNATS_HOME", "~/docs", Path.home() / "docs"),
    (StackConfig, "nats_server", "DOCNATS_NATS_SERVER", "/bin/sh", Path("/bin/sh")),
    (StackConfig, "s3_server", "DOCNATS_S3_SERVER", "/bin/sh", Path("/bin/sh")),
]


@pytest.mark.parametrize(("model", "field", "variable", "text", "value"), ENVIRONMENT)
def test_a_field_is_read_from_its_variable(
    environment: pytest.MonkeyPatch,
    model: type[Settings],
    field: str,
    variable: str,
    text: str,
    value: object,
) -> None:
    default = getattr(model(), field)
    environment.setenv(variable, text)
    assert getattr(model(), field) == value != default
    environment.setenv(variable, "")
    assert getattr(model(), field) == default, "an empty variable counts as unset"


def test_secrets_are_read_from_their_variables(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "KEY")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "NATS_TOKEN"):
        environment.setenv(name, SECRET)
    environment.setenv("S3_PROXY", f"http://ann:{SECRET}@proxy:3128")
    s3, nats = S3Config(), NatsConfig()
    assert s3.aws_access_key_id == "KEY"
    assert revealed(s3.aws_secret_access_key) == revealed(s3.aws_session_token) == SECRET
    assert revealed(s3.proxy) == f"http://ann:{SECRET}@proxy:3128"
    assert revealed(nats.token) == SECRET


def test_a_bad_variable_is_refused_by_its_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DEBUG", "release")
    environment.setenv("DOCNATS_TIMEOUT", "soon")
    with pytest.raises(ConfigError) as caught:
        ProcessingConfig()
    assert str(caught.value).splitlines() == [
        "ProcessingConfig.timeout='soon': must be a number from more than 0 to 604800 "
        "(environment: DOCNATS_TIMEOUT)",
        "ProcessingConfig.debug='release': must be true or false (environment: DEBUG)",
    ]


def test_a_keyword_beats_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("S3_BUCKET", "theirs")
    environment.setenv("NATS_URL", f"nats://ann:{SECRET}@theirs")
    assert S3Config(bucket_name="ours").bucket_name == "ours"
    nats = NatsConfig(servers="nats://ours")
    assert (nats.servers, nats.user, nats.password) == (("nats://ours",), None, None)


def test_keys_are_given_both_or_neither(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="give both, or neither"):
        S3Config(aws_access_key_id="KEY")
    with pytest.raises(ConfigError, match="give both, or neither"):
        S3Config(aws_secret_access_key=SECRET)
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(ConfigError, match="give both, or neither"):
        S3Config()
    with pytest.raises(ConfigError, match="key_file needs cert_file"):
        NatsConfig(key_file=__file__)
    with pytest.raises(ConfigError, match="password needs user"):
        NatsConfig(password=SECRET)


def test_the_environments_session_token_does_not_join_other_keys(
    environment: pytest.MonkeyPatch,
) -> None:
    """A token belongs to the keys it was issued with."""
    environment.setenv("AWS_ACCESS_KEY_ID", "THEIRS")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
    environment.setenv("AWS_SESSION_TOKEN", "theirs")
    config = S3Config(aws_access_key_id="OURS", aws_secret_access_key=SECRET)
    assert config.aws_session_token is None
    assert config.but(bucket_name="papers").aws_session_token is None
    with pytest.raises(ConfigError, match="give both, or neither"):
        S3Config(aws_access_key_id="OURS")


def test_acceleration_is_for_aws_alone() -> None:
    with pytest.raises(ConfigError, match="AWS only"):
        S3Config(use_accelerate_endpoint=True, endpoint_url="http://127.0.0.1:9000")


def test_credentials_move_out_of_nats_urls() -> None:
    config = NatsConfig(servers=" nats://ann:p%40ss@h:1 , tls://h2,")
    assert config.servers == ("nats://h:1", "tls://h2")
    assert (config.user, revealed(config.password)) == ("ann", "p@ss")
    assert revealed(NatsConfig(servers=[f"{SECRET}@h"]).token) == SECRET
    again = config.but(request_timeout=3)
    assert (again.servers, again.user) == (config.servers, "ann")
    other = config.but(servers=f"nats://{SECRET}@h")
    assert (other.user, other.password, revealed(other.token)) == (None, None, SECRET)


def test_credentials_in_a_url_given_by_keyword_beat_the_environments(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("NATS_USER", "theirs")
    environment.setenv("NATS_PASSWORD", "theirs")
    config = NatsConfig(servers="nats://ann:ours@h")
    assert (config.user, revealed(config.password)) == ("ann", "ours")
    assert NatsConfig(servers="nats://token@h").user is None
    assert NatsConfig(servers="nats://h").user == "theirs"


def test_credentials_given_by_keyword_beat_those_in_the_environments_url(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("NATS_URL", "nats://theirs:theirs@h")
    assert NatsConfig().user == "theirs"
    config = NatsConfig(token=SECRET)
    assert (config.servers, config.user, revealed(config.token)) == (("nats://h",), None, SECRET)


@pytest.mark.parametrize(
    "servers",
    [
        "",
        (),
        5,
        [None],
        f"http://ann:{SECRET}@h",
        f"nats://ann:{SECRET}@h:port",
        f"nats://ann:x/{SECRET}@h",
        f"nats://ann:x#{SECRET}@h",
        f"nats://ann:x?{SECRET}@h",
        f"nats://ann:{SECRET}@",
    ],
)
def test_servers_that_are_no_urls_are_refused_and_not_shown(servers: object) -> None:
    with pytest.raises(ConfigError, match="servers must be URLs such as") as caught:
        NatsConfig(servers=servers)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (S3Config, {"aws_access_key_id": "KEY", "aws_secret_access_key": SECRET}),
        (S3Config, {"proxy": f"http://ann:{SECRET}@proxy:3128"}),
        (
            S3Config,
            {"aws_access_key_id": "K", "aws_secret_access_key": "x", "aws_session_token": SECRET},
        ),
        (NatsConfig, {"servers": f"nats://ann:{SECRET}@h"}),
        (NatsConfig, {"servers": f"nats://{SECRET}@h"}),
        (NatsConfig, {"token": SECRET}),
    ],
)
def test_no_secret_is_in_a_repr_or_a_text(model: type[Settings], values: dict[str, Any]) -> None:
    config = model(**values)
    assert SECRET not in f"{config!r} {config} {[config]}"
    with pytest.raises(ConfigError) as caught:
        config.but(connect_timeout=-1)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (S3Config, {"aws_secret_access_key": SECRET}),
        (S3Config, {"aws_access_key_id": f"KEY {SECRET}", "aws_secret_access_key": "x"}),
        (S3Config, {"aws_secret_access_key": [SECRET]}),
        (S3Config, {"endpoint_url": f"http://ann:{SECRET}@h"}),
        (S3Config, {"proxy": f"ann:{SECRET}@proxy"}),
        (NatsConfig, {"password": [SECRET]}),
        (NatsConfig, {"token": [SECRET]}),
    ],
)
def test_no_secret_is_in_an_error(model: type[Settings], values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        model(**values)
    assert SECRET not in shown(caught.value)
    assert SECRET not in str(caught.value.__context__)


@pytest.mark.parametrize("model", [S3Config, NatsConfig, ProcessingConfig, StackConfig])
def test_a_config_is_frozen_and_a_changed_copy_is_a_new_one(model: type[Settings]) -> None:
    config = model()
    with pytest.raises(ValueError, match="frozen"):
        setattr(config, next(iter(model.model_fields)), None)
    assert config.but() == config
    assert config.but() is not config


def test_a_changed_copy_keeps_the_rest_and_is_checked(environment: pytest.MonkeyPatch) -> None:
    config = S3Config(bucket_name="papers", aws_access_key_id="K", aws_secret_access_key=SECRET)
    environment.setenv("S3_BUCKET", "theirs")
    environment.setenv("S3_ENDPOINT_URL", "http://theirs")
    copy = config.but(max_attempts=2)
    assert (copy.bucket_name, copy.endpoint_url, copy.max_attempts) == ("papers", None, 2)
    assert revealed(copy.aws_secret_access_key) == SECRET
    with pytest.raises(ConfigError, match="max_attempts=0"):
        config.but(max_attempts=0)
    with pytest.raises(ConfigError, match="no field 'bucket'"):
        config.but(bucket="papers")


def test_defaults_are_those_promised() -> None:
    s3, processing = S3Config(), ProcessingConfig()
    assert (s3.bucket_name, s3.endpoint_url, s3.aws_access_key_id) == ("documents", None, None)
    assert (s3.multipart_threshold, s3.multipart_chunksize) == (100 * MIB, 8 * MIB)
    assert s3.max_concurrency == 10
    assert (processing.timeout, processing.use_s3_storage) == (600, True)
    assert processing.cleanup_on_error


def revealed(secret: Any) -> str:
    return str(secret.get_secret_value())


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_variables_of_other_programs_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME, USER and the like have the names of fields, and mean something else."""
    monkeypatch.delenv("DOCNATS_HOME")
    monkeypatch.delenv("DOCNATS_REUSE_RESULTS")
    models = (S3Config, NatsConfig, ProcessingConfig, StackConfig)
    for model in models:
        documented = {name for names in model.variables().values() for name in names}
        for field in model.model_fields:
            if field.upper() not in documented:
                monkeypatch.setenv(field.upper(), "7")
    for model in models:
        assert model().model_fields_set == set()


def test_fields_without_a_variable_of_their_own_have_one_with_our_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCNATS_MAX_UPLOADS", "3")
    assert ProcessingConfig().max_uploads == 3


@pytest.mark.parametrize("model", Settings.__subclasses__(), ids=lambda model: model.__name__)
def test_fields_with_variables_of_their_own_are_read_from_no_others(
    monkeypatch: pytest.MonkeyPatch, model: type[Settings]
) -> None:
    """DOCNATS_PASSWORD opens PDFs, and is not the password of NATS."""
    documented = {name for names in model.variables().values() for name in names}
    for name in documented:
        monkeypatch.delenv(name, raising=False)
    for field in model.variables():
        if f"DOCNATS_{field.upper()}" not in documented:
            monkeypatch.setenv(f"DOCNATS_{field.upper()}", "7")
    assert model().model_fields_set == set()


LLM = {"base_url": "http://127.0.0.1:11434/v1", "model": "tiny"}


def test_without_settings_there_is_no_language_model() -> None:
    assert not LlmConfig().configured
    assert LlmConfig(**LLM).configured


def test_a_language_model_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCNATS_LLM_BASE_URL", LLM["base_url"])
    monkeypatch.setenv("DOCNATS_LLM_MODEL", "tiny")
    monkeypatch.setenv("DOCNATS_LLM_API_KEY", "sk-secret")
    monkeypatch.setenv("DOCNATS_LLM_INPUT_PRICE", "0.15")
    config = LlmConfig()
    assert (config.base_url, config.model, config.input_price) == (*LLM.values(), 0.15)
    assert config.api_key is not None
    assert config.api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(config)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": None}, "belong together"),
        ({"base_url": None}, "belong together"),
        ({"base_url": "127.0.0.1:11434"}, "must be a URL such as https://host/v1"),
        ({"base_url": "https://sk-secret@host/v1"}, "the key belongs into DOCNATS_LLM_API_KEY"),
        ({"context_size": 10}, "must be a whole number from 1024 to"),
        ({"answer_size": 5000}, "must be at most half the context size"),
    ],
)
def test_a_language_model_that_cannot_work_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        LlmConfig(**{**LLM, **wrong})
    assert "sk-secret" not in str(caught.value)
