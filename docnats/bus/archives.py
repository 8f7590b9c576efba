"""The bucket of archived batches: an index of what is kept in S3 instead of the job table."""

from __future__ import annotations

from nats.aio.msg import Msg

from docnats.bus.bucket import current, record_in
from docnats.bus.connection import Connection
from docnats.bus.stream import last_message, purge
from docnats.errors import BusError
from docnats.models import ArchivedBatch
from docnats.names import Names

__all__ = ["ArchiveIndex"]


class ArchiveIndex:
    """The bucket of archived batches; a part of the bus."""

    _connection: Connection
    _names: Names

    async def put_archive(self, archived: ArchivedBatch) -> None:
        """Enter a batch into the index, in place of an earlier entry."""
        subject = self._names.archive_subject(archived.batch)
        about = f"the entry of the archived batch {archived.batch}"
        (await self._connection.ask(subject, archived.to_json(), about=about)).json()

    async def archive(self, batch: str) -> ArchivedBatch | None:
        """Return a batch's entry in the index as the leader has it, or None."""
        stream, subject = self._names.archives_stream, self._names.archive_subject(batch)
        stored = await last_message(self._connection, stream, subject)
        if stored is None:
            return None
        try:
            return ArchivedBatch.from_json(stored.data)
        except ValueError as error:
            raise BusError(
                f"batch {batch}: its entry in the bucket {self._names.archives_bucket} cannot be "
                "read; was it written by a newer docnats?"
            ) from error

    async def archives(self) -> list[ArchivedBatch]:
        """Return the entries of all archived batches."""
        stream, subject = self._names.archives_stream, self._names.archives_filter
        info = await self._connection.api(f"STREAM.INFO.{stream}")
        if not info["state"]["messages"]:  # most installations: spares the reader
            return []
        return await current(self._connection, stream, subject, _entry)

    async def forget_batch(self, batch: str) -> None:
        """Forget all records of a batch, at once."""
        filters = [self._names.batch_states_filter(batch)]
        await purge(self._connection, self._names.states_stream, filters)


def _entry(message: Msg) -> ArchivedBatch | None:
    return record_in(ArchivedBatch, message.subject, message.data)
