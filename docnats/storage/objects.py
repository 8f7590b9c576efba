"""Documents and results in the NATS Object Store, for set-ups without an S3 server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from docnats.config import OUTAGE_LIMIT
from docnats.errors import StorageError
from docnats.models import StoredObject, UnfinishedUpload
from docnats.storage.content import BLOCK, Bytes, LocalFile, Outgoing, save
from docnats.storage.patient import PatientStorage

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["ObjectBucket", "ObjectStorage"]

T = TypeVar("T")


class ObjectBucket(Protocol):
    """What is needed of a bucket of the NATS Object Store; it raises ``StorageError``."""

    @property
    def bucket(self) -> str:
        """Its name."""

    async def __aenter__(self) -> Self:
        """Connect."""

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection."""

    def another(self) -> ObjectBucket:
        """Return the same bucket for another event loop."""

    async def ensure(self) -> None:
        """Create it unless it exists."""

    async def put(self, key: str, blocks: AsyncIterator[bytes | memoryview]) -> StoredObject:
        """Store an object, whole or not at all."""

    async def read(
        self,
        key: str,
        take: Callable[[StoredObject, AsyncIterator[bytes]], Awaitable[T]],
        bucket: str | None = None,
    ) -> T:
        """Return what ``take`` makes of an object; it may be called more than once."""

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys without one are fine."""

    async def find(self, prefix: str, bucket: str | None = None) -> Iterable[StoredObject]:
        """Return objects by prefix, in the order of their keys."""

    async def orphans(self) -> Iterable[UnfinishedUpload]:
        """Return chunks that belong to no object."""

    async def discard(self, orphans: Iterable[UnfinishedUpload]) -> None:
        """Delete chunks, unless they are an object by now."""


class ObjectStorage:
    """A bucket of the NATS Object Store; an async context manager.

    Implements :class:`~docnats.storage.Storage`; see there for what each method does. It has
    no presigned URLs, so that workers need a NATS credential that may read and write it.

    Parameters
    ----------
    objects : ObjectBucket
        The bucket, not yet entered.
    read_buckets : sequence of str
        Other buckets of the Object Store whose documents may be processed in place.
    outage_limit : float
        Seconds that NATS may be out of reach for the calls of :meth:`patient`.
    """

    def __init__(
        self,
        objects: ObjectBucket,
        *,
        read_buckets: Sequence[str] = (),
        outage_limit: float = OUTAGE_LIMIT,
    ) -> None:
        self._objects = objects
        self._read_buckets = read_buckets
        self._patient = PatientStorage(self, outage_limit)
        self._files: FileSystem | None = None

    async def __aenter__(self) -> Self:
        await self._objects.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._objects.__aexit__(*exc_info)

    @property
    def bucket(self) -> str:
        """The bucket that is written to."""
        return self._objects.bucket

    @property
    def readable(self) -> tuple[str, ...]:
        """The bucket and ``read_buckets``."""
        return (self.bucket, *self._read_buckets)

    @property
    def outage(self) -> float | None:
        """Seconds that patient calls have been waiting for NATS; None: none waits."""
        return self._patient.outage

    def patient(self) -> PatientStorage:
        """Return the same bucket for what can wait while NATS is out of reach."""
        return self._patient

    async def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""
        await self._objects.ensure()

    async def has_credentials(self) -> bool:
        """Tell that there are: who is connected to NATS needs no others."""
        return True

    async def filesystem(self) -> FileSystem:
        """Return the bucket for pyarrow, over a connection of its own."""
        if self._files is None:
            from docnats.storage.object_files import object_filesystem

            self._files = object_filesystem(self._objects.another)
        return self._files

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """Store a file, streamed from disk; OSError if it cannot be read."""
        content = await asyncio.to_thread(LocalFile, path)
        return await self._objects.put(key, aiter(Outgoing(content)))

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        """Store bytes."""
        return await self._objects.put(key, _blocks(data))

    async def get_file(self, key: str, path: Path, *, bucket: str | None = None) -> StoredObject:
        """Write an object to ``path``, streamed to disk, whole or not at all."""

        async def take(stored: StoredObject, chunks: AsyncIterator[bytes]) -> StoredObject:
            await save(_Pieces(chunks).read, path)
            return stored

        return await self._objects.read(key, take, bucket)

    async def get_bytes(self, key: str, *, bucket: str | None = None) -> bytes:
        """Return an object's bytes."""

        async def take(_: StoredObject, chunks: AsyncIterator[bytes]) -> bytes:
            return b"".join([chunk async for chunk in chunks])

        return await self._objects.read(key, take, bucket)

    async def presign_get(self, key: str, *, bucket: str | None = None) -> str:
        """Raise: there are no presigned URLs."""
        raise StorageError(_NO_URLS.format(key=f"{bucket or self.bucket}/{key}"))

    async def presign_put(self, key: str) -> str:
        """Raise: there are no presigned URLs."""
        raise StorageError(_NO_URLS.format(key=f"{self.bucket}/{key}"))

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        await self._objects.delete(keys)

    async def list(self, prefix: str, *, bucket: str | None = None) -> AsyncIterator[StoredObject]:
        """Iterate over the objects whose keys start with ``prefix``, in key order."""
        for stored in await self._objects.find(prefix, bucket):
            yield stored

    async def unfinished(self) -> AsyncIterator[UnfinishedUpload]:
        """Iterate over uploads under way or cut short, as of their last sign of life."""
        for orphan in await self._objects.orphans():
            yield orphan

    async def abort(self, uploads: Iterable[UnfinishedUpload]) -> None:
        """Give up uploads and delete their chunks."""
        await self._objects.discard(uploads)


_NO_URLS = (
    "no presigned URL for {key}: the NATS Object Store has none. Use S3 for workers without "
    "credentials"
)


async def _blocks(data: bytes) -> AsyncIterator[memoryview]:
    content = Bytes(data)
    for offset in range(0, content.size, BLOCK):
        yield content.read(offset, BLOCK)


class _Pieces:
    """Chunks as a body that is read in pieces of at most so many bytes."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._held = memoryview(b"")

    async def read(self, most: int) -> bytes:
        """Return the next bytes; none at the end."""
        while not self._held:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return b""
            self._held = memoryview(chunk)
        piece, self._held = self._held[:most], self._held[most:]
        return bytes(piece)
