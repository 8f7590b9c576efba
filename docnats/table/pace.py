"""How fast a batch goes, and how long it will take."""

from __future__ import annotations

from collections import deque
from math import sqrt
from typing import NamedTuple

__all__ = ["WINDOW_SECONDS", "Pace", "Sample"]

WINDOW_SECONDS = 10.0
"""What "of late" means: long enough to smooth documents of different sizes."""

_SHORTEST = 1.0
"""Seconds below which a rate says nothing."""


class Sample(NamedTuple):
    """What was done at one moment; ``work`` is in bytes of documents."""

    elapsed: float
    pages: int
    bytes_sent: int
    work: float


class Pace:
    """The rates of a batch, from samples in the order of time."""

    def __init__(self) -> None:
        self._window: deque[Sample] = deque()
        self._last = Sample(0, 0, 0, 0)

    def add(self, sample: Sample) -> None:
        """Take in a sample."""
        self._last = sample
        self._window.append(sample)
        while sample.elapsed - self._window[0].elapsed > WINDOW_SECONDS:
            self._window.popleft()

    def pages_per_second(self, *, overall: bool) -> float | None:
        """Return the rate of late, or the overall one; None before the first page."""
        if not self._last.pages or self._last.elapsed <= 0:
            return None
        recent = None if overall else self._recent("pages")
        return recent or self._last.pages / self._last.elapsed

    def bytes_sent_per_second(self) -> float | None:
        """Return the upload rate of late; None before it can be told."""
        return self._recent("bytes_sent")

    def remaining(self, work_in_all: float, ended: int) -> tuple[float, float] | None:
        """Return the seconds left, at least and at most; None before a page was parsed.

        The rate of late and the overall one are the first two opinions. Each comes from
        ``ended`` documents whose times scatter about as widely as they are long, so that their
        sum is known to one part in the square root of their number.
        """
        left = max(0.0, work_in_all - self._last.work)
        if not left:
            return 0.0, 0.0
        if not ended or not self._last.pages or self._last.work <= 0 or self._last.elapsed <= 0:
            return None
        rates = [self._last.work / self._last.elapsed]
        if recent := self._recent("work"):
            rates.append(recent)
        doubt = 1 + 1 / sqrt(ended)
        return left / max(rates) / doubt, left / min(rates) * doubt

    def _recent(self, what: str) -> float | None:
        first = self._window[0] if self._window else self._last
        seconds = self._last.elapsed - first.elapsed
        if seconds < _SHORTEST:
            return None
        return float(getattr(self._last, what) - getattr(first, what)) / seconds
