"""Progress in a notebook: one widget while the batch runs, static HTML once it has ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextvars import Context
from itertools import islice
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.display import display

from docnats.models import Progress, WorkerActivity
from docnats.panel.summary import html_summary
from docnats.panel.words import (
    BAR_ORDER,
    display_name,
    doing,
    headline,
    printable,
    reason,
    text_summary,
    tiles,
    title,
    unserved,
    waiting,
)
from docnats.table.quantities import many

__all__ = ["BatchWidget", "WidgetPanel", "failure_rows", "numbers", "worker_rows"]

NAMES_SHOWN = 50_000
"""File names the browser gets; the documents after these are shown by their number."""

_HERE = Path(__file__).parent
_SCRIPTS = ("dom", "numbers", "mosaic", "workers", "failures", "panel")
_MODULE_LINES = re.compile(r"^(import .*\n|export (?!default))", re.MULTILINE)
_FAILURES_SHOWN = 100
_WORKERS_SHOWN = 6
_JOBS_OF_A_WORKER = 4
_JOBS_SHOWN = 8
_SNAPSHOT_BYTES_A_SECOND = 250_000
"""So much of a snapshot at most: 5 a second up to 50,000 jobs, fewer beyond."""


def _script() -> str:
    """Return the modules under ``script/`` as the one module that a widget can have."""
    texts = ((_HERE / "script" / f"{name}.js").read_text("utf-8") for name in _SCRIPTS)
    return "\n".join(_MODULE_LINES.sub("", text) for text in texts)


class BatchWidget(anywidget.AnyWidget):
    """The view of one batch; Python writes its traits, the browser only reads them.

    A trait travels when it has changed, the others do not.

    Attributes
    ----------
    progress : dict
        The numbers and their words; see :func:`numbers`.
    snapshot : bytes
        One byte a job: the place of its state in ``JobState``.
    filenames : list of str
        The documents' names in the order of the snapshot, sent once.
    workers : dict
        What the live workers do; see :func:`worker_rows`.
    failures : list of dict
        The newest failed jobs; see :func:`failure_rows`.
    """

    _esm = _script()
    _css = _HERE / "widget.css"
    progress = traitlets.Dict().tag(sync=True)
    snapshot = traitlets.Bytes().tag(sync=True)
    filenames: traitlets.List[str] = traitlets.List().tag(sync=True)
    workers = traitlets.Dict().tag(sync=True)
    failures: traitlets.List[dict[str, str]] = traitlets.List().tag(sync=True)

    def __repr__(self) -> str:
        """Return what a frontend without widgets shows instead."""
        return f"docnats: {self.progress.get('headline', '')}"


class WidgetPanel:
    """A widget in the output of the cell that is being run."""

    def __init__(self, progress: Progress, filenames: Iterable[str] = ()) -> None:
        names = [display_name(name) for name in islice(filenames, NAMES_SHOWN)]
        self._snapshot_at = progress.elapsed
        self._widget = BatchWidget(
            filenames=names, snapshot=progress.snapshot, **small_traits(progress)
        )
        self._display = display(self._widget, display_id=True)  # type: ignore[no-untyped-call]

    def update(self, progress: Progress, note: str | None = None) -> None:
        """Send what changed to the browser, in one message."""
        with self._widget.hold_sync():
            for name, value in small_traits(progress, note).items():
                self._widget.set_trait(name, value)
            if self._snapshot_is_due(progress):
                self._widget.snapshot = progress.snapshot

    def release(self, progress: Progress) -> None:
        """Go on: a widget is in nobody's way."""

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Replace the widget by static HTML, which a saved notebook keeps.

        The widget lives on with the kernel: a page that was reloaded meanwhile does not know
        the display any more, and goes on showing it.
        """
        bundle = {
            "text/plain": text_summary(progress, note),
            "text/html": html_summary(progress, note),
        }
        self._display.update(bundle, raw=True)
        # Once more for the cell that runs now: nbconvert and papermill hear no other one.
        Context().run(self._display.update, bundle, raw=True)
        self.update(progress, note)

    def _snapshot_is_due(self, progress: Progress) -> bool:
        size = len(progress.snapshot)
        if size > NAMES_SHOWN:
            if progress.elapsed - self._snapshot_at < size / _SNAPSHOT_BYTES_A_SECOND:
                return False
            self._snapshot_at = progress.elapsed
        return True


def small_traits(progress: Progress, note: str | None = None) -> dict[str, Any]:
    """Return what a widget shows beside the snapshot and the names."""
    return {
        "progress": numbers(progress, note),
        "workers": worker_rows(progress),
        "failures": failure_rows(progress),
    }


def numbers(progress: Progress, note: str | None = None) -> dict[str, Any]:
    """Return the numbers of a batch and their words; states in the order of the bar."""
    return {
        "batch": printable(progress.batch),
        "title": title(progress) if progress.total else "Looking for documents",
        "headline": headline(progress),
        "note": note and printable(note),
        "waiting": waiting(progress),
        "waiting_for": waiting(progress, seconds=False),
        "unserved": unserved(progress),
        "total": progress.total,
        "ended": progress.ended,
        "finished": progress.finished,
        "elapsed": progress.elapsed,
        "counts": {state.value: progress.counts.get(state, 0) for state in BAR_ORDER},
        "tiles": tiles(progress),
    }


def failure_rows(progress: Progress) -> list[dict[str, str]]:
    """Return the newest failures, at most 100, as ``job_id``, ``filename`` and ``reason``."""
    return [
        {"job_id": job.job_id, "filename": display_name(job.filename), "reason": reason(job)}
        for job in progress.failures[:_FAILURES_SHOWN]
    ]


def worker_rows(progress: Progress) -> dict[str, Any]:
    """Return what the workers do: ``rows``, at most 6 of them, and a word on the others.

    Where there are more, those that work at this batch come first.
    """
    workers: Sequence[WorkerActivity] = progress.workers or ()
    if len(workers) > _WORKERS_SHOWN:
        workers = sorted(workers, key=lambda worker: not worker.jobs)
    shown = workers[:_WORKERS_SHOWN]
    hidden = len(workers) - len(shown)
    lines = min(_JOBS_OF_A_WORKER, max(1, _JOBS_SHOWN // max(1, len(shown))))
    return {
        "rows": [_worker_row(worker, lines) for worker in shown],
        "more": f"and {many(hidden, 'more worker')}" if hidden > 0 else "",
    }


def _worker_row(worker: WorkerActivity, lines: int) -> dict[str, Any]:
    hidden = len(worker.jobs) - lines
    said = [many(worker.parsers, "parser")]
    if hidden > 0:
        said.append(many(hidden, "more document"))
    if worker.other_jobs:
        said.append(f"{many(worker.other_jobs, 'document')} of other batches")
    elif not worker.jobs:
        said.append("idle")
    return {
        "worker": printable(worker.worker),
        "detail": " · ".join(said),
        "jobs": [
            {
                "filename": display_name(job.filename),
                "doing": doing(job),
                "share": job.pages_done / job.pages if job.pages else 0,
            }
            for job in worker.jobs[:lines]
        ],
    }
