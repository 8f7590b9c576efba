"""Progress on stderr: one tqdm bar on a terminal, a few plain lines in a log."""

from __future__ import annotations

import sys
from threading import Lock
from typing import Never, TextIO

from tqdm import tqdm

from docnats.models import JobState, Progress
from docnats.panel.words import headline, live_facts, printable, text_summary, waiting

__all__ = ["BarPanel", "LinePanel", "open_terminal"]

SECONDS_BETWEEN_LINES = 10.0

SECONDS_BETWEEN_INTERRUPTIONS = 60.0
"""The same where somebody types while the batch goes on."""

_BAR_FORMAT = "docnats {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}"


def open_terminal(progress: Progress, *, background: bool = False) -> BarPanel | LinePanel:
    """Return a bar when stderr is a terminal, else lines without control characters.

    With ``background`` the terminal goes back to its user, and gets a few lines as well.
    """
    if not sys.stderr.isatty():
        return LinePanel(progress, SECONDS_BETWEEN_LINES)
    if background:
        return LinePanel(progress, SECONDS_BETWEEN_INTERRUPTIONS)
    return BarPanel(progress, sys.stderr)


class BarPanel:
    """One bar, in which a document that ended is one step; lines once it was released."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self._stream = stream
        self._lines: LinePanel | None = None
        self._drawing = Lock()
        self._bar: tqdm[Never] = tqdm(
            total=progress.total,
            initial=progress.ended,
            file=stream,
            bar_format=_BAR_FORMAT,
            dynamic_ncols=True,
        )
        self.update(progress)

    def update(self, progress: Progress, note: str | None = None) -> None:
        """Redraw the bar."""
        with self._drawing:
            if self._lines is not None:
                self._lines.update(progress, note)
                return
            self._bar.total = progress.total
            self._bar.n = progress.ended
            self._bar.set_postfix_str(", ".join(_marks(progress, note)), refresh=True)

    def release(self, progress: Progress) -> None:
        """Take the bar away, so that it is not drawn over the prompt."""
        with self._drawing:
            self._close()
            self._lines = LinePanel(progress, SECONDS_BETWEEN_INTERRUPTIONS)

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Replace the bar by the summary."""
        with self._drawing:
            self._close()
        _write(sys.stderr if self._lines else self._stream, text_summary(progress, note))

    def _close(self) -> None:
        self._bar.leave = False
        self._bar.close()


class LinePanel:
    """A line at the start, one from time to time, one for each new note, and the summary.

    It writes to what is ``sys.stderr`` at that moment: an IPython prompt puts something there
    that keeps what is being typed.
    """

    def __init__(self, progress: Progress, seconds_between: float) -> None:
        self._seconds_between = seconds_between
        self._written_at = progress.elapsed
        self._note: str | None = None
        self._waiting_for = ""
        self._unserved = _unserved(progress)
        if not progress.finished:
            self._write(progress)

    def update(self, progress: Progress, note: str | None = None) -> None:
        """Write a line if it is time for one, or jobs wait for another kind of worker."""
        if note and note != self._note:
            _write(sys.stderr, printable(note))
        self._note = note
        self._tell_outages(progress)
        unserved = _unserved(progress)
        due = progress.elapsed - self._written_at >= self._seconds_between
        if due or unserved - self._unserved:
            self._write(progress)
        self._unserved = unserved

    def release(self, progress: Progress) -> None:
        """Go on: whole lines do no harm."""

    def finish(self, progress: Progress, note: str | None = None) -> None:
        """Write the summary."""
        _write(sys.stderr, text_summary(progress, note))

    def _tell_outages(self, progress: Progress) -> None:
        waiting_for = waiting(progress, seconds=False)
        if waiting_for != self._waiting_for:
            _write(sys.stderr, waiting_for or "Connected again")
        self._waiting_for = waiting_for

    def _write(self, progress: Progress) -> None:
        self._written_at = progress.elapsed
        facts = ", ".join(_outages(progress) + live_facts(progress))
        _write(sys.stderr, f"{headline(progress)} ({facts})")


def _marks(progress: Progress, note: str | None) -> list[str]:
    states = (JobState.FAILED, JobState.CANCELLED, JobState.RUNNING)
    counts = [(state, progress.counts.get(state, 0)) for state in states]
    said = [f"{count:,} {state}" for state, count in counts if count] + live_facts(progress)
    first = [printable(note)] if note else []
    return first + _outages(progress) + said


def _outages(progress: Progress) -> list[str]:
    return [text for text in (waiting(progress),) if text]


def _unserved(progress: Progress) -> set[tuple[str, bool]]:
    return {(jobs.processor, jobs.prompt) for jobs in progress.unserved}


def _write(stream: TextIO, text: str) -> None:
    stream.write("".join(f"docnats: {line}\n" for line in text.splitlines()))
    stream.flush()
