"""Progress on stderr: one tqdm bar on a terminal, a few plain lines in a log."""

from __future__ import annotations

import sys
from typing import Never, TextIO

from tqdm import tqdm

from docnats.models import JobState, Progress
from docnats.panel.summary import headline, live_facts, text_summary

__all__ = ["BarPanel", "LinePanel", "open_terminal"]

SECONDS_BETWEEN_LINES = 10.0

_BAR_FORMAT = "docnats {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}"


def open_terminal(progress: Progress) -> BarPanel | LinePanel:
    """Return a bar when stderr is a terminal, else lines without control characters."""
    stream = sys.stderr
    return BarPanel(progress, stream) if stream.isatty() else LinePanel(progress, stream)


class BarPanel:
    """One bar, in which a document that ended is one step."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self._stream = stream
        self._bar: tqdm[Never] = tqdm(
            total=progress.total,
            initial=progress.ended,
            file=stream,
            bar_format=_BAR_FORMAT,
            dynamic_ncols=True,
        )
        self.update(progress)

    def update(self, progress: Progress) -> None:
        """Redraw the bar."""
        self._bar.total = progress.total
        self._bar.n = progress.ended
        self._bar.set_postfix_str(", ".join(_marks(progress)), refresh=True)

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Replace the bar by the summary."""
        self._bar.leave = False
        self._bar.close()
        _write(self._stream, text_summary(progress, note))


class LinePanel:
    """A line at the start, one every ten seconds at most, and the summary at the end."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self._stream = stream
        self._written_at = progress.elapsed
        if not progress.finished:
            self._write(progress)

    def update(self, progress: Progress) -> None:
        """Write a line if it is time for one."""
        if progress.elapsed - self._written_at >= SECONDS_BETWEEN_LINES:
            self._write(progress)

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Write the summary."""
        _write(self._stream, text_summary(progress, note))

    def _write(self, progress: Progress) -> None:
        self._written_at = progress.elapsed
        _write(self._stream, f"{headline(progress)} ({', '.join(live_facts(progress))})")


def _marks(progress: Progress) -> list[str]:
    states = (JobState.FAILED, JobState.CANCELLED, JobState.RUNNING)
    counts = [(state, progress.counts.get(state, 0)) for state in states]
    return [f"{count:,} {state}" for state, count in counts if count] + live_facts(progress)


def _write(stream: TextIO, text: str) -> None:
    stream.write("".join(f"docnats: {line}\n" for line in text.splitlines()))
    stream.flush()
