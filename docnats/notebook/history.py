"""What ran before, here or elsewhere: jobs, batches, and results too large for memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from docnats.errors import ConfigError
from docnats.models import JobState
from docnats.notebook.following import follow
from docnats.notebook.session import current_session
from docnats.panel import Kind
from docnats.service import BatchSummary, Part
from docnats.table import TEXT, jobs_frame

if TYPE_CHECKING:
    import pyarrow.dataset

__all__ = ["attach", "batches", "dataset", "jobs"]


def attach(batch: str, *, wait: bool = False, progress: Kind = "auto") -> pd.DataFrame:
    """Return the job table of a batch that was submitted here or elsewhere.

    Parameters
    ----------
    batch : str
        Its id: the column ``batch``.
    wait : bool
        Return when every job has ended, with a progress panel.

    Raises
    ------
    ConfigError
        There is no such batch.
    """
    session = current_session()
    found = session.run(session.service().attach(batch))
    return follow(session, found, wait=wait, progress=progress)


def jobs(
    batch: str | None = None,
    *,
    since: str | datetime | timedelta | None = None,
    state: str | Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return the job table of one batch, or of all that the installation knows.

    Parameters
    ----------
    batch : str, optional
        Only this batch.
    since : str, datetime or timedelta, optional
        Only jobs submitted since then: ``"2h"`` and ``"3 days"`` ago, ``"2026-11-23"`` or
        ``"2026-11-23 09:30"`` in UTC.
    state : str or several, optional
        Only jobs in this state: ``"failed"``, ``["queued", "running"]``.

    Raises
    ------
    ConfigError
        ``since`` is no time, or there is no such state.

    Examples
    --------
    >>> jobs(since="1 day", state="failed").docnats.explain()  # doctest: +SKIP
    """
    session = current_session()
    found = session.service().jobs(batch, since=_moment(since), state=state)
    return jobs_frame(session.run(found))


def _moment(since: str | datetime | timedelta | None) -> datetime | timedelta | None:
    if not isinstance(since, str):
        return since
    with suppress(ValueError):
        return pd.Timedelta(since).to_pytimedelta()
    with suppress(ValueError):
        return pd.Timestamp(since).to_pydatetime()
    raise ConfigError(f"since={since!r} is no time: for example '2h', '3 days' or '2026-11-23'")


def batches() -> pd.DataFrame:
    """Return one row a batch that the installation knows, the newest first.

    Returns
    -------
    pandas.DataFrame
        ``batch, submitted_at, finished_at, jobs``, one column a state with the number of its
        jobs, ``pages, bytes, archived_at``; ``finished_at`` is missing while the batch runs,
        ``archived_at`` while its rows are in NATS.

    Examples
    --------
    >>> attach(batches().batch[0])  # doctest: +SKIP
    """
    session = current_session()
    return _batches_frame(session.run(session.service().batches()))


def dataset(batch: str, part: Part = "words") -> pyarrow.dataset.Dataset:
    """Return the results of a batch as a dataset that is read piece by piece, from S3.

    For more than fits into memory: it reads only the columns and files a query needs.

    Parameters
    ----------
    batch : str
        Its id; the results of its jobs that are done by now.
    part : {"words", "pages"}
        One row a word, or one row a page.

    Returns
    -------
    pyarrow.dataset.Dataset
        The columns of ``.docnats.words()`` or ``.docnats.pages()``.

    Raises
    ------
    ConfigError
        There is no such batch.

    Examples
    --------
    >>> words = dataset("20260131-094500-3f9a1c")  # doctest: +SKIP
    >>> words.count_rows(filter=pc.field("text") == "Figure")  # doctest: +SKIP
    >>> duckdb.sql("select font, count(*) from words group by font")  # doctest: +SKIP
    """
    session = current_session()
    return session.run(session.service().dataset(batch, part))


def _batches_frame(summaries: Sequence[BatchSummary]) -> pd.DataFrame:
    counts = {
        state.value: pd.Series([s.counts.get(state, 0) for s in summaries], dtype="int64")
        for state in JobState
    }
    return pd.DataFrame(
        {
            "batch": pd.Series([s.batch for s in summaries], dtype=TEXT),
            "submitted_at": _times([s.submitted_at for s in summaries]),
            "finished_at": _times([s.finished_at for s in summaries]),
            "jobs": pd.Series([s.jobs for s in summaries], dtype="int64"),
            **counts,
            "pages": pd.Series([s.pages for s in summaries], dtype="int64"),
            "bytes": pd.Series([s.bytes for s in summaries], dtype="int64"),
            "archived_at": _times([s.archived_at for s in summaries]),
        }
    )


def _times(moments: Sequence[datetime | None]) -> pd.Series[Any]:
    return pd.Series(list(moments), dtype=pd.DatetimeTZDtype("us", "UTC"))
