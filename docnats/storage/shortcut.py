"""Reads objects by a signed GET, which costs a quarter of the S3 client's time."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    import aiohttp
    from botocore.credentials import ReadOnlyCredentials
    from types_aiobotocore_s3 import S3Client

__all__ = ["Shortcut"]

log = logging.getLogger(__name__)

_PLAIN = re.compile(r"[A-Za-z0-9/_.-]+")
"""Keys that stand in a URL as they are, such as those of results."""

_PLACEHOLDER = "key"

_GONE_WRONG = range(300, 404)
"""Answers that other reads of the bucket would get too: another region, an expired token, …"""


class Shortcut:
    """The short way to an object's bytes.

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

    async def get(self, bucket: str, key: str, keys: ReadOnlyCredentials) -> bytes | None:
        """Return an object's bytes, or None when the S3 client is to be asked."""
        import aiohttp

        if not _PLAIN.fullmatch(key) or (address := await self._address(bucket)) is None:
            return None
        url = address + key
        try:
            async with self._session.get(
                url, headers=self._signed(url, keys), proxy=self._proxy, allow_redirects=False
            ) as answer:
                if answer.status == 200:
                    return await answer.read()
                if answer.status in _GONE_WRONG:
                    self._buckets[bucket] = None
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("reading %s is left to the S3 client: %r", key, error)
        return None

    def _signed(self, url: str, keys: ReadOnlyCredentials) -> dict[str, str]:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        request: Any = AWSRequest("GET", url)
        S3SigV4Auth(keys, "s3", self._client.meta.region_name).add_auth(request)
        return dict(request.headers.items())

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
