"""A bucket of the NATS Object Store: bytes in chunks on a stream, each object with a description.

The format is that of ADR-20, so that the ``nats`` tool and every NATS client read it. Chunks are
written first and the description last, in one message: what has none is no object.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from hashlib import sha256
from types import TracebackType
from typing import Any, Self, TypeVar

from nats.aio.msg import Msg

from docnats.bus.bucket import current, subjects_of
from docnats.bus.connection import Connection
from docnats.bus.exchange import NOT_FOUND, Answer, Refusal
from docnats.bus.inbox import Denied, Inbox, LinkLost
from docnats.bus.link import Link, Request
from docnats.bus.schema import check_there, ensure_stream
from docnats.bus.states import WRONG_REVISION, last_message
from docnats.bus.stored import (
    CHUNK,
    FoundObject,
    OrphanedChunks,
    Writing,
    described,
    description_in,
    orphan_of,
)
from docnats.config import NatsConfig
from docnats.errors import BusError, ObjectMissing, StorageError
from docnats.names import Names, ObjectNames, new_upload_id, valid_bucket

__all__ = ["NatsObjects"]

log = logging.getLogger(__name__)

T = TypeVar("T")

CHUNKS_AT_A_TIME = 8
"""Chunks that are read, or written by one, at a time; more would only take memory."""

WRITERS_AT_A_TIME = 2
"""Those who may have chunks on their way: what is not sent yet must not fill the connection so
that the server seems to be silent."""

ROOM = 16 * 1024
"""Bytes of a chunk's message beside the chunk; a long name takes most of it."""

SINGLY = 64
"""Objects up to which their descriptions are read one by one; for more, all of the bucket's."""

TORN_PAUSE = 0.05
"""Seconds before an object is read anew whose chunks are not where they should be."""

NO_STREAM = 10059
"""JetStream's error for a stream that does not exist."""


class _Torn(Exception):  # noqa: N818 - not an error: an object is written or deleted meanwhile
    """The chunks of an object are not all there."""


class NatsObjects:
    """A bucket of the NATS Object Store, over a connection of its own; a context manager.

    Documents would hold up the messages of the bus on one connection.

    Every coroutine raises a :class:`~docnats.errors.StorageError`; it is ``transient`` where
    NATS does not answer.

    Parameters
    ----------
    config : NatsConfig
        Servers, credentials, copies.
    bucket : str, optional
        Its name; by default that of the configured namespace.
    """

    def __init__(self, config: NatsConfig, bucket: str | None = None) -> None:
        self.bucket = bucket or Names(config.namespace).objects_bucket
        self._config = config
        self._connection = Connection(config)
        self._slots = asyncio.Semaphore(WRITERS_AT_A_TIME)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._connection.close()

    def another(self) -> NatsObjects:
        """Return the same bucket for another event loop; enter it there."""
        return NatsObjects(self._config, self.bucket)

    async def ensure(self) -> None:
        """Create the bucket unless it exists."""
        names = ObjectNames(self.bucket)
        settings = {
            "name": names.stream,
            "subjects": [names.chunks_filter, names.metas_filter],
            "num_replicas": self._config.replicas,
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

    async def put(self, name: str, blocks: AsyncIterator[bytes | memoryview]) -> FoundObject:
        """Store an object, block by block; it is there as a whole or not at all."""
        names = ObjectNames(self.bucket)
        writing = Writing(names, name, new_upload_id())
        with _explained("write", self.bucket, name):
            try:
                async for block in blocks:
                    await self._send(writing, block)
                await self._make_sure(writing)
                return await self._describe(writing)
            except BaseException:
                if writing.chunks:
                    await asyncio.shield(self._discard(writing.subject))
                raise

    async def _send(self, writing: Writing, block: bytes | memoryview) -> None:
        view = memoryview(block)
        span = CHUNK * CHUNKS_AT_A_TIME
        for first in range(0, len(view), span):
            part = view[first : first + span]
            requests = [
                writing.request(bytes(part[start : start + CHUNK]))
                for start in range(0, len(part), CHUNK)
            ]
            async with self._slots:
                answers = await self._connection.ask_all(requests)
            for answer in answers:
                writing.take(answer)

    async def _make_sure(self, writing: Writing) -> None:
        """See that chunks that were sent again are there once each."""
        if not writing.resent:
            return
        request = {"subjects_filter": writing.subject}
        info = await self._connection.api(f"STREAM.INFO.{writing.names.stream}", request)
        if (info["state"].get("subjects") or {}).get(writing.subject) != writing.chunks:
            raise StorageError("chunks arrived twice over a bad connection", transient=True)

    async def _describe(self, writing: Writing) -> FoundObject:
        """Make the chunks an object, in place of the one there was; that one's are deleted."""
        names, description = writing.names, writing.description()
        subject = names.meta_subject(writing.name)
        while True:
            before = await last_message(self._connection, names.stream, subject)
            old = described(names, before) if before else None
            if old is not None and old.upload_id == writing.upload_id:
                return old  # it was written, and the answer lost
            revision = before["seq"] if before else 0
            headers = {
                "Nats-Rollup": "sub",
                "Nats-Expected-Last-Subject-Sequence": str(revision),
            }
            answer = await self._connection.ask(subject, description, headers)
            try:
                number = int(answer.json()["seq"])
            except Refusal as refusal:
                if refusal.code not in WRONG_REVISION:
                    raise
                continue  # somebody else wrote it at the same time: replace theirs
            break
        if old is not None and old.upload_id:
            await self._discard(names.chunks_subject(old.upload_id))
        return writing.found(number)

    async def _discard(self, *subjects: str) -> None:
        """Delete chunks, if the server can be reached: those that stay are orphans."""
        try:
            await self._purge(ObjectNames(self.bucket), subjects)
        except BusError as error:
            log.warning("chunks stay in the bucket %s: %s", self.bucket, error)

    async def _purge(self, names: ObjectNames, subjects: Iterable[str]) -> None:
        endpoint = f"$JS.API.STREAM.PURGE.{names.stream}"
        bodies = [json.dumps({"filter": subject}).encode() for subject in subjects]
        for answer in await self._connection.ask_all([Request(endpoint, body) for body in bodies]):
            answer.json()

    async def read(
        self,
        name: str,
        take: Callable[[FoundObject, AsyncIterator[bytes]], Awaitable[T]],
        bucket: str | None = None,
    ) -> T:
        """Return what ``take`` makes of an object, given its description and its chunks.

        It is called again with a newer object when that was written meanwhile.

        Raises
        ------
        ObjectMissing
            There is no such object.
        """
        names = self._names(bucket)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._connection.time_allowed
        with _explained("read", names.bucket, name):
            while True:
                stored = await last_message(
                    self._connection, names.stream, names.meta_subject(name)
                )
                found = described(names, stored) if stored else None
                if found is None:
                    raise ObjectMissing(f"there is no object {names.bucket}/{name}")
                try:
                    async with aclosing(self._chunks(names, found)) as chunks:
                        return await take(found, chunks)
                except _Torn as torn:
                    # It is being replaced; or, on a cluster, this copy of it is behind.
                    if clock() >= deadline:
                        raise StorageError("chunks of it are missing", transient=True) from torn
                await asyncio.sleep(TORN_PAUSE)

    async def _chunks(self, names: ObjectNames, found: FoundObject) -> AsyncGenerator[bytes, None]:
        """Iterate over an object's chunks; the last one comes only if all of them are right."""
        digest, size = sha256(), 0
        held: bytes | None = None
        async with aclosing(self._messages(names, found)) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                if held is not None:
                    yield held
                held = chunk
        if size != found.size:
            raise _Torn
        if digest.hexdigest() != found.sha256:
            raise StorageError("it was damaged: its bytes are not those that were written")
        if held is not None:
            yield held

    async def _messages(
        self, names: ObjectNames, found: FoundObject
    ) -> AsyncGenerator[bytes, None]:
        subject = names.chunks_subject(found.upload_id)
        endpoint = f"$JS.API.DIRECT.GET.{names.stream}"
        if found.chunks == 1:
            yield (await self._connection.ask(f"{endpoint}.{subject}")).data
            return
        got = after = 0
        while got < found.chunks:
            link = await self._connection.link()
            try:
                async with link.inbox() as inbox:
                    await link.tell(endpoint, _chunks_after(subject, after), inbox.subject)
                    while got < found.chunks:
                        page = await self._page(link, inbox)
                        if not page:
                            raise _Torn
                        got, after = got + len(page), _number(page[-1])
                        if got < found.chunks:  # they come while these are made use of
                            await link.tell(endpoint, _chunks_after(subject, after), inbox.subject)
                        for message in page:
                            yield message.data
            except LinkLost as error:
                log.info("reading from %s goes on: %s", names.bucket, error)

    async def _page(self, link: Link, inbox: Inbox) -> list[Msg]:
        """Return the messages that were asked for; fewer, or none, at the end."""
        page: list[Msg] = []
        while True:
            try:
                message = await inbox.get(self._connection.config.request_timeout)
            except TimeoutError as error:
                await link.check()
                raise BusError(f"{link.url} sent no chunk in time") from error
            if "Status" in (message.headers or {}):  # there are no more, or that was all
                return page
            page.append(message)

    async def delete(self, objects: Iterable[str]) -> None:
        """Delete objects; those that are not there are passed over."""
        names = ObjectNames(self.bucket)
        subjects = [names.meta_subject(name) for name in objects]
        with _explained("delete objects in", self.bucket):
            stored = await self._last(names, subjects)
            found = [described(names, one) for one in stored if one]
            # Description first: at no moment is there an object without its chunks.
            await self._purge(names, [one["subject"] for one in stored if one])
            uploads = [one.upload_id for one in found if one and one.upload_id]
            await self._purge(names, map(names.chunks_subject, uploads))

    async def _last(
        self, names: ObjectNames, subjects: Iterable[str]
    ) -> list[dict[str, Any] | None]:
        endpoint = f"$JS.API.STREAM.MSG.GET.{names.stream}"
        bodies = [json.dumps({"last_by_subj": subject}).encode() for subject in subjects]
        answers = await self._connection.ask_all([Request(endpoint, body) for body in bodies])
        return [_message(answer) for answer in answers]

    async def find(self, prefix: str, bucket: str | None = None) -> list[FoundObject]:
        """Return the objects whose names start with a prefix, in the order of their names."""
        names = self._names(bucket)

        def read(message: Msg) -> FoundObject | None:
            name = names.object_of(message.subject) or ""
            return description_in(names, message) if name.startswith(prefix) else None

        with _explained("list", names.bucket, prefix):
            subjects = await subjects_of(self._connection, names.stream, names.metas_filter)
            wanted = [s for s in subjects if (names.object_of(s) or "").startswith(prefix)]
            if len(wanted) <= SINGLY:
                stored = await self._last(names, wanted)
                found = [described(names, one) for one in stored if one]
            else:
                found = [*await current(self._connection, names.stream, names.metas_filter, read)]
        return sorted((one for one in found if one), key=lambda one: one.name)

    async def orphans(self) -> list[OrphanedChunks]:
        """Return the chunks that belong to no object; another client's say no name and stay."""
        names = ObjectNames(self.bucket)
        with _explained("list the chunks in", self.bucket):
            # Chunks come first: whatever is described meanwhile is known by then.
            subjects = await subjects_of(self._connection, names.stream, names.chunks_filter)
            objects = await current(
                self._connection,
                names.stream,
                names.metas_filter,
                lambda message: description_in(names, message),
            )
            known = {names.chunks_subject(found.upload_id) for found in objects}
            orphaned = [subject for subject in subjects if subject not in known]
            last = await self._last(names, orphaned)
            return [found for one in last if one and (found := orphan_of(names, one))]

    async def discard(self, orphans: Iterable[tuple[str, str]]) -> None:
        """Delete chunks, given by name and upload, unless they are an object by now."""
        names = ObjectNames(self.bucket)
        given = [*orphans]
        with _explained("delete chunks in", self.bucket):
            stored = await self._last(names, [names.meta_subject(name) for name, _ in given])
            objects = [described(names, one) if one else None for one in stored]
            await self._purge(
                names,
                [
                    names.chunks_subject(upload)
                    for (_, upload), found in zip(given, objects, strict=True)
                    if found is None or found.upload_id != upload
                ],
            )

    def _names(self, bucket: str | None) -> ObjectNames:
        name = bucket or self.bucket
        if not valid_bucket(name):
            raise StorageError(_NO_BUCKET.format(bucket=name))
        return ObjectNames(name)


def _chunks_after(subject: str, sequence: int) -> bytes:
    """Return a request for the next chunks of an object."""
    request = {"seq": sequence + 1, "next_by_subj": subject, "batch": CHUNKS_AT_A_TIME}
    return json.dumps(request).encode()


def _number(chunk: Msg) -> int:
    return int((chunk.headers or {})["Nats-Sequence"])


def _message(answer: Answer) -> dict[str, Any] | None:
    try:
        message: dict[str, Any] = answer.json()["message"]
    except Refusal as refusal:
        if refusal.code != NOT_FOUND:
            raise
        return None
    return message


_NO_BUCKET = (
    "there is no bucket {bucket} in the NATS Object Store. Is it one in S3? Then this process has "
    "to use S3 too: unset USE_S3_STORAGE"
)


@contextmanager
def _explained(verb: str, bucket: str, name: str = "") -> Iterator[None]:
    """Raise what goes wrong on the bus as an error of the storage."""
    attempt = f"cannot {verb} {bucket}/{name}"
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
