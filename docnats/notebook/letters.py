"""What no worker could settle: the dead letters, and their way back to the queue."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from docnats.models import DeadLetter
from docnats.notebook.following import follow
from docnats.notebook.session import current_session
from docnats.panel import Kind, check_kind
from docnats.table import TEXT

__all__ = ["dead_letters", "requeue", "run_again"]


def dead_letters() -> pd.DataFrame:
    """Return one row a job message that no worker could settle, the oldest first.

    The job of each is a failed row of the job table, with the same reason.

    Returns
    -------
    pandas.DataFrame
        ``id, at, kind, reason, batch, job_id, filename, deliveries, consumer, subject,
        sequence, stored_at, bytes, truncated``; never what the message says beside the name.
        ``kind`` is ``max_deliveries`` (delivered as often as it may be), ``undecodable``,
        ``schema``, ``misplaced`` (it speaks of another job), ``forbidden`` (it names a place
        outside of the workers' storage) or ``terminated`` (dropped by somebody else, so that
        only word of it is left).

    Examples
    --------
    >>> dead_letters()[["at", "filename", "reason"]]  # doctest: +SKIP
    """
    session = current_session()
    return _letters_frame(session.run(session.service().dead_letters()))


def requeue(
    letters: int | Iterable[int] | pd.DataFrame, *, wait: bool = True, progress: Kind = "auto"
) -> pd.DataFrame:
    """Run dead letters again, each as a new job of a new batch on the same document.

    A letter is discarded when its new job is on the queue. The old rows stay as they are.

    Parameters
    ----------
    letters : int, iterable of int, or DataFrame
        Their ids, or rows of :func:`dead_letters`.
    wait : bool
        Return when the new jobs have ended, otherwise at once.
    progress : {"auto", "widget", "text", "none"}
        A live widget in notebooks, a bar on stderr elsewhere.

    Returns
    -------
    pandas.DataFrame
        The table of the new jobs.

    Warns
    -----
    UserWarning
        A letter cannot run again, as its message makes no sense or its document is gone. It
        stays, and the others go on.

    Raises
    ------
    SourceError
        None of them can run again; the message says why.

    Examples
    --------
    >>> letters = dead_letters()  # doctest: +SKIP
    >>> jobs = requeue(letters[letters.kind == "max_deliveries"])  # doctest: +SKIP
    """

    def warn(refusal: str) -> None:
        warnings.warn(refusal, stacklevel=4)

    return run_again(_ids(letters), on_refusal=warn, wait=wait, progress=progress)


def run_again(
    ids: Sequence[int], *, on_refusal: Callable[[str], None], wait: bool, progress: Kind
) -> pd.DataFrame:
    """Run dead letters again as :func:`requeue` does, but tell of those that cannot to a caller."""
    check_kind(progress)
    session = current_session()
    requeued = session.run(session.service().requeue(ids))
    for number, reason in requeued.refused.items():
        on_refusal(f"dead letter {number} was not requeued: {reason}")
    return follow(session, requeued.batch, wait=wait, progress=progress)


def _ids(letters: int | Iterable[int] | pd.DataFrame) -> list[int]:
    if isinstance(letters, int):
        return [letters]
    column = letters["id"] if isinstance(letters, pd.DataFrame) else letters
    return [int(number) for number in column]


def _letters_frame(letters: Sequence[DeadLetter]) -> pd.DataFrame:
    time = pd.DatetimeTZDtype("us", "UTC")
    batches, job_ids = [[job and job[i] for job in (one.job for one in letters)] for i in (0, 1)]
    return pd.DataFrame(
        {
            "id": pd.Series([letter.id for letter in letters], dtype="int64"),
            "at": pd.Series([letter.at for letter in letters], dtype=time),
            "kind": pd.Series([letter.kind for letter in letters], dtype=TEXT),
            "reason": pd.Series([letter.reason for letter in letters], dtype=TEXT),
            "batch": pd.Series(batches, dtype=TEXT),
            "job_id": pd.Series(job_ids, dtype=TEXT),
            "filename": pd.Series([letter.filename for letter in letters], dtype=TEXT),
            "deliveries": pd.Series([letter.deliveries for letter in letters], dtype="int64"),
            "consumer": pd.Series([letter.consumer for letter in letters], dtype=TEXT),
            "subject": pd.Series([letter.subject for letter in letters], dtype=TEXT),
            "sequence": pd.Series([letter.sequence for letter in letters], dtype="int64"),
            "stored_at": pd.Series([letter.stored_at for letter in letters], dtype=time),
            "bytes": pd.Series([letter.size for letter in letters], dtype="int64"),
            "truncated": pd.Series([letter.truncated for letter in letters], dtype="bool"),
        }
    )
