"""The state bucket: the job table, written by compare-and-set, watched a batch at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from nats.aio.msg import Msg

from docnats.bus.bucket import current, record_in, sequences, uncollected, watch
from docnats.bus.connection import Connection
from docnats.bus.entries import StateEntry
from docnats.bus.exchange import Answer, Refusal
from docnats.bus.link import Request
from docnats.bus.stream import WRONG_REVISION, Stored, last_message
from docnats.errors import BusError, StateConflict
from docnats.models import JobRecord
from docnats.names import Names

__all__ = ["JobStates"]


class JobStates:
    """The bucket of job states; a part of the bus."""

    _connection: Connection
    _names: Names

    async def update_state(self, record: JobRecord, revision: int) -> int:
        """Write a record if its job's revision still is ``revision``, else StateConflict."""
        (written,) = await self.update_states([StateEntry(record, revision)])
        if written is None:
            raise StateConflict(
                f"job {record.job_id}: its state was written by somebody else since revision "
                f"{revision}; read it again"
            )
        return written

    async def update_states(self, entries: Sequence[StateEntry]) -> list[int | None]:
        """Write many records, each if its revision still is the given one; None: it is not."""
        answers = await self._connection.ask_all([self._state_request(one) for one in entries])
        return [await self._outcome(answer) for answer in answers]

    async def _outcome(self, answer: Answer) -> int | None:
        try:
            revision: int = answer.json()["seq"]
        except Refusal as refusal:
            if refusal.code not in WRONG_REVISION:
                raise
            return await self._revision_if_ours(answer) if answer.resent else None
        return revision

    async def _revision_if_ours(self, answer: Answer) -> int | None:
        """Tell whether a write that was sent again had been done the first time."""
        stored = await self._last(answer.request.subject)
        return stored.sequence if stored and stored.data == answer.request.payload else None

    def _state_request(self, entry: StateEntry) -> Request:
        record = entry.record
        return Request(
            self._names.state_subject(record.batch, record.job_id),
            record.to_json(),
            {"Nats-Expected-Last-Subject-Sequence": str(entry.revision)},
            f"the state record of job {record.job_id} ({record.filename})",
        )

    async def get_state(self, batch: str, job_id: str) -> StateEntry | None:
        """Return a job's record as the leader has it, or None."""
        stored = await self._last(self._names.state_subject(batch, job_id))
        if stored is None:
            return None
        try:
            record = JobRecord.from_json(stored.data)
        except ValueError as error:
            raise BusError(
                f"job {job_id}: its state record in the bucket {self._names.states_bucket} "
                "cannot be read; was it written by a newer docnats?"
            ) from error
        return StateEntry(record, stored.sequence)

    async def _last(self, subject: str) -> Stored | None:
        return await last_message(self._connection, self._names.states_stream, subject)

    async def states(self, batch: str | None = None) -> list[StateEntry]:
        """Return the records of a batch, or all."""
        subject = self._names.batch_states_filter(batch)
        return await current(self._connection, self._names.states_stream, subject, _entry)

    async def watch(self, batch: str) -> AsyncGenerator[StateEntry | None, None]:
        """Iterate over a batch's records: the current ones, one None, then each change."""
        stream, subject = self._names.states_stream, self._names.batch_states_filter(batch)
        async with aclosing(watch(self._connection, stream, subject)) as pages:
            async for page in pages:
                for entry in _entries(page or ()):
                    yield entry
                if page is None:
                    yield None


def _entries(messages: Sequence[Msg]) -> list[StateEntry]:
    with uncollected():
        return [entry for message in messages if (entry := _entry(message)) is not None]


def _entry(message: Msg) -> StateEntry | None:
    """Return the record in a message; None for a deleted or an unreadable one."""
    if message.headers and "KV-Operation" in message.headers:
        return None
    record = record_in(JobRecord, message.subject, message.data)
    return StateEntry(record, sequences(message).stream) if record else None
