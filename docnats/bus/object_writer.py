"""Writing an object of the NATS Object Store: its chunks first, and last what makes them one."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator

from docnats.bus.connection import Connection
from docnats.bus.exchange import Answer, Refusal
from docnats.bus.link import Request
from docnats.bus.object_format import (
    CHUNK,
    CHUNKS_AT_A_TIME,
    chunk_headers,
    described,
    description,
)
from docnats.bus.stream import WRONG_REVISION, last_message, purge
from docnats.errors import BusError, StorageError
from docnats.models import StoredObject, utc_now
from docnats.names import ObjectNames, new_upload_id

__all__ = ["ObjectWriter"]

log = logging.getLogger(__name__)


class ObjectWriter:
    """Writes one object, once.

    Parameters
    ----------
    connection : Connection
        Where it is sent.
    names : ObjectNames
        Of the bucket.
    key : str
        The object's name.
    slots : asyncio.Semaphore
        Bounds how many writers have chunks on their way.
    """

    def __init__(
        self, connection: Connection, names: ObjectNames, key: str, slots: asyncio.Semaphore
    ) -> None:
        self._connection = connection
        self._names = names
        self._key = key
        self._slots = slots
        self._upload_id = new_upload_id()
        self._subject = names.chunks_subject(self._upload_id)
        self._digest = hashlib.sha256()
        self._size = 0
        self._chunks = 0
        self._last = 0
        self._resent = False

    async def put(self, blocks: AsyncIterator[bytes | memoryview]) -> StoredObject:
        """Store the object, block by block; it is there as a whole or not at all."""
        try:
            async for block in blocks:
                await self.send(block)
            await self._make_sure()
            return await self._describe()
        except BaseException:
            if self._chunks:
                await asyncio.shield(self._discard(self._subject))
            raise

    async def send(self, block: bytes | memoryview) -> None:
        """Send the chunks of a block."""
        view = memoryview(block)
        span = CHUNK * CHUNKS_AT_A_TIME
        for first in range(0, len(view), span):
            part = view[first : first + span]
            requests = [
                self._request(bytes(part[start : start + CHUNK]))
                for start in range(0, len(part), CHUNK)
            ]
            async with self._slots:
                answers = await self._connection.ask_all(requests)
            for answer in answers:
                self._take(answer)

    def _request(self, chunk: bytes) -> Request:
        self._chunks += 1
        self._size += len(chunk)
        self._digest.update(chunk)
        headers = chunk_headers(self._upload_id, self._chunks, self._key, self._size)
        return Request(self._subject, chunk, headers, f"a chunk of {self._key}")

    def _take(self, answer: Answer) -> None:
        """Note where a chunk was stored."""
        number = int(answer.json()["seq"])
        self._resent |= answer.resent
        if number <= self._last:
            raise StorageError("its chunks arrived in disorder", transient=True)
        self._last = number

    async def _make_sure(self) -> None:
        """See that chunks that were sent again are there once each."""
        if not self._resent:
            return
        request = {"subjects_filter": self._subject}
        info = await self._connection.api(f"STREAM.INFO.{self._names.stream}", request)
        if (info["state"].get("subjects") or {}).get(self._subject) != self._chunks:
            raise StorageError("chunks arrived twice over a bad connection", transient=True)

    async def _describe(self) -> StoredObject:
        """Make the chunks an object, in place of the one there was; that one's are deleted."""
        names, subject = self._names, self._names.meta_subject(self._key)
        stored = StoredObject(self._key, self._size, self._digest.hexdigest(), utc_now())
        told = description(names, stored, self._upload_id, self._chunks)
        while True:
            before = await last_message(self._connection, names.stream, subject)
            old = described(names, before)
            if old is not None and old.upload_id == self._upload_id:
                return old.stored  # it was written, and the answer lost
            headers = {
                "Nats-Rollup": "sub",
                "Nats-Expected-Last-Subject-Sequence": str(before.sequence if before else 0),
            }
            answer = await self._connection.ask(subject, told, headers)
            try:
                answer.json()
            except Refusal as refusal:
                if refusal.code not in WRONG_REVISION:
                    raise
                continue  # somebody else wrote it at the same time: replace theirs
            break
        if old is not None and old.upload_id:
            await self._discard(names.chunks_subject(old.upload_id))
        return stored

    async def _discard(self, subject: str) -> None:
        """Delete chunks, if the server can be reached: those that stay are orphans."""
        try:
            await purge(self._connection, self._names.stream, [subject])
        except BusError as error:
            log.warning("chunks stay in the bucket %s: %s", self._names.bucket, error)
