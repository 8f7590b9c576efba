"""A bucket of the NATS Object Store: bytes in chunks on a stream, each object with a description.

The format is that of ADR-20, so that the ``nats`` tool and every NATS client read it. Chunks are
written first and the description last, in one message: what has none is no object.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

from nats.aio.msg import Msg

from docnats.bus.bucket import current
from docnats.bus.connection import Connection
from docnats.bus.exchange import Refusal
from docnats.bus.inbox import Denied
from docnats.bus.object_format import CHUNK, Described, described, described_in, orphan_of
from docnats.bus.object_reader import ObjectReader
from docnats.bus.object_writer import ObjectWriter
from docnats.bus.schema import check_there, ensure_stream
from docnats.bus.stream import last_messages, purge, subjects_of
from docnats.config import NatsConfig
from docnats.errors import BusError, ObjectMissing, StorageError
from docnats.models import StoredObject, UnfinishedUpload
from docnats.names import Names, ObjectNames, valid_bucket

__all__ = ["NatsObjects"]

T = TypeVar("T")

WRITERS_AT_A_TIME = 2
"""Those who may have chunks on their way: what is not sent yet must not fill the connection so
that the server seems to be silent."""

ROOM = 16 * 1024
"""Bytes of a chunk's message beside the chunk; a long name takes most of it."""

SINGLY = 64
"""Objects up to which their descriptions are read one by one; for more, all of the bucket's."""

NO_STREAM = 10059
"""JetStream's error for a stream that does not exist."""


class NatsObjects:
    """The namespace's bucket of the NATS Object Store; an async context manager.

    Its connection is its own: on that of the bus, a lease's renewal waits behind documents, 0.5 s
    at 100 Mbit/s and 2.5 s at 20 Mbit/s, after which a server counts as silent.

    Every coroutine raises a :class:`~docnats.errors.StorageError`; it is ``transient`` where
    NATS does not answer.

    Parameters
    ----------
    config : NatsConfig
        Servers, credentials, namespace, copies.
    """

    def __init__(self, config: NatsConfig) -> None:
        self.bucket = Names(config.namespace).objects_bucket
        self._objects = ObjectNames(self.bucket)
        self._connection = Connection(config)
        self._slots = asyncio.Semaphore(WRITERS_AT_A_TIME)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.close()

    def another(self) -> NatsObjects:
        """Return the same bucket for another event loop; enter it there."""
        return NatsObjects(self._connection.config)

    async def ensure(self) -> None:
        """Create the bucket unless it exists."""
        names = self._objects
        settings = {
            "name": names.stream,
            "subjects": [names.chunks_filter, names.metas_filter],
            "num_replicas": self._connection.config.replicas,
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
        }
        with _explained("use the bucket", self.bucket):
            limit = (await self._connection.link()).max_payload
            if limit < CHUNK + ROOM:
                raise StorageError(
                    f"NATS takes messages of {limit:,} bytes: raise max_payload on the server to "
                    f"{CHUNK + ROOM:,} at least"
                )
            try:
                await ensure_stream(self._connection, settings)
            except Denied:
                await check_there(self._connection, f"STREAM.INFO.{settings['name']}")

    async def put(self, key: str, blocks: AsyncIterator[bytes | memoryview]) -> StoredObject:
        """Store an object, block by block; it is there as a whole or not at all."""
        with _explained("write", self.bucket, key):
            return await self._writer(key).put(blocks)

    def _writer(self, key: str) -> ObjectWriter:
        return ObjectWriter(self._connection, self._objects, key, self._slots)

    async def read(
        self,
        key: str,
        take: Callable[[StoredObject, AsyncIterator[bytes]], Awaitable[T]],
        bucket: str | None = None,
    ) -> T:
        """Return what ``take`` makes of an object, given what it is and its chunks.

        It is called again with a newer object when that was written meanwhile.

        Raises
        ------
        ObjectMissing
            There is no such object.
        """
        names = self._names(bucket)
        with _explained("read", names.bucket, key):
            return await ObjectReader(self._connection, names).read(key, take)

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are not there are passed over."""
        names = self._objects
        with _explained("delete objects in", self.bucket):
            last = await last_messages(
                self._connection, names.stream, map(names.meta_subject, keys)
            )
            # Description first: at no moment is there an object without its chunks.
            await purge(self._connection, names.stream, [one.subject for one in last if one])
            found = [described(names, one) for one in last]
            uploads = [one.upload_id for one in found if one and one.upload_id]
            await purge(self._connection, names.stream, map(names.chunks_subject, uploads))

    async def find(self, prefix: str, bucket: str | None = None) -> list[StoredObject]:
        """Return the objects whose keys start with a prefix, in the order of their keys."""
        names = self._names(bucket)

        def is_wanted(subject: str) -> bool:
            return (names.object_of(subject) or "").startswith(prefix)

        def read(message: Msg) -> Described | None:
            return described_in(names, message) if is_wanted(message.subject) else None

        with _explained("list", names.bucket, prefix):
            subjects = await subjects_of(self._connection, names.stream, names.metas_filter)
            wanted = [subject for subject in subjects if is_wanted(subject)]
            found: list[Described | None]
            if len(wanted) <= SINGLY:
                last = await last_messages(self._connection, names.stream, wanted)
                found = [described(names, one) for one in last]
            else:
                found = [*await current(self._connection, names.stream, names.metas_filter, read)]
        return sorted((one.stored for one in found if one), key=lambda stored: stored.key)

    async def orphans(self) -> list[UnfinishedUpload]:
        """Return the chunks that belong to no object; another client's say no name and stay."""
        names = self._objects
        with _explained("list the chunks in", self.bucket):
            # Chunks come first: whatever is described meanwhile is known by then.
            subjects = await subjects_of(self._connection, names.stream, names.chunks_filter)
            objects = await current(
                self._connection,
                names.stream,
                names.metas_filter,
                lambda message: described_in(names, message),
            )
            known = {names.chunks_subject(found.upload_id) for found in objects}
            orphaned = [subject for subject in subjects if subject not in known]
            last = await last_messages(self._connection, names.stream, orphaned)
            return [found for one in last if one and (found := orphan_of(names, one))]

    async def discard(self, orphans: Iterable[UnfinishedUpload]) -> None:
        """Delete chunks, unless they are an object by now."""
        names, given = self._objects, [*orphans]
        with _explained("delete chunks in", self.bucket):
            subjects = [names.meta_subject(orphan.key) for orphan in given]
            last = await last_messages(self._connection, names.stream, subjects)
            objects = [described(names, one) for one in last]
            used = {found.upload_id for found in objects if found}
            await purge(
                self._connection,
                names.stream,
                [names.chunks_subject(o.upload_id) for o in given if o.upload_id not in used],
            )

    def _names(self, bucket: str | None) -> ObjectNames:
        if bucket is None:
            return self._objects
        if not valid_bucket(bucket):
            raise StorageError(_NO_BUCKET.format(bucket=bucket))
        return ObjectNames(bucket)


_NO_BUCKET = (
    "there is no bucket {bucket} in the NATS Object Store. Is it one in S3? Then this process has "
    "to use S3 too: unset USE_S3_STORAGE"
)


@contextmanager
def _explained(verb: str, bucket: str, key: str = "") -> Iterator[None]:
    """Raise what goes wrong on the bus as an error of the storage."""
    attempt = f"cannot {verb} {bucket}/{key}"
    try:
        yield
    except ObjectMissing:
        raise
    except StorageError as error:
        raise StorageError(f"{attempt}: {error}", transient=error.transient) from error
    except Refusal as refusal:
        missing = refusal.code == NO_STREAM
        told = _NO_BUCKET.format(bucket=bucket) if missing else f"NATS says {refusal.description}"
        raise StorageError(f"{attempt}: {told}") from refusal
    except BusError as error:
        raise StorageError(f"{attempt}: {error}", transient=True) from error
