"""Reading an object of the NATS Object Store: all of it as it was written, or an error."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from typing import TypeVar

from nats.aio.msg import Msg

from docnats.bus.connection import Connection
from docnats.bus.inbox import Inbox, LinkLost
from docnats.bus.link import Link
from docnats.bus.object_format import CHUNKS_AT_A_TIME, Described, described
from docnats.bus.stream import last_message
from docnats.errors import BusError, ObjectMissing, StorageError
from docnats.models import StoredObject
from docnats.names import ObjectNames

__all__ = ["ObjectReader"]

log = logging.getLogger(__name__)

T = TypeVar("T")

TORN_PAUSE = 0.05
"""Seconds before an object is read anew whose chunks are not where they should be."""


class _Torn(Exception):  # noqa: N818 - not an error: an object is written or deleted meanwhile
    """The chunks of an object are not all there."""


class ObjectReader:
    """Reads objects of one bucket."""

    def __init__(self, connection: Connection, names: ObjectNames) -> None:
        self._connection = connection
        self._names = names
        self._direct_get = f"$JS.API.DIRECT.GET.{names.stream}"

    async def read(
        self, key: str, take: Callable[[StoredObject, AsyncIterator[bytes]], Awaitable[T]]
    ) -> T:
        """Return what ``take`` makes of an object, given what it is and its chunks.

        It is called again with a newer object when that was written meanwhile.
        """
        names, clock = self._names, asyncio.get_running_loop().time
        deadline = clock() + self._connection.time_allowed
        while True:
            last = await last_message(self._connection, names.stream, names.meta_subject(key))
            found = described(names, last)
            if found is None:
                raise ObjectMissing(f"there is no object {names.bucket}/{key}")
            try:
                async with aclosing(self._chunks(found)) as chunks:
                    return await take(found.stored, chunks)
            except _Torn as torn:
                # It is being replaced; or, on a cluster, this copy of it is behind.
                if clock() >= deadline:
                    raise StorageError("chunks of it are missing", transient=True) from torn
            await asyncio.sleep(TORN_PAUSE)

    async def _chunks(self, found: Described) -> AsyncGenerator[bytes, None]:
        """Iterate over an object's chunks; the last one comes only if all of them are right."""
        digest, size = sha256(), 0
        held: bytes | None = None
        async with aclosing(self._messages(found)) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                if held is not None:
                    yield held
                held = chunk
        if size != found.stored.size:
            raise _Torn
        if digest.hexdigest() != found.stored.sha256:
            raise StorageError("it was damaged: its bytes are not those that were written")
        if held is not None:
            yield held

    async def _messages(self, found: Described) -> AsyncGenerator[bytes, None]:
        subject = self._names.chunks_subject(found.upload_id)
        if found.chunks == 1:
            yield (await self._connection.ask(f"{self._direct_get}.{subject}")).data
            return
        got = after = 0
        while got < found.chunks:
            link = await self._connection.link()
            try:
                async with link.inbox() as inbox:
                    await self._ask_for_more(link, inbox, subject, after)
                    while got < found.chunks:
                        page = await self._page(link, inbox)
                        if not page:
                            raise _Torn
                        got, after = got + len(page), _number(page[-1])
                        if got < found.chunks:  # they come while these are made use of
                            await self._ask_for_more(link, inbox, subject, after)
                        for message in page:
                            yield message.data
            except LinkLost as error:
                log.info("reading from %s goes on: %s", self._names.bucket, error)

    async def _ask_for_more(self, link: Link, inbox: Inbox, subject: str, after: int) -> None:
        request = {"seq": after + 1, "next_by_subj": subject, "batch": CHUNKS_AT_A_TIME}
        await link.tell(self._direct_get, json.dumps(request).encode(), inbox.subject)

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


def _number(chunk: Msg) -> int:
    return int((chunk.headers or {})["Nats-Sequence"])
