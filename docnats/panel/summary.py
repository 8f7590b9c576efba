"""A batch in words and in static HTML: what remains of a panel in logs and saved notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from docnats.models import JobRecord, JobState, Progress

__all__ = [
    "BAR_ORDER",
    "COLOURS",
    "duration",
    "facts",
    "headline",
    "html_summary",
    "live_facts",
    "printable",
    "reason",
    "text_summary",
]

BAR_ORDER = (
    JobState.DONE,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.RUNNING,
    JobState.QUEUED,
    JobState.UPLOADING,
)
"""The states from left to right in a bar."""

COLOURS = {
    JobState.DONE: "#1f9e74",
    JobState.FAILED: "#d9534a",
    JobState.CANCELLED: "#c98a1b",
    JobState.RUNNING: "#3d7fe0",
    JobState.QUEUED: "#8a94a6",
    JobState.UPLOADING: "#9a7fd1",
}
"""Distinct for colour-blind eyes and on light and dark ground; ``widget.css`` has the same."""

_WAITING = (JobState.QUEUED, JobState.UPLOADING)
_WAITING_OPACITY = 0.4
_BOX_STYLE = (
    "box-sizing:border-box;max-width:760px;padding:14px 16px 12px;"
    "border:1px solid rgba(128,128,128,.3);border-radius:8px;"
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.5"
)
_REASON_LENGTH = 300
_TEXT_FAILURES = 10
_OPEN_FAILURES = 5


def headline(progress: Progress) -> str:
    """Return the batch in half a sentence.

    Examples
    --------
    >>> counts = {JobState.DONE: 12, JobState.FAILED: 1}
    >>> headline(Progress("b", 13, counts, 350, 0, 0, 7.0))
    '12 of 13 documents done, 1 failed'
    """
    done = progress.counts.get(JobState.DONE, 0)
    others = [(state, progress.counts.get(state, 0)) for state in BAR_ORDER[1:]]
    parts = [f"{count:,} {state}" for state, count in others if count]
    return ", ".join([f"{done:,} of {_many(progress.total, 'document')} done", *parts])


def facts(progress: Progress) -> list[str]:
    """Return pages, rate and elapsed time, each as a short phrase."""
    found = [_many(progress.pages, "page")]
    if progress.pages_per_second is not None:
        found.append(f"{_rate(progress.pages_per_second)} pages/s")
    return [*found, duration(progress.elapsed)]


def live_facts(progress: Progress) -> list[str]:
    """Return the facts and, where it can be told, the time left."""
    if progress.finished or progress.remaining is None:
        return facts(progress)
    return [*facts(progress), f"about {duration(progress.remaining)} left"]


def text_summary(progress: Progress, note: str | None = None) -> str:
    """Return the batch as a few lines of plain text."""
    shown = progress.failures[:_TEXT_FAILURES]
    lines = [f"{headline(progress)} ({', '.join(facts(progress))})"]
    lines += [f"  {printable(failure.filename)}: {reason(failure)}" for failure in shown]
    failed = progress.counts.get(JobState.FAILED, 0)
    if failed > len(shown):
        lines.append(f"  and {failed - len(shown):,} more failed")
    if note:
        lines.append(printable(note))
    return "\n".join(lines)


def html_summary(progress: Progress, note: str | None = None) -> str:
    """Return the batch as HTML that needs no script, style sheet or network.

    It still reads well where a site drops the styles. The class keeps a ``$`` in a file name
    from being typeset as mathematics.
    """
    shown = (*facts(progress), f"<code>{escape(printable(progress.batch))}</code>")
    return (
        f'<div class="tex2jax_ignore" style="{_BOX_STYLE}">'
        f'<div style="font-size:15px"><strong>{headline(progress)}</strong></div>'
        f"{_html_bar(progress)}"
        f'<div style="opacity:.8">{" · ".join(shown)}</div>'
        f"{_html_note(note)}{_html_failures(progress)}</div>"
    )


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> duration(0.4), duration(75), duration(1500), duration(7260)
    ('0.4 s', '1 min 15 s', '25 min', '2 h 1 min')
    """
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def printable(text: str) -> str:
    """Return a text on one line, without controls, lone surrogates and direction marks.

    Examples
    --------
    >>> printable("two" + chr(10) + "lines" + chr(27) + "[31m.pdf")
    'two�lines�[31m.pdf'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def reason(failure: JobRecord) -> str:
    """Return why a job failed, on one line of bounded length."""
    parts = (failure.error_type, failure.error)
    text = printable(": ".join(part for part in parts if part) or "no reason was recorded")
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"


def _html_bar(progress: Progress) -> str:
    segments = "".join(
        f'<div style="flex:{count} 1 0;background:{COLOURS[state]};'
        f'opacity:{_WAITING_OPACITY if state in _WAITING else 1}"></div>'
        for state in BAR_ORDER
        if (count := progress.counts.get(state, 0))
    )
    style = (
        "display:flex;height:10px;gap:2px;margin:10px 0;border-radius:5px;overflow:hidden;"
        "background:rgba(128,128,128,.25)"
    )
    return f'<div aria-hidden="true" style="{style}">{segments}</div>'


def _html_note(note: str | None) -> str:
    if not note:
        return ""
    style = f"margin-top:6px;padding-left:8px;border-left:3px solid {COLOURS[JobState.CANCELLED]}"
    return f'<div style="{style}">{escape(printable(note))}</div>'


def _html_failures(progress: Progress) -> str:
    failures = progress.failures
    if not failures:
        return ""
    failed = max(progress.counts.get(JobState.FAILED, 0), len(failures))
    newest = "" if failed == len(failures) else f", the newest {len(failures)}"
    is_open = " open" if failed <= _OPEN_FAILURES else ""
    return (
        f'<details{is_open} style="margin-top:6px">'
        f"<summary>{_many(failed, 'failed document')}{newest}</summary>"
        f'<ul style="margin:4px 0 0;padding-left:20px">{_html_items(failures)}</ul></details>'
    )


def _html_items(failures: Iterable[JobRecord]) -> str:
    return "".join(
        f"<li><code>{escape(printable(failure.filename))}</code> {escape(reason(failure))}</li>"
        for failure in failures
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"
