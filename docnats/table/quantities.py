"""Quantities as people say them: times, sizes, numbers of things, long lists."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

__all__ = ["duration", "many", "named", "size", "span"]

_NAMED = 5
"""Things named of many; the rest are counted."""


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


def span(low: float, high: float) -> str:
    """Return a range of time in round numbers, never narrower than it is.

    Examples
    --------
    >>> span(12, 31), span(170, 290), span(0, 3000), span(6000, 7100)
    ('10 to 35 s', '2 to 5 min', 'up to 50 min', '1 to 2 h')
    """
    unit, seconds, step = ("h", 3600, 1)
    if high <= 90:
        unit, seconds, step = ("s", 1, 5)
    elif high <= 5400:
        unit, seconds, step = ("min", 60, 1)
    least = floor(max(low, 0) / seconds / step) * step
    most = max(ceil(high / seconds / step) * step, step)
    if least == most:
        return f"about {most:,} {unit}"
    return f"{least:,} to {most:,} {unit}" if least else f"up to {most:,} {unit}"


def size(count: float) -> str:
    """Return a number of bytes as people say it.

    Examples
    --------
    >>> size(0), size(950), size(31_400), size(3_140_000), size(31_400_000_000)
    ('0 B', '950 B', '31 kB', '3.1 MB', '31 GB')
    """
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:,.0f} {unit}"


def many(count: int, noun: str) -> str:
    """Return a number with its noun: 1 page, 2 pages."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def named(names: Sequence[str]) -> str:
    """Return some names in words; of many, the first few and how many more there are.

    Examples
    --------
    >>> named(["a.pdf", "b.pdf"]), named([f"{place}.pdf" for place in range(7)])
    ('a.pdf, b.pdf', '0.pdf, 1.pdf, 2.pdf, 3.pdf, 4.pdf and 2 more')
    """
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
