"""Deletes what jobs left in the storage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Iterable, Sequence

from docnats.bus import Bus, StateEntry
from docnats.errors import DocnatsError
from docnats.models import JobRecord, JobState, utc_now
from docnats.names import RAW_PREFIX, RESULT_PARTS, owner, part_key, result_key
from docnats.service.archives import Archives
from docnats.service.cancel import cancel_jobs
from docnats.service.history import JobKey, entries_of, key_of
from docnats.storage import Storage
from docnats.table.quantities import named

__all__ = ["borrows", "clean_up_jobs", "delete_objects", "give_up", "uploaded"]

log = logging.getLogger(__name__)

GIVE_UP_SECONDS = 10.0
"""How long it may take to cancel jobs that nobody waits for any more."""


async def clean_up_jobs(archives: Archives, jobs: Iterable[JobRecord]) -> int:
    """Delete the uploads and results of jobs that have ended; their rows stay.

    Returns
    -------
    int
        How many documents.

    Raises
    ------
    DocnatsError
        A job has not ended; nothing was deleted.
    """
    bus, storage = archives.bus, archives.storage
    known = {key_of(job): job for job in jobs}
    entries = await entries_of(bus, known)
    known |= {key: entry.record for key, entry in entries.items()}
    active = [job.filename for job in known.values() if not job.terminal]
    if active:
        raise DocnatsError(
            f"not cleaned up, because {len(active)} of {len(known)} jobs have not ended "
            f"({named(active)}): wait for them, cancel them or leave their rows out; nothing was "
            "deleted"
        )
    # Forgotten first: from here on, no new job is given these results.
    await bus.forget_results(job.sha256 for job in known.values() if job.sha256)
    others = [entry.record for entry in await bus.states()]
    # An archived row needs what is another's only if it borrows, or that other one does.
    any_borrow = any(map(borrows, known.values()))
    others += await (archives.records_since() if any_borrow else archives.borrowing())
    needed = _needed_by_others(others, known, storage)
    await delete_objects(storage, list(known.values()), keep=needed)
    kept = [
        entry for entry in entries.values() if needed.intersection(_keys(entry.record, storage))
    ]
    # Those count no more when the others are cleaned up, which then deletes what was kept.
    cleaned = [StateEntry(e.record.but(cleaned_at=utc_now()), e.revision) for e in kept]
    await bus.update_states(cleaned)
    return len(known)


def _needed_by_others(
    records: Iterable[JobRecord], cleaned: Container[JobKey], storage: Storage
) -> set[str]:
    """Return the keys of what jobs use that are not being cleaned up.

    A retry reads the upload of the job it repeats; a known document has an earlier job's
    result, and its upload to be shown or retried with.
    """
    needed: set[str] = set()
    for record in (record for record in records if key_of(record) not in cleaned):
        if not record.terminal and uploaded(record, storage):
            needed.add(record.s3_key)
        elif record.state is JobState.DONE and record.cleaned_at is None:
            needed.update(_keys(record, storage))
    return needed


async def give_up(bus: Bus, storage: Storage, jobs: Sequence[JobRecord], *, clean_up: bool) -> None:
    """Cancel jobs and, if wanted, delete their objects, as far as the servers can be reached.

    Their user has waited and gets the error they ended with, not one of this.
    """
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await cancel_jobs(bus, jobs)
            if clean_up:
                # What an earlier job made is not theirs to delete.
                await delete_objects(storage, [job for job in jobs if not job.reused_from])
    except (DocnatsError, TimeoutError) as error:
        names = named([job.filename for job in jobs])
        log.warning("not cancelled and cleaned up: %s: %s", names, error or "no answer in time")


async def delete_objects(
    storage: Storage, jobs: Sequence[JobRecord], keep: Iterable[str] = ()
) -> None:
    """Delete the results and uploads of jobs, apart from the keys to keep."""
    keys = {key for job in jobs for key in _keys(job, storage)}
    await storage.delete(sorted(keys.difference(keep)))


def _keys(job: JobRecord, storage: Storage) -> set[str]:
    prefix = job.result_key or result_key(job.job_id)
    keys = {part_key(prefix, part) for part in (*RESULT_PARTS, *job.parts)}
    return keys | {job.s3_key} if uploaded(job, storage) else keys


def borrows(job: JobRecord) -> bool:
    """Tell whether a job's document or result is there because of another job."""
    return job.reused_from is not None or owner(job.s3_key) not in (None, job.job_id)


def uploaded(job: JobRecord, storage: Storage) -> bool:
    """Tell whether docnats put the document into the storage, or it was there before."""
    return job.s3_bucket == storage.bucket and job.s3_key.startswith(RAW_PREFIX)
