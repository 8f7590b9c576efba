"""What the installation knows of its jobs and batches.

It is read from the state bucket, and for archived batches from S3. The bucket comes first: a
batch leaves it only after its archive is there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self, TypeAlias

from docnats.bus import Bus, StateEntry
from docnats.errors import ConfigError, ErrorType, TableError
from docnats.models import ArchivedBatch, JobRecord, JobState, utc_now
from docnats.names import new_batch_id, valid_token
from docnats.reconcile import settle_dead_senders
from docnats.service.archives import Archives
from docnats.service.batch import Batch
from docnats.table import JobTable
from docnats.table.quantities import many, named

__all__ = [
    "BatchSummary",
    "JobKey",
    "Since",
    "States",
    "attach_batch",
    "entries_of",
    "find_jobs",
    "key_of",
    "list_batches",
    "list_jobs",
    "new_batch",
    "result_places",
    "select_jobs",
]

JobKey: TypeAlias = tuple[str, str]
"""A job's batch and its id."""

Since: TypeAlias = datetime | timedelta
"""A moment, in UTC unless it says otherwise; or how long ago."""

States: TypeAlias = JobState | str | Iterable[JobState | str]

_SINGLY = 32
"""Jobs of a batch up to which they are read one by one; more, and the whole batch is."""

_GROUP = 256
"""Reads on their way at a time."""


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """One batch as a whole: a row of the history.

    Attributes
    ----------
    batch : str
        Its id.
    submitted_at : datetime
        When its first job was submitted, UTC.
    finished_at : datetime or None
        When its last job ended; None while there are jobs that have not.
    jobs : int
        How many there are.
    counts : mapping of JobState to int
        Jobs in each state.
    pages, bytes : int
        Of the documents, as far as they are known.
    archived_at : datetime or None
        When it was archived.
    """

    batch: str
    submitted_at: datetime
    finished_at: datetime | None
    jobs: int
    counts: Mapping[JobState, int]
    pages: int
    bytes: int
    archived_at: datetime | None = None

    @classmethod
    def of(cls, records: Sequence[JobRecord]) -> Self:
        """Sum up the records of one batch, of which there must be some."""
        counts = Counter(record.state for record in records)
        ended = [record.finished_at for record in records if record.finished_at]
        finished = all(record.terminal for record in records)
        return cls(
            batch=records[0].batch,
            submitted_at=min(record.submitted_at for record in records),
            finished_at=max(ended, default=None) if finished else None,
            jobs=len(records),
            counts={state: counts[state] for state in JobState},
            pages=sum(record.pages or 0 for record in records),
            bytes=sum(record.bytes or 0 for record in records),
        )

    @classmethod
    def of_archive(cls, archived: ArchivedBatch) -> Self:
        """Return what the index says of an archived batch."""
        return cls(
            batch=archived.batch,
            submitted_at=archived.submitted_at,
            finished_at=archived.finished_at,
            jobs=archived.jobs,
            counts={state: archived.counts.get(state, 0) for state in JobState},
            pages=archived.pages,
            bytes=archived.bytes,
            archived_at=archived.archived_at,
        )


async def list_jobs(
    archives: Archives, batch: str | None, since: Since | None, state: States | None
) -> list[JobRecord]:
    """Return the records of a batch, or of all, in the order of submission.

    Raises
    ------
    ConfigError
        There is no such state, or ``since`` is no time.
    """
    begin, wanted = _begin(since), _states(state)
    await settle_dead_senders(archives.bus)
    records = [entry.record for entry in await archives.bus.states(batch)]
    if batch is None:
        records += await archives.records_since(begin, but={record.batch for record in records})
    elif not records:
        records = await archives.records(batch)
    return sorted(
        (
            record
            for record in records
            if record.state in wanted and (begin is None or record.submitted_at >= begin)
        ),
        key=_place,
    )


def _place(record: JobRecord) -> tuple[datetime, str, int]:
    return record.submitted_at, record.batch, record.position


def _begin(since: Since | None) -> datetime | None:
    if isinstance(since, timedelta):
        return utc_now() - since
    if isinstance(since, datetime) and since.tzinfo is None:
        return since.replace(tzinfo=UTC)
    if since is None or isinstance(since, datetime):
        return since
    raise ConfigError(
        f"since={since!r}: give a datetime, or a timedelta that tells how long ago, for example "
        "timedelta(hours=1)"
    )


def _states(state: States | None) -> frozenset[JobState]:
    if state is None:
        return frozenset(JobState)
    names = [state] if isinstance(state, str) else list(state)
    unknown = [name for name in names if name not in set(JobState)]
    if unknown:
        raise ConfigError(
            f"state={unknown[0]!r}: there is no such state; the states are {', '.join(JobState)}"
        )
    return frozenset(JobState(name) for name in names)


async def result_places(archives: Archives, job_ids: Iterable[str]) -> dict[str, str]:
    """Return the ``result_key`` of some jobs by id, as far as they have one of another job."""
    wanted = set(job_ids)
    records = [entry.record for entry in await archives.bus.states()]
    records += await archives.borrowing()
    return {
        job.job_id: job.result_key for job in records if job.job_id in wanted and job.result_key
    }


async def list_batches(archives: Archives) -> list[BatchSummary]:
    """Return one summary a batch, the newest first; of archived ones from the index alone."""
    await settle_dead_senders(archives.bus)
    batches: dict[str, list[JobRecord]] = {}
    for entry in await archives.bus.states():
        batches.setdefault(entry.record.batch, []).append(entry.record)
    summaries = [BatchSummary.of(records) for records in batches.values()]
    summaries += [
        BatchSummary.of_archive(one) for one in await archives.entries() if one.batch not in batches
    ]
    return sorted(summaries, key=lambda s: (s.submitted_at, s.batch), reverse=True)


async def new_batch(archives: Archives, name: str | None) -> str:
    """Return the id of a batch to come: the name, if it is free, or one made of the time.

    Raises
    ------
    ConfigError
        It is no valid name, or there is such a batch.
    """
    if name is None:
        return new_batch_id()
    if not valid_token(name):
        raise ConfigError(
            f"batch={name!r}: a name is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'"
        )
    await settle_dead_senders(archives.bus)
    if known := await archives.bus.states(name):
        raise ConfigError(
            f"batch={name!r}: there is such a batch already; choose another name"
            + _unsent(name, [entry.record for entry in known])
        )
    if await archives.records(name):
        raise ConfigError(
            f"batch={name!r}: there is an archived batch of that name; choose another"
        )
    return name


def _unsent(batch: str, records: Sequence[JobRecord]) -> str:
    """Return what to do about the files of a batch that were never sent, if there are any."""
    never = [r.filename for r in sorted(records, key=_place) if r.error_type is ErrorType.NOT_SENT]
    if not never:
        return ""
    return (
        f". Of its {len(records)} files {len(never)} were never sent ({named(never)}): submit "
        f'those again. All are listed by jobs = docnats.jobs("{batch}", state="failed"), then '
        'jobs[jobs.error_type == "not_sent"].filename'
    )


async def attach_batch(archives: Archives, batch: str) -> Batch:
    """Return a handle on a batch that any client submitted.

    Raises
    ------
    ConfigError
        There is no such batch.
    """
    await settle_dead_senders(archives.bus)
    entries = await archives.bus.states(batch)
    entries = entries or [_archived(record) for record in await archives.records(batch)]
    table = JobTable(batch)
    for entry in sorted(entries, key=lambda entry: entry.record.position):
        table.apply(entry.record, entry.revision)
    if not len(table):
        raise ConfigError(f"batch={batch!r}: there is no such batch; see docnats.batches()")
    return Batch(archives.bus, table, storage=archives.storage)


def _archived(record: JobRecord) -> StateEntry:
    """Return a record that is not in the state bucket as the first that is known of its job."""
    return StateEntry(record, 0)


async def select_jobs(archives: Archives, keys: Iterable[JobKey]) -> Batch:
    """Return a handle on some jobs of any batches.

    Raises
    ------
    ConfigError
        There is not one job.
    TableError
        A job is not known to this installation.
    """
    entries = await find_jobs(archives, keys)
    if not entries:
        raise ConfigError("there is no job to follow: the selection is empty")
    batches = list(dict.fromkeys(entry.record.batch for entry in entries))
    active = {entry.record.batch for entry in entries if not entry.record.terminal}
    whose = batches[0] if len(batches) == 1 else f"{len(batches)} batches"
    table = JobTable(
        f"{many(len(entries), 'job')} of {whose}",
        only={entry.record.job_id for entry in entries},
    )
    for entry in entries:
        table.apply(entry.record, entry.revision)
    storage = archives.storage
    return Batch(archives.bus, table, storage=storage, batches=active or batches[:1])


async def find_jobs(archives: Archives, keys: Iterable[JobKey]) -> list[StateEntry]:
    """Return the states of some jobs, each once, in the order given; of archived ones too.

    Raises
    ------
    TableError
        A job is not known to this installation.
    """
    wanted = list(dict.fromkeys(keys))
    found = await entries_of(archives.bus, wanted)
    away = dict.fromkeys(batch for batch, job_id in wanted if (batch, job_id) not in found)
    for record in [one for batch in away for one in await archives.records(batch)]:
        found.setdefault(key_of(record), _archived(record))
    lost = [
        f"{job_id} of batch {batch}" for batch, job_id in wanted if (batch, job_id) not in found
    ]
    if lost:
        raise TableError(
            f"this installation knows no job {named(lost)}: was it submitted to other servers "
            "(NATS_URL, DOCNATS_NAMESPACE), or have their data been removed?"
        )
    return [found[key] for key in wanted]


async def entries_of(bus: Bus, keys: Iterable[JobKey]) -> dict[JobKey, StateEntry]:
    """Return the states of those of some jobs that there are."""
    batches: dict[str, set[str]] = {}
    for batch, job_id in keys:
        batches.setdefault(batch, set()).add(job_id)
    found: list[StateEntry | None] = []
    singly: list[JobKey] = []
    for batch, job_ids in batches.items():
        if len(job_ids) > _SINGLY:
            found += [e for e in await bus.states(batch) if e.record.job_id in job_ids]
        else:
            singly += [(batch, job_id) for job_id in job_ids]
    for first in range(0, len(singly), _GROUP):
        group = singly[first : first + _GROUP]
        found += await asyncio.gather(*(bus.get_state(*key) for key in group))
    return {key_of(entry.record): entry for entry in found if entry is not None}


def key_of(record: JobRecord) -> JobKey:
    """Return what names a job."""
    return record.batch, record.job_id
