"""Cancels jobs: marks them in the table, takes them off the queue, stops the running ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from docnats.bus import Bus, StateEntry
from docnats.models import JobRecord, JobState, utc_now
from docnats.service.history import JobKey, entries_of, key_of

__all__ = ["cancel_jobs"]

_MANY = 256
"""Jobs of a batch from which it pays to look whether the batch can be dropped as a whole."""


async def cancel_jobs(bus: Bus, jobs: Iterable[JobRecord]) -> int:
    """Cancel jobs; those that have ended stay as they are.

    Returns
    -------
    int
        How many were cancelled.

    Notes
    -----
    The state is written first, so that a worker that takes a job just now finds it cancelled
    and drops it. Only running jobs need to be told of; all the others are not begun.
    """
    entries = await entries_of(bus, map(key_of, jobs))
    cancelled: list[JobRecord] = []
    pending = [entry for entry in entries.values() if not entry.record.terminal]
    while pending:
        moved_on: list[JobKey] = []
        for entry, written in zip(pending, await _mark(bus, pending), strict=True):
            if written is None:
                moved_on.append(key_of(entry.record))
            else:
                cancelled.append(entry.record)
        again = await entries_of(bus, moved_on)
        pending = [entry for entry in again.values() if not entry.record.terminal]
    await _stop(bus, cancelled)
    return len(cancelled)


async def _mark(bus: Bus, entries: Sequence[StateEntry]) -> list[int | None]:
    now = utc_now()
    return await bus.update_states(
        [
            StateEntry(entry.record.but(state=JobState.CANCELLED, finished_at=now), entry.revision)
            for entry in entries
        ]
    )


async def _stop(bus: Bus, jobs: Sequence[JobRecord]) -> None:
    """Take jobs off the queue, a whole batch at once if all of it ended; tell the workers."""
    for batch, records in _by_batch(jobs).items():
        job_ids = [record.job_id for record in records]
        if len(job_ids) > _MANY and await _all_ended(bus, batch):
            await bus.drop_queued(batch)
        else:
            await bus.drop_queued(batch, job_ids)
        running = [record.job_id for record in records if record.state is JobState.RUNNING]
        await bus.broadcast_cancel(batch, running)


def _by_batch(jobs: Sequence[JobRecord]) -> dict[str, list[JobRecord]]:
    batches: dict[str, list[JobRecord]] = {}
    for job in jobs:
        batches.setdefault(job.batch, []).append(job)
    return batches


async def _all_ended(bus: Bus, batch: str) -> bool:
    return all(entry.record.terminal for entry in await bus.states(batch))
