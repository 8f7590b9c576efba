"""Settings of the object store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from docnats.config.settings import GIB, MIB, Settings, existing_file, is_url

__all__ = ["S3Config"]

MIN_PART = 5 * MIB
MAX_PART = 5 * GIB
"""The limits of one part of a multipart upload, from the S3 user guide."""

# The rules of bucket names in the S3 user guide; capitals and underscores are refused.
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")


class S3Config(Settings):
    """Where documents and results are kept: AWS S3, MinIO or any compatible server.

    Without ``aws_access_key_id`` the standard AWS credential chain is used (shared files,
    profile, SSO, container or instance role). Without ``endpoint_url``: AWS.

    Parameters
    ----------
    endpoint_url : str, optional
        For example ``"https://s3.example.org:9000"``, by default that of AWS; environment
        ``S3_ENDPOINT_URL``.
    bucket_name : str
        Where everything is kept; made if it is not there. Environment ``S3_BUCKET``.
    region_name : str, optional
        By default that of the AWS configuration; environment ``AWS_DEFAULT_REGION``
        or ``AWS_REGION``.
    aws_access_key_id, aws_secret_access_key, aws_session_token : str, optional
        By default the AWS credential chain; environment variables of the same names in capitals.
    multipart_threshold : int
        Bytes; larger files are uploaded in parts.
    multipart_chunksize : int
        Bytes of a part.
    max_concurrency : int
        Parts of one file in flight, and requests in flight for one client.
    addressing_style : {"auto", "path", "virtual"}
        ``auto`` is ``path`` when there is an ``endpoint_url``.
    use_accelerate_endpoint : bool
        S3 Transfer Acceleration; AWS only.
    ca_bundle : Path, optional
        PEM file of a private certificate authority, by default the system's; environment
        ``AWS_CA_BUNDLE``.
    proxy : str, optional
        URL of an HTTP proxy for S3 requests; ``HTTPS_PROXY`` is respected without it.
    connect_timeout : float
        Seconds to wait for a connection.
    read_timeout : float
        Seconds to wait for the next bytes of an answer.
    max_attempts : int
        Tries of one request, the first included.
    presign_expiry : int
        Seconds a presigned URL stays valid; S3 allows 7 days at most. A worker that meets an
        older one asks the connected clients and signers for a fresh one.
    use_credentials : bool
        False for a worker that has no S3 credentials and looks for none: it uses presigned URLs
        only. Environment ``S3_USE_CREDENTIALS``.
    presigned_endpoints : tuple of str
        URLs of other endpoints that presigned URLs may lead to, for a server that clients know
        by another name; a comma-separated string is split. Environment
        ``S3_PRESIGNED_ENDPOINTS``.
    read_buckets : tuple of str
        Buckets beside ``bucket_name`` whose documents may be processed in place. Environment
        ``S3_READ_BUCKETS``.

    Raises
    ------
    ConfigError
        For a value that cannot work.

    Examples
    --------
    >>> S3Config(endpoint_url="http://127.0.0.1:9000", bucket_name="papers").bucket_name
    'papers'
    """

    credential_fields = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    secret_fields = frozenset({*credential_fields, "proxy"})

    endpoint_url: str | None = Field(None, validation_alias=AliasChoices("S3_ENDPOINT_URL"))
    bucket_name: str = Field("documents", validation_alias=AliasChoices("S3_BUCKET"))
    region_name: str | None = Field(
        None, validation_alias=AliasChoices("AWS_DEFAULT_REGION", "AWS_REGION")
    )
    aws_access_key_id: str | None = Field(
        None, validation_alias=AliasChoices("AWS_ACCESS_KEY_ID"), repr=False
    )
    aws_secret_access_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY")
    )
    aws_session_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("AWS_SESSION_TOKEN")
    )
    multipart_threshold: int = Field(100 * MIB, ge=MIN_PART, le=MAX_PART)
    multipart_chunksize: int = Field(8 * MIB, ge=MIN_PART, le=MAX_PART)
    max_concurrency: int = Field(10, ge=1, le=1000)
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", validation_alias=AliasChoices("S3_ADDRESSING_STYLE")
    )
    use_accelerate_endpoint: bool = False
    ca_bundle: Path | None = Field(None, validation_alias=AliasChoices("AWS_CA_BUNDLE"))
    proxy: SecretStr | None = Field(None, validation_alias=AliasChoices("S3_PROXY"))
    connect_timeout: float = Field(10, gt=0, le=600)
    read_timeout: float = Field(60, gt=0, le=3600)
    max_attempts: int = Field(4, ge=1, le=20)
    presign_expiry: int = Field(24 * 3600, ge=1, le=7 * 24 * 3600)
    use_credentials: bool = Field(True, validation_alias=AliasChoices("S3_USE_CREDENTIALS"))
    presigned_endpoints: Annotated[tuple[str, ...], NoDecode] = Field(
        (), validation_alias=AliasChoices("S3_PRESIGNED_ENDPOINTS")
    )
    read_buckets: Annotated[tuple[str, ...], NoDecode] = Field(
        (), validation_alias=AliasChoices("S3_READ_BUCKETS")
    )

    @field_validator("presigned_endpoints", "read_buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("endpoint_url")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        return None if value is None else _endpoint(value)

    @field_validator("presigned_endpoints")
    @classmethod
    def _check_endpoints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_endpoint, value))

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_url(value.get_secret_value(), "http", "https"):
            raise ValueError("must be a URL such as http://proxy.example.org:3128")
        return value

    @field_validator("region_name", "aws_access_key_id")
    @classmethod
    def _check_word(cls, value: str | None) -> str | None:
        if value is not None and value.split() != [value]:
            raise ValueError("must be one word, or None for the default")
        return value

    @field_validator("bucket_name")
    @classmethod
    def _check_bucket(cls, value: str) -> str:
        return _bucket(value)

    @field_validator("read_buckets")
    @classmethod
    def _check_buckets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_bucket, value))

    @field_validator("ca_bundle")
    @classmethod
    def _check_ca_bundle(cls, value: Path | None) -> Path | None:
        return existing_file(value)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError(
                "aws_access_key_id and aws_secret_access_key go together: give both, or "
                "neither to use the AWS credential chain"
            )
        if self.use_accelerate_endpoint and self.endpoint_url:
            raise ValueError(
                "use_accelerate_endpoint works on AWS only: drop it or the endpoint_url"
            )
        return self


def _endpoint(url: str) -> str:
    if "@" in url:
        raise ValueError(
            "must not hold credentials; give aws_access_key_id and aws_secret_access_key"
        )
    if not is_url(url, "http", "https"):
        raise ValueError("must be a URL such as https://s3.example.org or http://127.0.0.1:9000")
    return url.rstrip("/")


def _bucket(name: str) -> str:
    if not _BUCKET.fullmatch(name):
        raise ValueError("must be 3 to 63 characters of a-z, 0-9, '-' and '.', and no IP address")
    return name
