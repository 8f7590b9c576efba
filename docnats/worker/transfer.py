"""How a worker moves documents and results: with its own credentials or by presigned URL."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from docnats.bus import Bus
from docnats.errors import ErrorType, ParseError, PlaceForbidden, StorageError, Unsigned, UrlRefused
from docnats.models import JobMessage, JobUrls
from docnats.names import DOCUMENT, kept_in_nats, result_part
from docnats.storage import Allowlist, PresignedHttp, Storage, expired

__all__ = ["Transfer"]

T = TypeVar("T")

Urls = JobMessage | JobUrls
"""What holds a job's presigned URLs."""

log = logging.getLogger(__name__)


class Transfer:
    """Gets a job's document and puts its result objects.

    Parameters
    ----------
    storage : Storage or None
        None: the worker has no credentials.
    http : PresignedHttp
        Used then, with the URLs in the control message.
    bus : Bus
        There fresh URLs are asked for when those have expired, or there are none.
    places : Allowlist
        Where jobs may send the worker.

    Attributes
    ----------
    storage : Storage or None
        As given.
    """

    def __init__(
        self, storage: Storage | None, http: PresignedHttp, bus: Bus, places: Allowlist
    ) -> None:
        self.storage = storage
        self._http = http
        self._bus = bus
        self._places = places

    def check(self, message: JobMessage) -> None:
        """Raise a ``PlaceForbidden`` if a job names any place outside of the storage."""
        self._check_bucket(message.s3_bucket)
        self._check_urls(message)

    def _check_bucket(self, bucket: str) -> None:
        try:
            self._places.check_bucket(bucket)
        except PlaceForbidden:
            in_nats = self.storage is not None and kept_in_nats(self.storage.bucket)
            if kept_in_nats(bucket) == in_nats:
                raise
            theirs, ours = ("S3", _NATS) if in_nats else (_NATS, "S3")
            raise PlaceForbidden(_OTHER_KIND.format(theirs, bucket, ours)) from None

    def _check_urls(self, urls: Urls) -> None:
        if urls.s3_url:
            self._places.check_read(urls.s3_url)
        for url in (urls.result_url, *urls.part_urls.values()):
            if url:
                self._places.check_write(url)

    async def fetch(self, message: JobMessage, path: Path) -> str:
        """Download a job's document to ``path`` and return its SHA-256.

        Raises
        ------
        ParseError
            ``storage``: the bytes are not the ones that were submitted, or they are in the NATS
            Object Store and this worker uses S3.
        StorageError
            The document could not be read.
        """
        if self.storage is not None:
            stored = await self.storage.get_file(message.s3_key, path, bucket=message.s3_bucket)
        else:
            stored = await self._by_url(
                message,
                "read the document",
                lambda urls: urls.s3_url,
                lambda url: self._http.get_file(url, path),
            )
        sha256 = stored.sha256 or ""
        if message.sha256 and sha256 != message.sha256:
            msg = (
                f"the object {message.s3_key} is not what was submitted (its SHA-256 differs); "
                "submit the file again"
            )
            raise ParseError(ErrorType.STORAGE, msg)
        return sha256

    async def store(self, message: JobMessage, part: str, content: Path | bytes) -> None:
        """Upload one result object."""
        if self.storage is not None:
            await _put(self.storage, result_part(message.request_id, part), content)
            return
        await self._by_url(
            message,
            f"write {part}",
            lambda urls: urls.result_url if part == DOCUMENT else urls.part_urls.get(part),
            lambda url: self._http.put(url, content),
        )

    async def _by_url(
        self,
        message: JobMessage,
        what: str,
        pick: Callable[[Urls], str | None],
        use: Callable[[str], Awaitable[T]],
    ) -> T:
        """Do something by the job's presigned URL, or by a fresh one if that is of no use."""
        url = pick(message)
        if url and not expired(url):
            try:
                return await use(url)
            except UrlRefused as refused:
                log.info("job %s: %s", message.request_id, refused)
        fresh = await self._fresh_url(message, what, pick)
        try:
            return await use(fresh)
        except (UrlRefused, PlaceForbidden) as refused:  # somebody else may sign better
            raise StorageError(str(refused), transient=True) from refused

    async def _fresh_url(
        self, message: JobMessage, what: str, pick: Callable[[Urls], str | None]
    ) -> str:
        urls = await self._bus.ask_for_urls(message.batch, message.request_id)
        if urls is None:
            raise Unsigned(_NOBODY_SIGNS.format(what))
        try:
            self._check_urls(urls)
        except PlaceForbidden as error:  # the job is not to blame for what its signer says
            raise StorageError(str(error), transient=True) from error
        url = pick(urls)
        if not url:
            raise StorageError(_REFUSED.format(what, urls.refused or "no reason"), transient=True)
        log.info("job %s: got a fresh URL to %s", message.request_id, what)
        return url


async def _put(storage: Storage, key: str, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        await storage.put_bytes(key, content)
    else:
        await storage.put_file(key, content)


_NATS = "the NATS Object Store"
_OTHER_KIND = (
    "the document is in {} (bucket {!r:.100}), and this worker uses {}: give clients and workers "
    "the same USE_S3_STORAGE"
)

_NOBODY_SIGNS = (
    "this worker has no S3 credentials, the job has no valid presigned URL to {} and nobody signs "
    "one: run `docnats signer`, keep a client connected that has S3 credentials, or give the "
    "worker some"
)

_REFUSED = "the job has no valid presigned URL to {} and the signer signs none: {}"
