"""The bucket of poison: what is known of documents that kill the parser."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from nats.aio.msg import Msg

from docnats.bus.bucket import record_in, watch
from docnats.bus.connection import Connection
from docnats.bus.entries import PoisonEntry
from docnats.models import Poison
from docnats.names import Names

__all__ = ["PoisonNotes"]

OUTAGE_SECONDS = 24 * 3600.0
"""Watching goes on after any shorter outage: a worker must outlive those."""

REMOVED = {"KV-Operation": "DEL"}
"""The header that stands for a deleted key in every KV bucket."""


class PoisonNotes:
    """The bucket of poison; a part of the bus."""

    _connection: Connection
    _names: Names

    async def put_poison(self, key: str, poison: Poison) -> None:
        """Note that a document kills the parser; kept for some weeks."""
        about = f"the note that {poison.filename} kills the parser"
        subject = self._names.poison_subject(key)
        (await self._connection.ask(subject, poison.to_json(), about=about)).json()

    async def remove_poison(self, key: str) -> None:
        """Note that it does not, or not any more; a key without a note is fine."""
        # A marker rather than a purge, which a watch that is cut off would miss.
        subject = self._names.poison_subject(key)
        (await self._connection.ask(subject, b"", REMOVED)).json()

    async def watch_poison(self) -> AsyncGenerator[PoisonEntry | None, None]:
        """Iterate over the notes on poison: the current ones, one None, then each change."""
        stream, subject = self._names.poison_stream, self._names.poison_filter
        async with aclosing(watch(self._connection, stream, subject, OUTAGE_SECONDS)) as pages:
            async for page in pages:
                for message in page or ():
                    if entry := self._entry(message):
                        yield entry
                if page is None:
                    yield None

    def _entry(self, message: Msg) -> PoisonEntry | None:
        key = self._names.poison_key_of(message.subject)
        if message.headers and "KV-Operation" in message.headers:
            return PoisonEntry(key, None)
        poison = record_in(Poison, message.subject, message.data)
        return PoisonEntry(key, poison) if poison else None
