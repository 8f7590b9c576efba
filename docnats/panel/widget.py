"""Progress in a notebook: one widget while the batch runs, static HTML once it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.display import display

from docnats.models import Progress
from docnats.panel.summary import BAR_ORDER, html_summary, printable, reason, text_summary

__all__ = ["BatchWidget", "WidgetPanel", "failure_rows", "numbers"]

_HERE = Path(__file__).parent
_FAILURES_SHOWN = 100


class BatchWidget(anywidget.AnyWidget):
    """The view of one batch; Python writes its traits, the browser only reads them.

    Attributes
    ----------
    snapshot : dict
        The numbers; see :func:`numbers`.
    failures : list
        The newest failed jobs, sent only when they change; see :func:`failure_rows`.
    """

    _esm = _HERE / "widget.js"
    _css = _HERE / "widget.css"
    snapshot = traitlets.Dict().tag(sync=True)
    failures: traitlets.List[dict[str, str]] = traitlets.List().tag(sync=True)

    def show(self, progress: Progress) -> None:
        """Send what changed, in one message."""
        with self.hold_sync():
            self.snapshot = numbers(progress)
            self.failures = failure_rows(progress)

    def __repr__(self) -> str:
        return f"docnats batch {self.snapshot.get('batch', '')}"


class WidgetPanel:
    """A widget in the output of the cell that is being run."""

    def __init__(self, progress: Progress) -> None:
        self._widget = BatchWidget(snapshot=numbers(progress), failures=failure_rows(progress))
        self._display = display(self._widget, display_id=True)  # type: ignore[no-untyped-call]

    def update(self, progress: Progress) -> None:
        """Send what changed to the browser."""
        self._widget.show(progress)

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Replace the widget by static HTML, which a saved notebook keeps."""
        bundle = {
            "text/plain": text_summary(progress, note),
            "text/html": html_summary(progress, note),
        }
        self._display.update(bundle, raw=True)
        self._widget.layout.close()
        self._widget.close()


def numbers(progress: Progress) -> dict[str, Any]:
    """Return the numbers the widget shows; states in the order of the bar, times in seconds."""
    return {
        "batch": printable(progress.batch),
        "total": progress.total,
        "ended": progress.ended,
        "finished": progress.finished,
        "counts": {state.value: progress.counts.get(state, 0) for state in BAR_ORDER},
        "pages": progress.pages,
        "pages_per_second": progress.pages_per_second,
        "elapsed": progress.elapsed,
        "remaining": progress.remaining,
    }


def failure_rows(progress: Progress) -> list[dict[str, str]]:
    """Return the newest failures, at most 100, as ``job_id``, ``filename`` and ``reason``."""
    return [
        {"job_id": job.job_id, "filename": printable(job.filename), "reason": reason(job)}
        for job in progress.failures[:_FAILURES_SHOWN]
    ]
