"""The job table people see: a plain pandas DataFrame, one row a job."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pandas as pd

from docnats.models import JobRecord, JobState

__all__ = ["COLUMNS", "jobs_frame"]

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
