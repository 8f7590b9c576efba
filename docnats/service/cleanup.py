"""Deletes what jobs left in S3."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from docnats.bus import Bus
from docnats.errors import DocnatsError
from docnats.models import JobRecord
from docnats.names import RAW_PREFIX, RESULT_PARTS, result_part
from docnats.service.cancel import cancel_jobs
from docnats.service.history import entries_of, key_of, named
from docnats.storage import Storage

__all__ = ["clean_up_jobs", "delete_objects", "give_up", "uploaded"]

log = logging.getLogger(__name__)

GIVE_UP_SECONDS = 10.0
"""How long it may take to cancel jobs that nobody waits for any more."""


async def clean_up_jobs(bus: Bus, storage: Storage, jobs: Iterable[JobRecord]) -> int:
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
    known = {key_of(job): job for job in jobs}
    known |= {key: entry.record for key, entry in (await entries_of(bus, known)).items()}
    active = [job.filename for job in known.values() if not job.terminal]
    if active:
        raise DocnatsError(
            f"not cleaned up, because {len(active)} of {len(known)} jobs have not ended "
            f"({named(active)}): wait for them, cancel them or leave their rows out; nothing was "
            "deleted"
        )
    # A retry reads the upload of the job it repeats.
    needed = {
        entry.record.s3_key
        for entry in await bus.states()
        if not entry.record.terminal and uploaded(entry.record, storage)
    }
    await delete_objects(storage, list(known.values()), keep=needed)
    return len(known)


async def give_up(bus: Bus, storage: Storage, jobs: Sequence[JobRecord], *, clean_up: bool) -> None:
    """Cancel jobs and, if wanted, delete their objects, as far as the servers can be reached.

    Their user has waited and gets the error they ended with, not one of this.
    """
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await cancel_jobs(bus, jobs)
            if clean_up:
                await delete_objects(storage, jobs)
    except (DocnatsError, TimeoutError) as error:
        names = named([job.filename for job in jobs])
        log.warning("not cancelled and cleaned up: %s: %s", names, error or "no answer in time")


async def delete_objects(
    storage: Storage, jobs: Sequence[JobRecord], keep: Iterable[str] = ()
) -> None:
    """Delete the results and uploads of jobs, apart from the keys to keep."""
    keys = {job.s3_key for job in jobs if uploaded(job, storage)}.difference(keep)
    keys.update(result_part(job.job_id, part) for job in jobs for part in RESULT_PARTS)
    await storage.delete(sorted(keys))


def uploaded(job: JobRecord, storage: Storage) -> bool:
    """Tell whether docnats put the document into S3, or it was there before."""
    return job.s3_bucket == storage.bucket and job.s3_key.startswith(RAW_PREFIX)
