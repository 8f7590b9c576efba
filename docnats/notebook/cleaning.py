"""What is left over in the storage, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pandas as pd

from docnats.errors import ConfigError
from docnats.notebook.session import current_session
from docnats.service import Leftover, LeftoverKind
from docnats.table import TEXT

__all__ = ["gc"]


def gc(*, delete: bool = False, older_than: str | timedelta = "24h") -> pd.DataFrame:
    """Find what is in the storage and no job needs; delete it if asked to.

    Documents that no job refers to or whose job was never sent, results of jobs that are not
    known or did not end well, uploads in parts that were never finished, probes of health
    checks. What an active job uses is left alone, and whatever is not under the keys that
    docnats makes.

    Parameters
    ----------
    delete : bool
        Delete what is found; otherwise it is only shown.
    older_than : str or timedelta
        Only what was last written longer ago: ``"24h"``, ``"7 days"``, ``"0s"``.

    Returns
    -------
    pandas.DataFrame
        One row a leftover: ``kind, key, bytes, modified, why``; ``key`` ends in ``/`` where
        it stands for all below it.

    Raises
    ------
    ConfigError
        ``older_than`` is no length of time; or the bucket seems to be another
        installation's, whose job table is not this one.

    Notes
    -----
    It goes by this installation's job table, and by those of other namespaces on the same
    NATS. Two installations with a NATS of their own each must not share a bucket.

    Examples
    --------
    >>> gc()  # doctest: +SKIP
    >>> gc(delete=True, older_than="7 days").bytes.sum()  # doctest: +SKIP
    """
    age = _length(older_than)
    session = current_session()
    found = session.run(session.service().gc(delete=delete, older_than=age))
    return _frame(found)


def _length(given: str | timedelta) -> timedelta:
    if isinstance(given, timedelta):
        return given
    # pandas takes a number without a unit for nanoseconds.
    if isinstance(given, str) and not given.strip().isdigit():
        with suppress(ValueError):
            length = pd.Timedelta(given)
            if not pd.isna(length):
                return length.to_pytimedelta()
    raise ConfigError(f"older_than={given!r} is no length of time: for example '24h' or '7 days'")


def _frame(leftovers: Sequence[Leftover]) -> pd.DataFrame:
    kinds = pd.CategoricalDtype([kind.value for kind in LeftoverKind])
    return pd.DataFrame(
        {
            "kind": pd.Series([one.kind.value for one in leftovers], dtype=kinds),
            "key": pd.Series([one.key for one in leftovers], dtype=TEXT),
            "bytes": pd.Series([one.bytes for one in leftovers], dtype="int64"),
            "modified": pd.Series(
                [one.modified for one in leftovers], dtype=pd.DatetimeTZDtype("us", "UTC")
            ),
            "why": pd.Series([one.why for one in leftovers], dtype=TEXT),
        }
    )
