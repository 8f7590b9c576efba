"""The one pooled connection to S3 that all requests of a storage share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from docnats.config import S3Config
from docnats.errors import StorageError
from docnats.storage.arrow import arrow_filesystem
from docnats.storage.failures import storage_error
from docnats.storage.http import is_local, open_session
from docnats.storage.shortcut import Shortcut

if TYPE_CHECKING:
    import aioboto3
    from aiobotocore.config import AioConfig
    from aiohttp import ClientResponse
    from botocore.credentials import ReadOnlyCredentials
    from pyarrow.fs import S3FileSystem
    from types_aiobotocore_s3 import S3Client

__all__ = ["ANY_REGION", "Connection", "seconds_allowed"]

T = TypeVar("T")

_BACKOFF = 20.0
"""Seconds; botocore's longest pause between two attempts in its standard mode."""

_SLOWEST = 64 * 1024
"""Bytes per second below which an upload counts as stalled: aiohttp itself never gives up."""

ANY_REGION = "us-east-1"
"""What S3-compatible servers expect to be signed for unless they are told otherwise."""


class Connection:
    """An S3 client that bounds its requests and explains their errors.

    Parameters
    ----------
    config : S3Config
        At most ``max_concurrency`` requests are in flight; the others wait for their turn.

    Attributes
    ----------
    endpoint : str
        URL of the server.
    """

    def __init__(self, config: S3Config) -> None:
        self.config = config
        self.endpoint = config.endpoint_url or "AWS"
        self._slots = asyncio.Semaphore(config.max_concurrency)
        self._exits = AsyncExitStack()
        self._session: aioboto3.Session | None = None
        self._client: S3Client | None = None
        self._shortcut: Shortcut | None = None

    async def __aenter__(self) -> Self:
        async with self._explained("open a connection"):
            # Off the loop, because importing aioboto3 takes about a second.
            self._session = await asyncio.to_thread(_new_session, self.config)
            self._client = await self._exits.enter_async_context(
                self._session.client(
                    "s3",
                    region_name=self._session.region_name or ANY_REGION,
                    endpoint_url=self.config.endpoint_url,
                    verify=str(self.config.ca_bundle) if self.config.ca_bundle else None,
                    config=_client_config(self.config),
                )
            )
            session = await self._exits.enter_async_context(await open_session(self.config))
        self.endpoint = self._client.meta.endpoint_url
        self._shortcut = Shortcut(self._client, session, _proxy(self.config))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._client = self._shortcut = None
        await self._exits.aclose()

    async def has_credentials(self) -> bool:
        """Tell whether the configuration or the AWS credential chain gives any."""
        return await self._credentials() is not None

    async def filesystem(self) -> S3FileSystem:
        """Return the server as a pyarrow file system, with the credentials of this moment."""
        keys = await self._credentials()
        region = self._session and self._session.region_name
        return arrow_filesystem(self.config, region or ANY_REGION, keys)

    async def _credentials(self) -> ReadOnlyCredentials | None:
        if self._session is None:
            raise StorageError(_NOT_OPEN)
        async with self._explained("look for credentials"):
            # The type stubs forget that both are to be awaited.
            found: Any = await self._session.get_credentials()  # type: ignore[misc]
            return await found.get_frozen_credentials() if found else None

    async def read(
        self, bucket: str, key: str, take: Callable[[ClientResponse], Awaitable[T]]
    ) -> T | None:
        """Return what ``take`` makes of an object if there is a short way to it.

        This and :meth:`write` are to be called inside a :meth:`request`.
        """
        if self._shortcut is None or (keys := await self._credentials()) is None:
            return None
        return await self._shortcut.get(bucket, key, keys, take)

    async def write(self, bucket: str, key: str, data: bytes) -> bool:
        """Store bytes if there is a short way; tell whether they are stored."""
        if self._shortcut is None or (keys := await self._credentials()) is None:
            return False
        return await self._shortcut.put(bucket, key, keys, data)

    @asynccontextmanager
    async def request(self, attempt: str, *, size: int | None = 0) -> AsyncIterator[S3Client]:
        """Lend the client for one request.

        Parameters
        ----------
        attempt : str
            What is attempted, for the error message: "read s3://…".
        size : int or None
            Bytes to upload, for the time limit; None for a download, which is limited by
            ``read_timeout`` alone.
        """
        if self._client is None:
            raise StorageError(_NOT_OPEN)
        limit = None if size is None else seconds_allowed(self.config, size)
        async with self._explained(attempt), self._slots, asyncio.timeout(limit):
            yield self._client

    @asynccontextmanager
    async def _explained(self, attempt: str) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            explained = storage_error(error, attempt, self.endpoint)
            if explained is None:
                raise
            raise explained from error


_NOT_OPEN = "the storage is not open: use it inside `async with`"


def seconds_allowed(config: S3Config, size: int) -> float:
    """Return how long one request may take, all its attempts and pauses included."""
    attempt = config.connect_timeout + config.read_timeout + _BACKOFF + size / _SLOWEST
    return config.max_attempts * attempt


def _new_session(config: S3Config) -> aioboto3.Session:
    import aioboto3

    secret, token = config.aws_secret_access_key, config.aws_session_token
    return aioboto3.Session(
        aws_access_key_id=config.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        # Alone, the environment's token would keep the chain from giving credentials.
        aws_session_token=token.get_secret_value() if token and secret else None,
        region_name=config.region_name,
    )


def _client_config(config: S3Config) -> AioConfig:
    from aiobotocore.config import AioConfig

    from docnats.storage.verified import VerifiedSession

    style = config.addressing_style
    if style == "auto" and config.endpoint_url:
        style = "path"
    return AioConfig(
        signature_version="s3v4",
        s3={
            "addressing_style": style,
            "use_accelerate_endpoint": config.use_accelerate_endpoint,
            # Costs a second pass over every body; receivers check the message's SHA-256.
            "payload_signing_enabled": False,
        },
        # Trailing checksums break some S3-compatible servers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # Refuses bodies that are streamed asynchronously.
        parameter_validation=False,
        # Putting together botocore's own takes a tenth of a small request's time.
        user_agent="docnats",
        http_session_cls=VerifiedSession,
        retries={"mode": "standard", "total_max_attempts": config.max_attempts},
        max_pool_connections=config.max_concurrency,
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
        proxies=_proxies(config),
    )


def _proxy(config: S3Config) -> str | None:
    return config.proxy.get_secret_value() if config.proxy else None


def _proxies(config: S3Config) -> dict[str, str] | None:
    """Return the proxies by scheme; None leaves it to the environment."""
    if url := _proxy(config):
        return {"http": url, "https": url}
    return {} if is_local(config.endpoint_url) else None
