"""The jobs of a batch as they stand, folded from records that arrive in any order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from docnats.models import (
    TERMINAL,
    JobRecord,
    JobState,
    PageProgress,
    Progress,
    RunningJob,
    Unserved,
    WorkerActivity,
    WorkerInfo,
    utc_now,
)
from docnats.names import raw_key
from docnats.table.pace import Pace, Parsers, Sample
from docnats.table.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["JobTable"]

_FAILURES_SHOWN = 100
_CODES = {state: code for code, state in enumerate(JobState)}


class _Job(NamedTuple):
    revision: int
    record: JobRecord
    row: int


class JobTable:
    """The jobs of a batch, or a selection of jobs, as they stand.

    Parameters
    ----------
    batch : str
        The batch's id, or a name for the selection.
    only : collection of str, optional
        Job ids; records of other jobs are passed over.
    clock : callable
        Returns the time, aware, in UTC.
    """

    def __init__(
        self,
        batch: str,
        only: Collection[str] | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.batch = batch
        self._only = only
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._snapshot = bytearray()
        self._last_place = ("", -1)
        self._in_order = True
        self._counts: Counter[JobState] = Counter()
        self._queued: Counter[tuple[str, bool]] = Counter()
        self._running: dict[str, JobRecord] = {}
        self._work = Workload()
        self._pages = 0
        self._bytes_total = 0
        self._bytes_done = 0
        self._bytes_sent = 0
        self._bytes_to_send = 0
        self._failures: deque[JobRecord] = deque(maxlen=_FAILURES_SHOWN)
        self._workers: list[WorkerInfo] | None = None
        self._started_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._pace = Pace()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def finished(self) -> bool:
        """Whether there are jobs and all of them have ended."""
        return bool(self._jobs) and self.ended == len(self._jobs)

    def apply(self, record: JobRecord, revision: int) -> None:
        """Fold one record in; an older revision than the one known changes nothing."""
        known = self._jobs.get(record.job_id)
        if known is None:
            if self._only is not None and record.job_id not in self._only:
                return
            row = self._new_row(record)
        elif known.revision >= revision:
            return
        else:
            row = known.row
            self._account(known.record, -1)
        self._jobs[record.job_id] = _Job(revision, record, row)
        self._snapshot[row] = _CODES[record.state]
        self._account(record, +1)
        self._note(record)

    def _new_row(self, record: JobRecord) -> int:
        place = _place(record)
        self._in_order &= place > self._last_place
        self._last_place = place
        self._snapshot.append(0)
        return len(self._snapshot) - 1

    def _account(self, record: JobRecord, sign: int) -> None:
        size = sign * (record.bytes or 0)
        self._counts[record.state] += sign
        if record.state is JobState.QUEUED:
            self._queued[record.processor, record.custom_prompt is not None] += sign
        self._work.account(record, sign)
        self._bytes_total += size
        if record.s3_key == raw_key(record.job_id):
            if record.queued_at is not None:
                self._bytes_sent += size
            elif record.state is JobState.UPLOADING:
                self._bytes_to_send += size
        if record.terminal:
            self._pages += sign * (record.pages or 0)
            self._bytes_done += size

    def _note(self, record: JobRecord) -> None:
        """Take in what is not a sum over the jobs."""
        if record.state is JobState.RUNNING:
            self._running[record.job_id] = record
        else:
            self._running.pop(record.job_id, None)
            self._work.forget(record.job_id)
        if record.state is JobState.FAILED:
            self._failures.appendleft(record)
        if self._started_at is None or record.submitted_at < self._started_at:
            self._started_at = record.submitted_at
        if record.finished_at and (self._ended_at is None or record.finished_at > self._ended_at):
            self._ended_at = record.finished_at

    def apply_progress(self, progress: PageProgress) -> None:
        """Take in how far a worker is with one document."""
        if (record := self._running.get(progress.job_id)) is not None:
            self._work.tell(record, progress)

    def apply_workers(self, workers: Iterable[WorkerInfo]) -> None:
        """Take in which workers live."""
        self._workers = list(workers)

    def records(self) -> list[JobRecord]:
        """Return the records in the order of submission."""
        self._put_in_order()
        return [job.record for job in self._jobs.values()]

    def filenames(self) -> list[str]:
        """Return the documents' names in the order of submission, that of the snapshot."""
        return [record.filename for record in self.records()]

    def frame(self) -> pd.DataFrame:
        """Return the job table; see :func:`~docnats.table.jobs_frame`."""
        from docnats.table.frame import jobs_frame

        return jobs_frame(self.records())

    def _put_in_order(self) -> None:
        if self._in_order:
            return
        jobs = sorted(self._jobs.values(), key=lambda job: _place(job.record))
        self._jobs = {job.record.job_id: job._replace(row=row) for row, job in enumerate(jobs)}
        self._snapshot[:] = bytes(_CODES[job.record.state] for job in jobs)
        self._last_place = _place(jobs[-1].record)
        self._in_order = True

    def progress(self) -> Progress:
        """Return the batch at this moment, for a progress panel; rates are those of late."""
        self._put_in_order()
        finished = self.finished
        until = self._ended_at if finished and self._ended_at else self._clock()
        elapsed = (until - self._started_at).total_seconds() if self._started_at else 0.0
        pages = self._pages + sum(told.pages_done for told in self._work.told.values())
        parsers = self._parsers()
        outlook = self._work.outlook(self._running.values(), parsers.total)
        busy = min(self._at_work(), parsers.total)
        self._pace.add(Sample(elapsed, pages, self._bytes_sent, outlook.done, busy))
        sending = self._counts[JobState.UPLOADING] > 0
        remaining = self._pace.remaining(outlook, parsers, self._bytes_to_send)
        unserved = self._unserved()
        stuck = bool(unserved) or (self._workers == [] and not finished)
        return Progress(
            batch=self.batch,
            total=len(self._jobs),
            counts={state: self._counts[state] for state in JobState},
            pages=pages,
            bytes_total=self._bytes_total,
            bytes_done=self._bytes_done,
            elapsed=elapsed,
            failures=tuple(self._failures),
            snapshot=bytes(self._snapshot),
            bytes_sent=self._bytes_sent,
            pages_per_second=self._pace.pages_per_second(overall=finished),
            bytes_sent_per_second=self._pace.bytes_sent_per_second() if sending else None,
            remaining=None if stuck else remaining,
            workers=self._activity(),
            unserved=unserved,
        )

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return sum(self._counts[state] for state in TERMINAL)

    def _at_work(self) -> int:
        """Return how many parsers could be at work: a long document takes several."""
        more = (len(told.ranges) - 1 for told in self._work.told.values() if told.ranges)
        return len(self._running) + sum(more)

    def _parsers(self) -> Parsers:
        """Return the live parsers; while nobody knows them, as many as have work."""
        counts = [worker.parsers for worker in self._workers or ()]
        if not counts:
            counts = [max(1, self._at_work())]
        return Parsers(sum(counts), max(counts))

    def _activity(self) -> tuple[WorkerActivity, ...] | None:
        if self._workers is None:
            return None
        running: dict[str | None, list[RunningJob]] = {}
        for record in self._running.values():
            running.setdefault(record.worker, []).append(self._running_job(record))
        return tuple(
            WorkerActivity(
                info.worker,
                info.parsers,
                tuple(running.get(info.worker, ())),
                sum(job_id not in self._jobs for job_id in info.jobs),
            )
            for info in sorted(self._workers, key=lambda info: info.started_at)
        )

    def _unserved(self) -> tuple[Unserved, ...]:
        """Return the queued jobs that no live worker can do; none where no worker lives."""
        workers = self._workers
        if not workers:
            return ()
        return tuple(
            Unserved(processor, prompt, jobs)
            for (processor, prompt), jobs in (+self._queued).most_common()
            if not any(worker.can_do(processor, prompt=prompt) for worker in workers)
        )

    def _running_job(self, record: JobRecord) -> RunningJob:
        told = self._work.told.get(record.job_id)
        if told is None:
            return RunningJob(record.filename)
        return RunningJob(record.filename, told.pages, told.pages_done, told.ranges)


def _place(record: JobRecord) -> tuple[str, int]:
    return record.batch, record.position
