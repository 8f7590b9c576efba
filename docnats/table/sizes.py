"""What documents amount to that nobody has opened yet, told by their size in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, sqrt
from typing import NamedTuple

__all__ = ["CERTAINTY", "Expected", "SizeModel", "Sizes"]

CERTAINTY = 2.0
"""Standard deviations to either side. Documents have long tails: with them that holds about nine
of ten outcomes, where it would hold 95 % of normal ones."""

_SKEW = 1.4
"""So many times farther the sum may lie above what is expected than below: few are very long."""

_EXPONENT = 0.45
"""Pages grow as this power of the bytes in a mixed corpus: 0.37 to 0.47 in 116 real PDFs. Of one
kind, they grow as the bytes: the fit decides."""

_EXPONENT_TRUST = 6.0
"""How firmly that is believed: as if so many documents e times apart in size had shown it."""

_FLATTEST, _STEEPEST = -0.5, 1.3
"""The powers there are: scans are large and have few pages, books small ones and many; files of
one kind have a part of constant size, fonts for example."""

_LINE_TRUST = 1.0
"""Documents of a class of size that weigh as much as what the other classes say of it."""

_SCATTER = 1.0
"""The variance of documents of one size, in squares of their mean; 0.5 to 4 in the same corpus."""

_BEND = 0.4
"""How far off the line may be, in logarithms, e times away from the last documents known."""


class Expected(NamedTuple):
    """The sum over some documents.

    Attributes
    ----------
    total, sd : float
        What is expected, and the standard deviation.
    squares : float
        The expected sum of the documents' squares.
    largest : float
        About what the largest of them amounts to.
    """

    total: float = 0.0
    sd: float = 0.0
    squares: float = 0.0
    largest: float = 0.0

    @property
    def doubt(self) -> float:
        """The relative standard deviation."""
        return self.sd / self.total if self.total > 0 else 0.0

    @property
    def unevenness(self) -> float:
        """One part in as many as there are documents, if all were alike; more if they are not."""
        return self.squares / self.total**2 if self.total > 0 else 0.0

    def range(self) -> tuple[float, float]:
        """Return what the sum is between in nine of ten cases."""
        spread = CERTAINTY * self.doubt
        return self.total / (1 + spread), self.total * (1 + _SKEW * spread)


class Sizes:
    """Documents by size in classes, one for each doubling: how many, and their bytes."""

    def __init__(self) -> None:
        self._classes: dict[int, tuple[float, float]] = {}

    def add(self, size: int, count: float = 1) -> None:
        """Add a document, a part of one, or with a negative count take it out."""
        place = size.bit_length()
        known, total = self._classes.get(place, (0.0, 0.0))
        self._classes[place] = (known + count, total + count * size)

    def copy(self) -> Sizes:
        """Return the same, to be changed."""
        other = Sizes()
        other._classes = self._classes.copy()
        return other

    def __iter__(self) -> Iterator[tuple[int, float, float]]:
        """Iterate over the classes that hold any: the class, how many, their mean size."""
        for place, (count, total) in self._classes.items():
            if count > 0:
                yield place, count, total / count


class _Class(NamedTuple):
    """Known documents of about one size: how many, sums of their bytes, amounts, squares."""

    documents: int = 0
    bytes: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @property
    def x(self) -> float:
        """The logarithm of their mean size."""
        return log(self.bytes / self.documents + 1)

    @property
    def freedom(self) -> int:
        """How many of them could scatter around their mean."""
        return max(self.documents - 1, 0)

    @property
    def scatter(self) -> float:
        """The sum over the documents of their variance, in squares of their mean."""
        if not self.documents:
            return 0.0
        return self.documents * max(self.documents * self.squares / self.total**2 - 1, 0.0)


class _Line(NamedTuple):
    """The line through the classes' means, in logarithms."""

    x: float
    y: float
    slope: float
    x_squares: float
    weight: float
    scatter: float
    misfit: float

    @classmethod
    def through(cls, classes: list[_Class]) -> _Line:
        weight = sum(c.documents for c in classes)
        freedom = sum(c.freedom for c in classes) + _LINE_TRUST
        scatter = (sum(c.scatter for c in classes) + _LINE_TRUST * _SCATTER) / freedom
        # The logarithm of the mean of a few is low on average, by Jensen.
        ys = [log(c.total / c.documents) + scatter / (2 * c.documents) for c in classes]
        points = [(c.documents, c.x, y) for c, y in zip(classes, ys, strict=True)]
        x = sum(n * at for n, at, _ in points) / weight
        y = sum(n * level for n, _, level in points) / weight
        x_squares = sum(n * (at - x) ** 2 for n, at, _ in points)
        products = sum(n * (at - x) * (level - y) for n, at, level in points)
        slope = (products + _EXPONENT_TRUST * _EXPONENT) / (x_squares + _EXPONENT_TRUST)
        slope = min(max(slope, _FLATTEST), _STEEPEST)
        misfit = sum(n * (level - y - slope * (at - x)) ** 2 for n, at, level in points) / weight
        return cls(x, y, slope, x_squares, weight, scatter, misfit)

    def mean(self, x: float) -> float:
        return exp(self.y + self.slope * (x - self.x))

    def doubt(self, x: float, gap: float) -> float:
        """Return the relative standard deviation of :meth:`mean`."""
        away = (x - self.x) ** 2 / (self.x_squares + _EXPONENT_TRUST)
        return sqrt(self.scatter * (1 / self.weight + away) + self.misfit + (_BEND * gap) ** 2)


class SizeModel:
    """Expects of documents what others of their size amounted to.

    A class of sizes of which many documents are known speaks for itself; the fewer, the more a
    line through the logarithms of all classes speaks for it. So it also tells of sizes never
    seen, as when the largest documents come first, and doubts it the more the farther they are.

    Attributes
    ----------
    known : int
        Documents that it knows.
    total, squares : float
        What they amount to, and the sum of the squares.
    """

    def __init__(self) -> None:
        self._classes: dict[int, _Class] = {}
        self.known = 0
        self.total = 0.0
        self.squares = 0.0

    def learn(self, size: int, amount: float, sign: int = 1) -> None:
        """Take in what a document amounted to, more than nothing; or take it out again."""
        place, amount, square = size.bit_length(), sign * amount, sign * amount * amount
        known = self._classes.get(place) or _Class()
        self._classes[place] = _Class(
            known.documents + sign,
            known.bytes + sign * size,
            known.total + amount,
            known.squares + square,
        )
        self.known += sign
        self.total += amount
        self.squares += square

    def expect(self, waiting: Sizes) -> Expected:
        """Return what some documents amount to; something must be ``known``."""
        seen = {place: known for place, known in self._classes.items() if known.documents > 0}
        line = _Line.through(list(seen.values()))
        total = squares = own = shared = largest = 0.0
        for place, count, size in waiting:
            known, x = seen.get(place) or _Class(), log(size + 1)
            weight = known.documents + _LINE_TRUST
            # Those known of the class may be larger or smaller ones.
            scale = exp(line.slope * (x - known.x)) if known.documents else 1.0
            mean = (known.total * scale + _LINE_TRUST * line.mean(x)) / weight
            scatter = known.scatter + _LINE_TRUST * line.scatter
            variance = mean**2 * scatter / (known.freedom + _LINE_TRUST)
            gap = min(abs(x - near.x) for near in seen.values())
            total += count * mean
            squares += count * (mean**2 + variance)
            own += count * variance + count**2 * variance / weight
            shared += count * mean * line.doubt(x, gap) * _LINE_TRUST / weight
            tail = min(CERTAINTY, sqrt(2 * log(count + 1)))
            largest = max(largest, mean + tail * sqrt(variance))
        return Expected(total, sqrt(own + shared**2), squares, largest)
