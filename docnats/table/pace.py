"""How fast a batch goes, and how long it will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import exp, sqrt
from typing import NamedTuple

from docnats.table.sizes import CERTAINTY, Expected
from docnats.table.workload import Outlook

__all__ = ["PAGES_PER_RANGE", "WINDOW_SECONDS", "Pace", "Parsers", "Sample", "alone"]

WINDOW_SECONDS = 10.0
"""What "of late" means: long enough to smooth documents of different sizes."""

_SHORTEST = 1.0
"""Seconds below which a rate says nothing."""

_LATE = 8
"""The tempo of late looks back this part of the time so far, at least ``WINDOW_SECONDS``."""

_TEMPO_SCATTER = 0.8
"""The variance between documents of the time for a page, in squares of its mean: 0.5 on 116 real
PDFs, and more because neighbours in a corpus are alike."""

_SENDING_SPREAD = 1.5
"""An upload of late may be so much faster or slower than the rest of it."""

PAGES_PER_RANGE = 48
"""So long a document is parsed by two parsers; see ``ProcessingConfig.pages_per_range``."""


class Sample(NamedTuple):
    """What was done at one moment: the work in pages, and the parsers that are ``busy`` with it."""

    elapsed: float
    pages: int
    bytes_sent: int
    work: float
    busy: int


class Parsers(NamedTuple):
    """How many parsers there are: all, and those of one worker, which share long documents."""

    total: int
    together: int


class _Tempo:
    """The work that one parser does in a second."""

    def __init__(self) -> None:
        self._work = 0.0
        self._seconds = 0.0

    def add(self, work: float, seconds: float, *, keep: float = 1.0) -> None:
        """Take in what was done, after forgetting a part of what was before."""
        self._work = keep * self._work + work
        self._seconds = keep * self._seconds + seconds

    @property
    def rate(self) -> float | None:
        """Work a second; None before it can be told."""
        return self._work / self._seconds if self._work > 0 and self._seconds > 0 else None


class Pace:
    """The rates of a batch, from samples in the order of time."""

    def __init__(self) -> None:
        self._window: deque[Sample] = deque()
        self._last = Sample(0, 0, 0, 0, 0)
        self._overall = _Tempo()
        self._late = _Tempo()

    def add(self, sample: Sample) -> None:
        """Take in a sample."""
        seconds = max(0.0, sample.elapsed - self._last.elapsed)
        work, busy = sample.work - self._last.work, seconds * sample.busy
        memory = max(WINDOW_SECONDS, sample.elapsed / _LATE)
        self._overall.add(work, busy)
        self._late.add(work, busy, keep=exp(-seconds / memory))
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

    def remaining(
        self, outlook: Outlook, parsers: Parsers, bytes_to_send: int = 0
    ) -> tuple[float, float] | None:
        """Return the seconds left, in nine of ten cases between these two; None before a page.

        The tempo of late and the overall one are two opinions, whatever else is in doubt.
        """
        rates = [rate for rate in (self._overall.rate, self._late.rate) if rate]
        if outlook.left is None or not self._last.pages or not rates:
            return None
        least, most = _forecast(outlook.left, outlook, rates, parsers)
        if bytes_to_send and (rate := self.bytes_sent_per_second()):
            sending = bytes_to_send / rate
            return max(least, sending / _SENDING_SPREAD), max(most, sending * _SENDING_SPREAD)
        return least, most

    def _recent(self, what: str) -> float | None:
        first = self._window[0] if self._window else self._last
        seconds = self._last.elapsed - first.elapsed
        if seconds < _SHORTEST:
            return None
        return float(getattr(self._last, what) - getattr(first, what)) / seconds


def _forecast(
    left: Expected, outlook: Outlook, rates: Sequence[float], parsers: Parsers
) -> tuple[float, float]:
    """Return the seconds left, in nine of ten cases between these two.

    Documents that are taken in turn end between two times (Graham's bounds): that of the work
    shared evenly, or of the longest document alone, and the former with the longest document
    begun last.
    """
    if left.total <= 0:
        return 0.0, 0.0
    scatter = _TEMPO_SCATTER * (outlook.unevenness + left.unevenness)
    spread = 1 + CERTAINTY * sqrt(left.doubt**2 + scatter)
    evenly = left.total / parsers.total
    least = max(evenly, alone(outlook.longest, parsers))
    most = evenly + alone(left.largest, parsers) * (1 - 1 / parsers.total)
    return least / max(rates) / spread, most / min(rates) * spread


def alone(work: float, parsers: Parsers) -> float:
    """Return how much of a document's work its busiest parser has, if nobody else has any."""
    return work / max(1.0, min(parsers.together, work / PAGES_PER_RANGE))
