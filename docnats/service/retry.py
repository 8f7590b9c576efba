"""Runs jobs again from the documents that are in the storage already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from pydantic import JsonValue

from docnats.bus import Bus
from docnats.config import ProcessingConfig
from docnats.errors import SourceError
from docnats.models import JobMessage, JobRecord, JobState
from docnats.service.archives import Archives
from docnats.service.choice import Choice
from docnats.service.cleanup import uploaded
from docnats.service.history import JobKey, find_jobs
from docnats.service.sources import Source
from docnats.service.submission import Submission
from docnats.storage import Storage, StoredObject
from docnats.table.quantities import named

__all__ = ["Place", "Resubmission", "look_up", "resubmission", "retryable"]

_SINGLY = 50
"""Documents up to which the storage is asked for each; for more, what is there is listed."""

Place = tuple[str, str]
"""A bucket and a key."""


def retryable(job: JobRecord, *, force: bool = False) -> bool:
    """Tell whether a job may be run again: it failed or was cancelled, or any end will do."""
    return job.terminal and (force or job.state is not JobState.DONE)


async def resubmission(
    archives: Archives,
    config: ProcessingConfig,
    batch: str,
    keys: Iterable[JobKey],
    *,
    password: str | None,
    timeout: float | None,
    force: bool,
) -> Submission:
    """Return the submission of some jobs as new jobs of a new batch.

    Parameters
    ----------
    archives : Archives
        Know the jobs that are not in the state bucket any more, and the open ports.
    config, batch
        As of a :class:`Submission`.
    keys : iterable of (batch, job_id)
        The jobs to run again, of which some may not be :func:`retryable`. Their options and
        time limits are kept.
    password : str, optional
        Opens encrypted PDFs; no record keeps it.
    timeout : float, optional
        Seconds; by default each job's own.
    force : bool
        Try documents again that are known to kill the parser.

    Raises
    ------
    SourceError
        A document is gone, or there is nothing to retry.
    """
    bus, storage = archives.bus, archives.storage
    entries = await find_jobs(archives, keys)
    jobs = [entry.record for entry in entries if retryable(entry.record, force=force)]
    if not jobs:
        raise SourceError("there is nothing to retry: none of the jobs failed or was cancelled")
    if timeout is not None:
        config = config.but(timeout=timeout)
    sources = await _find_documents(storage, jobs)
    secrets: dict[str, JsonValue] = {} if password is None else {"password": password}
    return Resubmission(
        bus, storage, config, batch, sources, secrets, jobs=jobs, timeout=timeout, force=force
    )


async def _find_documents(storage: Storage, jobs: Sequence[JobRecord]) -> list[Source]:
    """Return where the documents of some jobs are, as sources of a new submission.

    Raises
    ------
    SourceError
        Some are gone; the message names them.
    """
    places = [(job.s3_bucket, job.s3_key) for job in jobs]
    stored = await look_up(storage, set(places))
    gone = [job.filename for job, place in zip(jobs, places, strict=True) if place not in stored]
    if gone:
        raise SourceError(
            f"no retry of {named(gone)}: the document is not in the storage, because it was "
            "cleaned up or never arrived there. Submit the file again, and leave its row out of "
            "the retry; nothing was submitted"
        )
    return [
        Source(name=job.filename, size=stored[place].size, bucket=place[0], key=place[1])
        for job, place in zip(jobs, places, strict=True)
    ]


async def look_up(storage: Storage, places: set[Place]) -> dict[Place, StoredObject]:
    """Return what is stored at some places; what is not there is left out."""
    found: dict[Place, StoredObject] = {}
    for bucket in {bucket for bucket, _ in places}:
        keys = sorted(key for other, key in places if other == bucket)
        prefixes = keys if len(keys) <= _SINGLY else [_common_start(keys)]
        for prefix in prefixes:
            async for stored in storage.list(prefix, bucket=bucket):
                if (bucket, stored.key) in places:
                    found[bucket, stored.key] = stored
                if stored.key >= keys[-1]:
                    break
    return found


def _common_start(keys: Sequence[str]) -> str:
    """Return the letters that some sorted keys begin with."""
    pairs = zip(keys[0], keys[-1], strict=False)
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Resubmission(Submission):
    """The way back to the queue of jobs that ended; ``sources`` are their documents."""

    def __init__(  # noqa: PLR0913 - what a submission takes, and what a retry changes
        self,
        bus: Bus,
        storage: Storage,
        config: ProcessingConfig,
        batch: str,
        sources: Sequence[Source],
        secrets: Mapping[str, JsonValue],
        *,
        jobs: Sequence[JobRecord],
        timeout: float | None,
        force: bool,
    ) -> None:
        self._originals = jobs
        self._timeout = timeout
        choice = Choice(options=secrets)
        super().__init__(bus, storage, config, batch, sources, choice, force=force)

    def _new_record(self, position: int, source: Source) -> JobRecord:
        original = self._originals[position]
        record = super()._new_record(position, source)
        # A document of somebody else's may have been repaired in place meanwhile.
        same = uploaded(original, self._storage)
        return record.but(
            sha256=original.sha256 if same else None,
            pages=original.pages if same else None,
            options=original.options,
            processor=original.processor,
            parts=original.parts,
            custom_prompt=original.custom_prompt,
            processing_timeout=self._timeout or original.processing_timeout,
        )

    async def _message(self, record: JobRecord) -> JobMessage:
        message = await super()._message(record)
        return message.but(options={**record.options, **message.options})
