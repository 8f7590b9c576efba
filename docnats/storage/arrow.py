"""S3 as a file system for pyarrow, which reads Parquet piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from docnats.config import S3Config

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from pyarrow.fs import S3FileSystem

__all__ = ["arrow_filesystem"]

ACCELERATED = "s3-accelerate.amazonaws.com"
"""The endpoint of S3 Transfer Acceleration, from the S3 user guide."""


def arrow_filesystem(
    config: S3Config, region: str, keys: ReadOnlyCredentials | None
) -> S3FileSystem:
    """Return S3 as a pyarrow file system whose paths are ``bucket/key``.

    Parameters
    ----------
    config : S3Config
        The server and the limits.
    region : str
        The region to sign for.
    keys : botocore's credentials, or None
        The credentials of this moment; without any, requests are not signed.
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    settings: dict[str, Any] = {
        "region": region,
        "connect_timeout": config.connect_timeout,
        "request_timeout": config.read_timeout,
        "retry_strategy": AwsStandardS3RetryStrategy(max_attempts=config.max_attempts),
        **_endpoint(config),
    }
    if keys is None:
        settings["anonymous"] = True
    else:
        settings |= {"access_key": keys.access_key, "secret_key": keys.secret_key}
        settings |= {"session_token": keys.token} if keys.token else {}
    if config.proxy is not None:
        settings["proxy_options"] = config.proxy.get_secret_value()
    if config.ca_bundle is not None:
        settings["tls_ca_file_path"] = str(config.ca_bundle)
    return S3FileSystem(**settings)


def _endpoint(config: S3Config) -> dict[str, Any]:
    if config.use_accelerate_endpoint:
        return {"endpoint_override": ACCELERATED, "force_virtual_addressing": True}
    if config.endpoint_url is None:
        return {}
    url = urlsplit(config.endpoint_url)
    return {
        "scheme": url.scheme,
        "endpoint_override": url.netloc + url.path,
        "force_virtual_addressing": config.addressing_style == "virtual",
    }
