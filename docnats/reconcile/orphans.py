"""Jobs whose message was dropped by somebody else: nothing on the queue, and nobody at work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from docnats.bus import Bus, GivenUp, StateEntry
from docnats.errors import ErrorType, StateConflict
from docnats.models import DeadLetter, DeadLetterKind, JobState, utc_now
from docnats.telemetry import about_job

__all__ = ["end_orphans"]

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=60)
"""Time for a worker whose message was dropped to settle the job all the same."""

_REASONS, _LONGEST = 3, 200
"""Reasons told when several messages were dropped, and characters of each."""


async def end_orphans(bus: Bus, words: Sequence[GivenUp]) -> list[GivenUp]:
    """Fail the jobs whose message was dropped, and leave a dead letter that says so.

    The server tells that a message was dropped, by a worker of another make or by an operator,
    and of every leased job that was cancelled, but not whose it was.

    Parameters
    ----------
    words : sequence of GivenUp
        What the server told.

    Returns
    -------
    list of GivenUp
        The words that are dealt with; the others are too fresh.
    """
    due = [word for word in words if utc_now() - word.at >= PATIENCE]
    if not due:
        return []
    reasons = list(dict.fromkeys(word.reason[:_LONGEST] or "no reason given" for word in due))
    reason = f"its message was taken off the queue: {'; '.join(reasons[:_REASONS])}"
    last = max(due, key=lambda word: word.at)
    for entry in await _orphans(bus, last):
        await _end_one(bus, entry, last, reason)
    return due


async def _orphans(bus: Bus, last: GivenUp) -> list[StateEntry]:
    """Return the jobs that were queued before something was dropped, and are nowhere now."""
    at_work = {job_id for worker in await bus.workers() for job_id in worker.jobs}
    waiting = {
        (entry.record.batch, entry.record.job_id): entry
        for entry in await bus.states()
        if entry.record.state in (JobState.QUEUED, JobState.RUNNING)
        and (entry.record.queued_at or entry.record.submitted_at) <= last.at
        and entry.record.job_id not in at_work
    }
    if not waiting:
        return []
    queued = await bus.queued()
    return [entry for key, entry in waiting.items() if key not in queued]


async def _end_one(bus: Bus, entry: StateEntry, word: GivenUp, reason: str) -> None:
    # No body can be lost here, so the row comes first: it may just have been settled.
    try:
        await bus.update_state(entry.record.failed(ErrorType.UNREADABLE, reason), entry.revision)
    except StateConflict:
        return
    record = entry.record
    with about_job(record.batch, record.job_id):
        log.error("job %s: %s", record.job_id, reason)
    await bus.bury(
        DeadLetter(
            kind=DeadLetterKind.TERMINATED,
            reason=reason,
            subject="",
            job=(record.batch, record.job_id),
            sequence=word.sequence,
            stored_at=record.queued_at or record.submitted_at,
            deliveries=word.deliveries,
            consumer=word.consumer,
            data=b"",
            size=0,
        )
    )
