"""Folds state records into the job table: a plain pandas DataFrame, one row a job."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pandas as pd

from docnats.models import TERMINAL, JobRecord, JobState, PageProgress, Progress, utc_now

__all__ = ["COLUMNS", "JobTable", "jobs_frame"]

STATES = pd.CategoricalDtype([state.value for state in JobState], ordered=True)
_TIME = pd.DatetimeTZDtype("us", "UTC")
_DTYPES: dict[str, Any] = {
    "job_id": "string",
    "batch": "string",
    "filename": "string",
    "state": STATES,
    "pages": "Int64",
    "pages_failed": "Int64",
    "bytes": "Int64",
    "attempt": "Int64",
    "worker": "string",
    "error_type": "string",
    "error": "string",
    "submitted_at": _TIME,
    "started_at": _TIME,
    "finished_at": _TIME,
    "seconds": "Float64",
    "sha256": "string",
    "result_key": "string",
}
COLUMNS = tuple(_DTYPES)
"""The columns of the job table, in their order."""

_FAILURES_SHOWN = 100


def jobs_frame(records: Iterable[JobRecord]) -> pd.DataFrame:
    """Return the job table of some records, in their order.

    Returns
    -------
    pandas.DataFrame
        The columns :data:`COLUMNS` and a RangeIndex. ``state`` is an ordered categorical,
        times are ``datetime64[us, UTC]``, counts are nullable ``Int64``; ``seconds`` is the
        time from the last start of the job to its end.
    """
    rows = [_row(record) for record in records]
    columns = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=dtype)
            for (name, dtype), values in zip(_DTYPES.items(), columns, strict=True)
        }
    )


def _row(record: JobRecord) -> tuple[object, ...]:
    return (
        record.job_id,
        record.batch,
        record.filename,
        record.state.value,
        record.pages,
        record.pages_failed,
        record.bytes,
        record.attempt,
        record.worker,
        record.error_type.value if record.error_type else None,
        record.error,
        record.submitted_at,
        record.started_at,
        record.finished_at,
        _seconds(record.started_at, record.finished_at),
        record.sha256,
        record.result_key,
    )


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


class JobTable:
    """The jobs of one batch as they stand, folded from their state records.

    Parameters
    ----------
    batch : str
        The batch's id.
    """

    def __init__(self, batch: str) -> None:
        self.batch = batch
        self._jobs: dict[str, tuple[int, JobRecord]] = {}
        self._counts: Counter[JobState] = Counter()
        self._running_pages: dict[str, int] = {}
        self._pages = 0
        self._bytes_total = 0
        self._bytes_done = 0
        self._failures: deque[JobRecord] = deque(maxlen=_FAILURES_SHOWN)
        self._started_at: datetime | None = None
        self._ended_at: datetime | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def finished(self) -> bool:
        """Whether there are jobs and all of them have ended."""
        return bool(self._jobs) and sum(self._counts[s] for s in TERMINAL) == len(self._jobs)

    def apply(self, record: JobRecord, revision: int) -> None:
        """Fold one record in; an older revision than the one known changes nothing."""
        known = self._jobs.get(record.job_id)
        if known is not None:
            if known[0] >= revision:
                return
            self._account(known[1], -1)
        self._jobs[record.job_id] = (revision, record)
        self._account(record, +1)
        if record.terminal:
            self._running_pages.pop(record.job_id, None)
        if record.state is JobState.FAILED:
            self._failures.appendleft(record)
        if self._started_at is None or record.submitted_at < self._started_at:
            self._started_at = record.submitted_at
        if record.finished_at and (self._ended_at is None or record.finished_at > self._ended_at):
            self._ended_at = record.finished_at

    def _account(self, record: JobRecord, sign: int) -> None:
        self._counts[record.state] += sign
        self._bytes_total += sign * (record.bytes or 0)
        if record.terminal:
            self._pages += sign * (record.pages or 0)
            self._bytes_done += sign * (record.bytes or 0)

    def apply_progress(self, progress: PageProgress) -> None:
        """Take in how far a worker is with one document."""
        known = self._jobs.get(progress.job_id)
        if known is not None and not known[1].terminal:
            self._running_pages[progress.job_id] = progress.pages_done

    def records(self) -> list[JobRecord]:
        """Return the records in the order of submission."""
        records = (record for _, record in self._jobs.values())
        return sorted(records, key=lambda record: record.position)

    def frame(self) -> pd.DataFrame:
        """Return the job table; see :func:`jobs_frame`."""
        return jobs_frame(self.records())

    def progress(self) -> Progress:
        """Return the batch at this moment, for a progress panel."""
        until = self._ended_at if self.finished and self._ended_at else utc_now()
        elapsed = (until - self._started_at).total_seconds() if self._started_at else 0.0
        return Progress(
            batch=self.batch,
            total=len(self._jobs),
            counts={state: self._counts[state] for state in JobState},
            pages=self._pages + sum(self._running_pages.values()),
            bytes_total=self._bytes_total,
            bytes_done=self._bytes_done,
            elapsed=elapsed,
            failures=tuple(self._failures),
        )
