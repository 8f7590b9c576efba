"""Batches whose sender died: what it did not send any more is a failed row, not a mystery."""

from __future__ import annotations

import logging
from contextlib import suppress

from docnats.bus import Bus, SenderEntry, StateEntry
from docnats.errors import ErrorType, StateConflict
from docnats.models import JobRecord, JobState, SenderInfo, utc_now
from docnats.reconcile.process import is_gone
from docnats.telemetry import about_job

__all__ = ["SILENT_SECONDS", "SUSPECTED_SECONDS", "settle_dead_senders", "settle_unsent"]

log = logging.getLogger(__name__)

SILENT_SECONDS = 30.0
"""A sender without a sign of life for so long is suspected; it gives one every 5 seconds."""

SUSPECTED_SECONDS = 15.0
"""A sender without one since then is dead. Its silence before may have been NATS's own: after
an outage, or after the machine slept, all senders are heard again only after a moment."""

_TRIES = 5
"""Times that a batch is looked through; each but the last was overtaken by somebody."""


async def settle_dead_senders(bus: Bus) -> None:
    """Settle what senders that died have left; one request if nothing is being sent.

    Raises
    ------
    BusError
        NATS does not answer; run it again later.
    """
    for entry in await bus.senders():
        if _is_dead(entry):
            await settle_unsent(bus, entry.sender)
        elif entry.silent > SILENT_SECONDS and not entry.sender.suspected:
            await _suspect(bus, entry)


async def _suspect(bus: Bus, entry: SenderEntry) -> None:
    with suppress(StateConflict):  # it gave a sign just now, or somebody else was faster
        await bus.enlist(entry.sender.but(suspected=True), entry.revision)


async def settle_unsent(bus: Bus, sender: SenderInfo, reason: str | None = None) -> None:
    """Settle every row of a batch that still waits for a sender that sends no more.

    A row whose message is on the queue becomes ``queued``: its sender died before it could
    write that. Every other one fails as ``not_sent``. Then the sender leaves the registry.

    Parameters
    ----------
    reason : str, optional
        Why they were not sent, for the rows; by default that the sender has ended.

    Notes
    -----
    A sender that was only stalled finds its rows written by somebody else, and takes back
    what it sends from then on.
    """
    reason = reason or (
        f"the process that submitted it ({sender.host}, pid {sender.pid}) ended before it was "
        "sent: submit the file again"
    )
    for _ in range(_TRIES):
        waiting = [e for e in await bus.states(sender.batch) if _is_waiting(e.record)]
        if not waiting:
            await bus.delist(sender.batch)
            return
        # Read after the states: what was taken off the queue since has another revision.
        queued = await bus.queued(sender.batch)
        settled = [StateEntry(_settled(e.record, queued, reason), e.revision) for e in waiting]
        written = await bus.update_states(settled)
        for entry, revision in zip(settled, written, strict=True):
            if revision is not None:
                record = entry.record
                with about_job(record.batch, record.job_id):
                    log.info("job %s: %s (%s)", record.job_id, record.state, record.filename)
        log.info(
            "batch %s: settled %d rows that waited for their sender", sender.batch, len(settled)
        )


def _is_dead(entry: SenderEntry) -> bool:
    silent = entry.sender.suspected and entry.silent > SUSPECTED_SECONDS
    return silent or is_gone(entry.sender)


def _is_waiting(record: JobRecord) -> bool:
    return record.state is JobState.UPLOADING


def _settled(record: JobRecord, queued: set[tuple[str, str]], reason: str) -> JobRecord:
    if (record.batch, record.job_id) in queued:
        return record.but(state=JobState.QUEUED, queued_at=utc_now())
    return record.failed(ErrorType.NOT_SENT, reason)
