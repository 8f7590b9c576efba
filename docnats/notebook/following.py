"""Follows a batch with a panel, on the background loop, for a call that waits or does not."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Literal, TypeVar

import pandas as pd

from docnats.errors import DocnatsError
from docnats.models import ACTIVE, JobState, Progress
from docnats.notebook.session import Session
from docnats.panel import Kind, Panel, open_panel
from docnats.service import Batch
from docnats.table import jobs_frame
from docnats.table.quantities import many

__all__ = ["Interrupted", "OnInterrupt", "follow"]

T = TypeVar("T")

OnInterrupt = Literal["continue", "cancel"]

CANCEL_SECONDS = 1.5
"""How long an interrupted call waits until its jobs are cancelled; they are all the same."""


class Interrupted(KeyboardInterrupt):
    """The waiting for a batch was interrupted; the message says what goes on."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: not where docnats happened to wait."""
        return [f"Interrupted: {self}"]


def follow(
    session: Session,
    batch: Batch,
    *,
    wait: bool,
    progress: Kind,
    timeout: float | None = None,
    on_interrupt: OnInterrupt = "continue",
) -> pd.DataFrame:
    """Follow a batch and return its table, when all jobs have ended or at once.

    Parameters
    ----------
    timeout : float, optional
        Seconds to wait at most.
    on_interrupt : {"continue", "cancel"}
        What becomes of the jobs when the waiting is interrupted.

    Raises
    ------
    Interrupted
        With a message that says what goes on and how to get back to it.
    JobTimeout
        See ``timeout``.
    """
    panel: Panel | None = None
    try:
        now, names = batch.table.progress(), batch.table.filenames()
        panel = open_panel(now, filenames=names, kind=progress, background=not wait)
        following = session.start(_follow(batch, panel, timeout))
        if wait:
            session.wait(following)
    except KeyboardInterrupt:
        cancel = on_interrupt == "cancel"
        message = _cancel(session, batch) if cancel else _farewell(session, batch)
        if panel is not None:
            panel.release(_now(session, batch))
        raise Interrupted(message) from None
    return jobs_frame(session.loop.run(_on_loop(batch.table.records)))


async def _follow(batch: Batch, panel: Panel, timeout: float | None) -> None:
    note = None
    try:
        await batch.follow(panel.update, timeout=timeout)
    except asyncio.CancelledError as error:
        why = next(iter(error.args), "the session was closed; docnats.attach() shows the batch")
        note = f"not followed any more: {why}"
        raise
    except Exception as error:
        note = str(error) if isinstance(error, DocnatsError) else f"internal error: {error!r}"
        raise
    finally:
        panel.finish(batch.table.progress(), note)


def _now(session: Session, batch: Batch) -> Progress:
    return session.loop.run(_on_loop(batch.table.progress))


async def _on_loop(read: Callable[[], T]) -> T:
    """Read a table where nobody else writes it at the same time."""
    return read()


def _cancel(session: Session, batch: Batch) -> str:
    """Cancel what has not ended, and return what an interrupted user needs to know."""
    records = session.loop.run(_on_loop(batch.table.records))
    cancelling = session.start(session.service().cancel(records))
    concurrent.futures.wait([cancelling.outcome], timeout=CANCEL_SECONDS)
    if not cancelling.outcome.done():
        return "the jobs that had not ended are being cancelled"
    count = session.wait(cancelling)
    return f"{many(count, 'job')} cancelled"


def _farewell(session: Session, batch: Batch) -> str:
    """Return what an interrupted user needs to know."""
    counts = _now(session, batch).counts
    active = [
        f"{counts[state]:,} {state}" for state in JobState if state in ACTIVE and counts[state]
    ]
    if not active:
        return "every job had ended"
    goes_on = f"{', '.join(active)}: the batch goes on in the background."
    if batch.batches != (batch.id,):
        return f"{goes_on} Wait for it with .docnats.wait(), stop it with .docnats.cancel()"
    return (
        f"{goes_on} Wait for it: docnats.attach({batch.id!r}, wait=True). "
        f"Stop it: docnats.jobs({batch.id!r}).docnats.cancel()"
    )
