"""Job rows in a DataFrame: which jobs they tell of, and how to bring them up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from docnats.errors import TableError
from docnats.models import JobRecord
from docnats.service import JobKey
from docnats.table import COLUMNS, jobs_frame

__all__ = ["JobRows"]

_NEEDED = ("job_id", "batch", "state")


class JobRows:
    """The rows of a DataFrame as jobs, whatever was done to it.

    A job may have several rows; a row without a ``job_id``, as an outer merge makes them,
    stands for no job.

    Parameters
    ----------
    frame : pandas.DataFrame
        Needs the columns ``job_id``, ``batch`` and ``state``.

    Raises
    ------
    TableError
        It does not have them.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = [name for name in _NEEDED if name not in frame.columns]
        if missing:
            raise TableError(
                f"not a table of docnats jobs: it has no column {', '.join(missing)}; keep "
                "job_id, batch and state when selecting columns"
            )
        self._frame = frame

    def jobs(self) -> list[JobKey]:
        """Return the batch and id of each job, once each, in the order of the rows."""
        return list(dict.fromkeys(key for key in self._row_keys() if key is not None))

    def done(self) -> dict[str, str]:
        """Return the names by job id of the jobs whose rows say that they are done."""
        done = (self._frame["state"] == "done").fillna(False).to_numpy(bool)
        keys = self._row_keys()
        names = self._frame.get("filename", [key and key[1] for key in keys])
        rows = zip(keys, names, done, strict=True)
        return {key[1]: str(name) for key, name, wanted in rows if key is not None and wanted}

    def result_keys(self) -> dict[str, str] | None:
        """Return the ``result_key`` of the jobs by id; None: the frame has no such column."""
        if "result_key" not in self._frame.columns:
            return None
        rows = zip(self._row_keys(), self._frame["result_key"], strict=True)
        return {key[1]: str(place) for key, place in rows if key and not pd.isna(place)}

    def updated(self, records: Mapping[JobKey, JobRecord]) -> pd.DataFrame:
        """Return the frame with the job columns that it has brought up to date.

        Parameters
        ----------
        records : mapping
            The job that each job of :meth:`jobs` is, or is replaced by.
        """
        places = {key: place for place, key in enumerate(records)}
        fresh = jobs_frame(records.values())
        rows = [-1 if key is None else places[key] for key in self._row_keys()]
        told = [row >= 0 for row in rows]
        updated = self._frame.copy()
        for name in (name for name in COLUMNS if name in updated.columns):
            column = fresh[name].reindex(rows)
            if not all(told):
                column = _put_together(column, self._frame[name], told)
            updated[name] = column.array
        return updated

    def _row_keys(self) -> list[JobKey | None]:
        rows = zip(self._frame["batch"], self._frame["job_id"], strict=True)
        return [
            None if pd.isna(batch) or pd.isna(job_id) else (_name(batch), _name(job_id))
            for batch, job_id in rows
        ]


def _put_together(
    fresh: pd.Series[Any], old: pd.Series[Any], told: Sequence[bool]
) -> pd.Series[Any]:
    """Return a column with the old values where no job is told of."""
    values = [new if row else kept for new, kept, row in zip(fresh, old, told, strict=True)]
    states = getattr(fresh.dtype, "categories", None)
    if states is not None and not pd.Series(values).dropna().isin(states).all():
        return pd.Series(values, dtype=object)
    try:
        return pd.Series(values, dtype=fresh.dtype)
    except (TypeError, ValueError):
        return pd.Series(values, dtype=object)


def _name(value: object) -> str:
    """Return a name that a CSV reader may have taken for a number."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
