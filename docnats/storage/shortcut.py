"""Reads and writes objects by plain signed requests, a fifth of the S3 client's time."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from docnats.storage.signature import signed_headers

if TYPE_CHECKING:
    import aiohttp
    from botocore.credentials import ReadOnlyCredentials
    from types_aiobotocore_s3 import S3Client

__all__ = ["Shortcut"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_PLAIN = re.compile(r"[A-Za-z0-9/_.-]+")
"""Keys that stand in a URL as they are, such as those of documents and results."""

_PLACEHOLDER = "key"

_GONE_WRONG = range(300, 404)
"""Answers that other requests would get too: another region, an expired token, …"""


class Shortcut:
    """The short way to an object.

    It knows the plain case only. Whatever else happens, it gives way to the S3 client, which
    follows redirections, tries again and explains what went wrong.

    Parameters
    ----------
    client : S3Client
        Knows the address of a bucket and the region.
    session : aiohttp.ClientSession
        Sends the requests.
    proxy : str, optional
        URL of the proxy they go through.
    """

    def __init__(
        self, client: S3Client, session: aiohttp.ClientSession, proxy: str | None = None
    ) -> None:
        self._client = client
        self._session = session
        self._proxy = proxy
        self._buckets: dict[str, str | None] = {}

    async def get(
        self,
        bucket: str,
        key: str,
        keys: ReadOnlyCredentials,
        take: Callable[[aiohttp.ClientResponse], Awaitable[T]],
    ) -> T | None:
        """Return what ``take`` makes of an object, or None when the S3 client is to be asked."""
        return await self._ask("GET", bucket, key, keys, take)

    async def put(self, bucket: str, key: str, keys: ReadOnlyCredentials, data: bytes) -> bool:
        """Store an object; False when the S3 client is to do it."""
        return bool(await self._ask("PUT", bucket, key, keys, _stored, data))

    async def _ask(
        self,
        method: str,
        bucket: str,
        key: str,
        keys: ReadOnlyCredentials,
        take: Callable[[aiohttp.ClientResponse], Awaitable[T]],
        data: bytes | None = None,
    ) -> T | None:
        import aiohttp

        if not _PLAIN.fullmatch(key) or (address := await self._address(bucket)) is None:
            return None
        url = address + key
        try:
            async with self._session.request(
                method,
                url,
                data=data,
                headers=signed_headers(method, url, self._client.meta.region_name, keys),
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                proxy=self._proxy,
                allow_redirects=False,
                auto_decompress=False,
            ) as answer:
                if answer.status == 200:
                    return await take(answer)
                if answer.status in _GONE_WRONG:
                    self._buckets[bucket] = None
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("%s of %s is left to the S3 client: %r", method, key, error)
        return None

    async def _address(self, bucket: str) -> str | None:
        """Return the URL below which a bucket's objects are; None if it did not work before."""
        if bucket not in self._buckets:
            url = await self._client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": _PLACEHOLDER}
            )
            parts = urlsplit(url)
            path = parts.path.removesuffix(_PLACEHOLDER)
            self._buckets[bucket] = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        return self._buckets[bucket]


async def _stored(answer: aiohttp.ClientResponse) -> bool:
    return answer.status == 200
