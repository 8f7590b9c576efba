"""The job table people see: a plain pandas DataFrame, one row a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from docnats.models import JobRecord, JobState

__all__ = ["COLUMNS", "TEXT", "jobs_frame"]

STATES = pd.CategoricalDtype([state.value for state in JobState], ordered=True)
_CODES = {state: code for code, state in enumerate(JobState)}
TEXT = pd.StringDtype(na_value=np.nan)
"""Text in which what is missing equals nothing, so that ``!=`` and ``~`` keep those rows."""

_TIME = pd.DatetimeTZDtype("us", "UTC")
_DTYPES: dict[str, Any] = {
    "job_id": TEXT,
    "batch": TEXT,
    "filename": TEXT,
    "state": STATES,
    "pages": "Int64",
    "pages_failed": "Int64",
    "bytes": "Int64",
    "attempt": "Int64",
    "worker": TEXT,
    "error_type": TEXT,
    "error": TEXT,
    "submitted_at": _TIME,
    "started_at": _TIME,
    "finished_at": _TIME,
    "seconds": "Float64",
    "sha256": TEXT,
    "result_key": TEXT,
    "reused_from": TEXT,
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
    records = list(records)
    columns = {name: _column(name, records) for name in COLUMNS if name != "seconds"}
    took = columns["finished_at"] - columns["started_at"]
    columns["seconds"] = took.dt.total_seconds().astype("Float64")
    return pd.DataFrame(columns, columns=list(COLUMNS))


def _column(name: str, records: Sequence[JobRecord]) -> pd.Series[Any]:
    values: Any = list(map(attrgetter(name), records))
    dtype = _DTYPES[name]
    if dtype is STATES:
        values = pd.Categorical.from_codes([_CODES[state] for state in values], dtype=dtype)
    elif dtype is _TIME:  # pandas would ask each value for its time zone, in Python
        values = pa.array(values, pa.timestamp("us", "UTC")).to_pandas().dt.tz_convert("UTC")
    column: pd.Series[Any] = pd.Series(values, dtype=dtype)
    return column
