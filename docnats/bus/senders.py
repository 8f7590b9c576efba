"""The registry of senders: which process sends which batch, kept beyond its death."""

from __future__ import annotations

from datetime import datetime, timedelta

from nats.aio.msg import Msg

from docnats.bus.bucket import current, record_in, sequences
from docnats.bus.connection import Connection
from docnats.bus.entries import SenderEntry
from docnats.bus.exchange import Refusal
from docnats.bus.stream import WRONG_REVISION, last_message, purge, subjects_of
from docnats.errors import StateConflict
from docnats.models import SenderInfo
from docnats.names import Names

__all__ = ["Senders"]


class Senders:
    """The bucket of batches that are being sent; a part of the bus."""

    _connection: Connection
    _names: Names

    async def enlist(self, sender: SenderInfo, revision: int = 0) -> int:
        """Enter a batch's sender into the registry, or let it give a sign of life."""
        answer = await self._connection.ask(
            self._names.sending_subject(sender.batch),
            sender.to_json(),
            {"Nats-Expected-Last-Subject-Sequence": str(revision)},
            about=f"the entry of the sender of batch {sender.batch}",
        )
        try:
            written: int = answer.json()["seq"]
        except Refusal as refusal:
            if refusal.code not in WRONG_REVISION:
                raise
            return await self._own_revision(sender)
        return written

    async def _own_revision(self, sender: SenderInfo) -> int:
        """Return the revision of an entry that is the sender's own: it was written twice."""
        stored = await last_message(
            self._connection,
            self._names.sending_stream,
            self._names.sending_subject(sender.batch),
        )
        if stored is None or stored.data != sender.to_json():
            raise StateConflict(
                f"batch {sender.batch}: another process sends it, or somebody took the entry of "
                "this one out of the registry"
            )
        return stored.sequence

    async def delist(self, batch: str) -> None:
        """Take a batch's sender out of the registry; fine if there is none."""
        subject = self._names.sending_subject(batch)
        await purge(self._connection, self._names.sending_stream, [subject])

    async def senders(self) -> list[SenderEntry]:
        """Return the senders, those too that have given no sign of life for long."""
        stream = self._names.sending_stream
        info = await self._connection.api(f"STREAM.INFO.{stream}")
        if not info["state"]["messages"]:
            return []
        now = datetime.fromisoformat(info["ts"])
        entries = await current(self._connection, stream, self._names.sending_filter, _entry)
        return [
            SenderEntry(sender, revision, max(timedelta(0), now - seen).total_seconds())
            for sender, revision, seen in entries
        ]

    async def foreign_jobs(self) -> set[str]:
        """Return the ids of the jobs that other namespaces on the same servers know."""
        names: list[str] = []
        while True:
            page = await self._connection.api("STREAM.NAMES", {"offset": len(names)})
            names += page["streams"] or ()
            if not page["streams"] or len(names) >= page["total"]:
                break
        return {
            self._names.job_of(subject)[1]
            for stream in self._names.foreign_states(names).values()
            for subject in await subjects_of(self._connection, stream, ">")
        }


def _entry(message: Msg) -> tuple[SenderInfo, int, datetime] | None:
    """Return the sender in a message, its revision and when the server took it in."""
    sender = record_in(SenderInfo, message.subject, message.data)
    return (sender, sequences(message).stream, message.metadata.timestamp) if sender else None
