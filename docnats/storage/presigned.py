"""Objects by presigned URL, for those who have no credentials of their own."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from docnats.config import S3Config
from docnats.errors import PlaceForbidden, StorageError, UrlRefused
from docnats.models import StoredObject
from docnats.storage.allowlist import Allowlist
from docnats.storage.connection import seconds_allowed
from docnats.storage.content import Bytes, Content, LocalFile, Outgoing, save
from docnats.storage.failures import refusal, storage_error
from docnats.storage.http import open_session

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PresignedHttp", "expired"]

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_AMZ_DATE = "%Y%m%dT%H%M%SZ"
"""The format of X-Amz-Date in AWS Signature Version 4."""

_LONGEST_PAUSE = 20.0
"""Seconds between two attempts, as in botocore's standard mode."""

_LONGEST_ANSWER = 4096
"""Bytes of an error's XML that are looked at."""

_EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired"})
"""Codes, of status 400, for a URL that was signed with temporary credentials of the past."""


def expired(url: str) -> bool:
    """Tell whether a presigned URL says that it is too old, by this machine's clock."""
    said = parse_qs(urlsplit(url).query)
    try:
        signed = datetime.strptime(said["X-Amz-Date"][0], _AMZ_DATE).replace(tzinfo=UTC)
        return datetime.now(UTC) >= signed + timedelta(seconds=float(said["X-Amz-Expires"][0]))
    except (KeyError, ValueError):  # signed in another way: the server knows
        return False


class PresignedHttp:
    """Reads and writes objects by presigned URL; an async context manager.

    A URL is a secret while it is valid: errors name the object and the server only. One that
    leads elsewhere than to the configured storage is not used, and no redirection is followed.

    Parameters
    ----------
    config : S3Config
        Its endpoints, buckets, time-outs, ``max_attempts``, ``max_concurrency``, ``ca_bundle``
        and ``proxy``.

    Examples
    --------
    >>> async with PresignedHttp(S3Config()) as http:  # doctest: +SKIP
    ...     stored = await http.get_file(url, Path("paper.pdf"))
    """

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._places = Allowlist(config)
        self._proxy = config.proxy.get_secret_value() if config.proxy else None
        self._slots = asyncio.Semaphore(config.max_concurrency)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = await open_session(self._config)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get_file(self, url: str, path: Path) -> StoredObject:
        """Write an object to ``path``, whole or not at all.

        Returns
        -------
        StoredObject
            Its ``key`` is the URL's path.

        Raises
        ------
        ObjectMissing
            There is no such object.
        UrlRefused
            The URL has expired.
        PlaceForbidden
            It leads elsewhere, at once or by a redirection.
        StorageError
            The server cannot be reached.
        """
        self._places.check_read(url)

        async def get() -> StoredObject:
            async with self._request("GET", url) as response:
                size, sha256 = await save(response.content.read, path)
            return StoredObject(unquote(urlsplit(url).path).lstrip("/"), size, sha256)

        return await self._tried(get)

    async def put(self, url: str, content: Path | bytes) -> None:
        """Store bytes, or a file streamed from disk.

        Raises
        ------
        UrlRefused
            The URL has expired.
        PlaceForbidden
            It leads elsewhere, at once or by a redirection.
        StorageError
            The server cannot be reached, or the file changed meanwhile.
        """
        self._places.check_write(url)
        source: Content = (
            Bytes(content)
            if isinstance(content, bytes)
            else await asyncio.to_thread(LocalFile, content)
        )

        async def put() -> None:
            body = Outgoing(source)
            with body.blamed():
                async with self._request("PUT", url, body=body, size=source.size):
                    pass

        await self._tried(put)

    async def _tried(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Make an attempt until it succeeds, as botocore does for signed requests."""
        for number in range(1, self._config.max_attempts):
            try:
                return await attempt()
            except StorageError as error:
                if not error.transient:
                    raise
                log.info("attempt %d of %d: %s", number, self._config.max_attempts, error)
                await asyncio.sleep(min(2.0 ** (number - 2), _LONGEST_PAUSE))
        return await attempt()

    @asynccontextmanager
    async def _request(
        self, method: str, url: str, *, body: Outgoing | None = None, size: int | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise StorageError("PresignedHttp is not open: use it inside `async with`")
        from yarl import URL

        parts = urlsplit(url)
        attempt = f"{method} {unquote(parts.path)} by presigned URL"
        endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        limit = None if size is None else seconds_allowed(self._config, size)
        try:
            async with (
                self._slots,
                asyncio.timeout(limit),
                self._session.request(
                    method,
                    URL(url, encoded=True),
                    data=body,
                    headers=None if size is None else {"Content-Length": str(size)},
                    proxy=self._proxy,
                    allow_redirects=False,
                ) as response,
            ):
                await _check(response, attempt, endpoint)
                yield response
        except Exception as error:
            if (explained := storage_error(error, attempt, endpoint)) is None:
                raise
            # The HTTP client's own error may show the URL.
            raise explained from None


async def _check(response: aiohttp.ClientResponse, attempt: str, endpoint: str) -> None:
    if response.status < 300:
        return
    answer = (await response.content.read(_LONGEST_ANSWER)).decode(errors="replace")
    found = re.search(r"<Code>(\w+)</Code>", answer)
    code = found[1] if found else str(response.status)
    if response.status in (401, 403) or code in _EXPIRED:
        raise UrlRefused(
            f"cannot {attempt}: {endpoint} says {code}: the URL has expired or was signed with "
            "wrong credentials; submit the document again, perhaps with a longer presign_expiry"
        )
    refused = refusal(response.status, code, attempt, endpoint)
    if response.status < 400:
        raise PlaceForbidden(f"{refused}; redirections are not followed")
    raise refused
