"""A batch as static HTML: what remains of a panel in a saved notebook."""

from __future__ import annotations

from html import escape

from docnats.models import JobRecord, JobState, Progress
from docnats.panel.words import (
    BAR_ORDER,
    Tile,
    display_name,
    final_tiles,
    printable,
    reason,
    title,
    unserved,
)
from docnats.table.quantities import many

__all__ = ["COLOURS", "html_summary"]

COLOURS = {
    JobState.DONE: "#1f9e74",
    JobState.FAILED: "#d9534a",
    JobState.CANCELLED: "#c98a1b",
    JobState.RUNNING: "#3d7fe0",
    JobState.QUEUED: "#8a94a6",
    JobState.UPLOADING: "#9a7fd1",
}
"""Distinct for colour-blind eyes and on light and dark ground; ``widget.css`` has the same."""

_FAILURES_SHOWN = 100
_OPEN_FAILURES = 5
_WAITING = (JobState.QUEUED, JobState.UPLOADING)
_WAITING_OPACITY = 0.4
_LINE = "rgba(128,128,128,.3)"
_BOX = (
    "box-sizing:border-box;max-width:760px;padding:14px 16px;"
    f"border:1px solid {_LINE};border-radius:8px;"
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;"
    "font-variant-numeric:tabular-nums"
)
_BAR = (
    "display:flex;height:8px;gap:2px;margin:10px 0 8px;border-radius:4px;overflow:hidden;"
    f"background:{_LINE}"
)
_ROW = "display:flex;flex-wrap:wrap;gap:2px 18px"
_TILES = (
    "display:flex;flex-wrap:wrap;gap:8px 16px;margin-top:10px;padding-top:10px;"
    f"border-top:1px solid {_LINE}"
)
_TILE = "flex:0 0 23%;min-width:96px"
_QUIET = "opacity:.72;font-size:12px"


def html_summary(progress: Progress, note: str | None = None) -> str:
    """Return the batch as HTML that needs no script, style sheet or network.

    It still reads well where a site drops the styles, as GitHub does. The classes keep a ``$``
    in a file name from being typeset as mathematics.
    """
    numbers = f'<div style="{_TILES}">{"".join(map(_tile, final_tiles(progress)))}</div>'
    parts = [_header(progress), _note(note)]
    if progress.total:
        notes = _note(note) + _note(unserved(progress))
        parts[1:] = [_bar(progress), _legend(progress), notes, numbers, _failures(progress)]
    return f'<div class="tex2jax_ignore mathjax_ignore" style="{_BOX}">{"".join(parts)}</div>'


def _header(progress: Progress) -> str:
    return (
        '<div style="display:flex;flex-wrap:wrap;align-items:baseline;gap:0 16px;'
        'justify-content:space-between">'
        f'<strong style="font-size:15px">{title(progress)}</strong> '
        f'<code style="{_QUIET};padding:0;background:none">{escape(printable(progress.batch))}'
        "</code></div>"
    )


def _bar(progress: Progress) -> str:
    segments = "".join(
        f'<div style="flex:{count} 1 0;min-width:2px;background:{COLOURS[state]}'
        f'{f";opacity:{_WAITING_OPACITY}" if state in _WAITING else ""}"></div>'
        for state in BAR_ORDER
        if (count := progress.counts.get(state, 0))
    )
    return f'<div aria-hidden="true" style="{_BAR}">{segments}</div>'


def _legend(progress: Progress) -> str:
    entries = "".join(
        f'<span><span aria-hidden="true" style="color:{COLOURS[state]}">●</span> '
        f"<strong>{count:,}</strong> {state}</span> "
        for state in BAR_ORDER
        if (count := progress.counts.get(state, 0))
    )
    return f'<div style="{_ROW}">{entries}</div>'


def _note(note: str | None) -> str:
    if not note:
        return ""
    style = f"margin-top:8px;padding-left:8px;border-left:3px solid {COLOURS[JobState.CANCELLED]}"
    return f'<div style="{style}">{escape(printable(note))}</div>'


def _tile(tile: Tile) -> str:
    """Return a tile of three lines, which is one line with a dot where styles are dropped."""
    detail = f'<span style="display:none">· </span><span style="{_QUIET}">{tile.detail}</span>'
    return (
        f'<div style="{_TILE}"><span style="display:block;{_QUIET}">{tile.label}</span> '
        f'<strong style="display:block;font-size:15px">{tile.value}</strong> '
        f"{detail if tile.detail else ''}</div>"
    )


def _failures(progress: Progress) -> str:
    shown = progress.failures[:_FAILURES_SHOWN]
    if not shown:
        return ""
    failed = max(progress.counts.get(JobState.FAILED, 0), len(progress.failures))
    newest = "" if failed == len(shown) else f", the newest {len(shown)}"
    return (
        f"<details{' open' if failed <= _OPEN_FAILURES else ''} "
        f'style="margin-top:12px;padding-top:8px;border-top:1px solid {_LINE}">'
        f'<summary style="cursor:pointer">{many(failed, "failed document")}{newest}</summary>'
        f'<ul style="margin:4px 0 0;padding-left:20px">{"".join(map(_failure, shown))}</ul>'
        "</details>"
    )


def _failure(failure: JobRecord) -> str:
    name = escape(display_name(failure.filename))
    return f'<li><code dir="auto">{name}</code> {escape(reason(failure))}</li>'
