"""What the commands print: job tables for people, JSON Lines for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich import markup
from rich.console import Console
from rich.table import Table

from docnats.models import JobState
from docnats.names import where
from docnats.panel.words import printable

if TYPE_CHECKING:
    import pandas as pd

    from docnats.models import Receipt
    from docnats.service import Estimate, Health, Verification

__all__ = [
    "err",
    "out",
    "print_batches",
    "print_dead_letters",
    "print_estimate",
    "print_health",
    "print_jobs",
    "print_leftovers",
    "print_receipt",
    "print_taste",
    "print_verification",
]

_UNWRAPPED = 10_000
"""Columns of a pipe or file: what reads it wants whole lines."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else _UNWRAPPED)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_STATE_STYLE = {"done": "green", "failed": "red", "cancelled": "yellow"}
_TASTE = 160
"""Characters of a document's text shown by `docnats demo`."""


def escape(text: object) -> str:
    """Return what others named or wrote, as rich prints it and a terminal only shows it."""
    return markup.escape(printable(str(text)))


def print_jobs(jobs: pd.DataFrame, *, as_json: bool) -> None:
    """Print job rows: a table, or one JSON object a line with all columns."""
    if as_json:
        _print_lines(jobs)
        return
    table = _table()
    shown = _COLUMNS if jobs.error_type.notna().any() else _COLUMNS[:-1]
    for name in shown:
        right = name in ("pages", "KB", "seconds")
        table.add_column(
            name,
            justify="right" if right else "left",
            overflow="fold" if name == "why" else "ellipsis",
            no_wrap=name != "why",
            ratio=1 if name in ("filename", "why") and out.is_terminal else None,
        )
    for row in jobs.itertuples():
        table.add_row(*_cells(row)[: len(shown)])
    out.print(table)


def print_batches(batches: pd.DataFrame, *, as_json: bool) -> None:
    """Print one row a batch: a table, or one JSON object a line with all columns."""
    if as_json:
        _print_lines(batches)
        return
    table = _table()
    for name in ("batch", "submitted", "jobs", "states", "pages"):
        table.add_column(
            name,
            justify="right" if name in ("jobs", "pages") else "left",
            overflow="fold",
            no_wrap=name != "states",
        )
    for row in batches.itertuples():
        states = [f"{getattr(row, s):,} {s}" for s in JobState if getattr(row, s)]
        if not _missing(row.archived_at):
            states.append("archived")
        submitted = f"{row.submitted_at:%Y-%m-%d %H:%M}"
        numbers = (f"{row.jobs:,}", ", ".join(states), f"{row.pages:,}")
        table.add_row(escape(str(row.batch)), submitted, *numbers)
    out.print(table)


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _print_lines(rows: pd.DataFrame) -> None:
    lines = rows.to_json(orient="records", lines=True, date_format="iso", date_unit="us")
    _write(lines if not lines or lines.endswith("\n") else f"{lines}\n")


def _print_object(value: dict[str, Any]) -> None:
    _write(json.dumps(value) + "\n")


def _write(text: str) -> None:
    """Write now: what cannot be written at the interpreter's end would be a traceback there."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_dead_letters(letters: pd.DataFrame, *, as_json: bool) -> None:
    """Print dead letters: a table, or one JSON object a line with all columns."""
    if as_json:
        _print_lines(letters)
        return
    table = _table()
    for name in ("id", "at", "kind", "filename", "job_id", "reason"):
        table.add_column(name, overflow="fold", no_wrap=name in ("id", "at", "kind"))
    for row in letters.itertuples():
        told = (row.filename, row.job_id, row.reason)
        cells = ("" if _missing(cell) else escape(cell) for cell in told)
        table.add_row(str(row.id), f"{row.at:%Y-%m-%d %H:%M:%S}", escape(row.kind), *cells)
    out.print(table)


_COLUMNS = ("filename", "state", "pages", "KB", "seconds", "why")


def _cells(row: Any) -> list[str]:
    style = _STATE_STYLE.get(row.state, "cyan")
    why = "" if _missing(row.error_type) else f"[red]{row.error_type}[/]: {escape(row.error)}"
    return [
        escape(row.filename),
        f"[{style}]{row.state}[/]",
        "" if _missing(row.pages) else f"{row.pages:,}",
        "" if _missing(row.bytes) else f"{row.bytes / 1024:,.0f}",
        "" if _missing(row.seconds) else f"{row.seconds:.2f}",
        why,
    ]


def _missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def print_leftovers(leftovers: pd.DataFrame, *, deleted: bool, as_json: bool) -> None:
    """Print what `docnats gc` found: a table and its sum, or one JSON object a line."""
    if as_json:
        _print_lines(leftovers)
        return
    table = _table()
    for name in ("kind", "key", "KB", "modified", "why"):
        table.add_column(name, justify="right" if name == "KB" else "left", overflow="fold")
    for row in leftovers.itertuples():
        table.add_row(*_leftover_cells(row))
    if len(leftovers):
        out.print(table)
    megabytes = int(leftovers["bytes"].sum()) / 1024 / 1024
    told = "deleted" if deleted else "found"
    hint = "; delete them with --delete" if len(leftovers) and not deleted else ""
    out.print(f"{len(leftovers):,} leftovers, {megabytes:,.1f} MB, {told}{hint}")


def _leftover_cells(row: Any) -> list[str]:
    size, modified = f"{row.bytes / 1024:,.0f}", f"{row.modified:%Y-%m-%d %H:%M}"
    return [row.kind, escape(row.key), size, modified, row.why]


def print_taste(texts: pd.DataFrame) -> None:
    """Print the beginning of some documents' texts."""
    for row in texts.itertuples():
        words = " ".join(str(row.text).split())
        shown = words[:_TASTE] + ("…" if len(words) > _TASTE else "")
        out.print(f"  [bold]{escape(row.filename)}[/]: {escape(shown) or '(no text)'}")


def print_estimate(estimate: Estimate, *, as_json: bool) -> None:
    """Print what processing would take."""
    if as_json:
        _print_object(estimate.to_dict())
    else:
        out.print(repr(estimate), markup=False)


def print_health(health: Health, *, as_json: bool) -> None:
    """Print a health check."""
    if as_json:
        _print_object(health.to_dict())
        return
    for part in health.parts:
        mark = "[green]ok  [/]" if part.healthy else "[red]BAD [/]"
        out.print(f"{mark}{part.name:<8} {part.seconds * 1000:7.1f} ms  {escape(part.detail)}")


def print_receipt(receipt: Receipt, *, as_json: bool) -> None:
    """Print what was archived: where it is, or the whole receipt."""
    if as_json:
        _print_object(receipt.to_dict())
        return
    counts = ", ".join(f"{count:,} {state}" for state, count in receipt.counts.items())
    out.print(f"batch {receipt.batch}: {receipt.jobs:,} jobs ({counts})", markup=False)
    out.print(where(receipt.bucket, receipt.table.key), markup=False, soft_wrap=True)
    out.print(f"hashes of {len(receipt.objects):,} result objects in the receipt beside it")
    if receipt.without_results:
        out.print(f"{len(receipt.without_results):,} jobs are done, but were cleaned up before")


def print_verification(outcome: Verification, *, as_json: bool) -> None:
    """Print whether an archive is intact, and what is not."""
    if as_json:
        _print_object(outcome.to_dict())
    else:
        out.print(repr(outcome), markup=False)
