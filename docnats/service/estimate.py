"""What a canary tells of all documents: time, pages, failures, bytes of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from docnats.errors import DocnatsError
from docnats.models import JobRecord, JobState
from docnats.service.canary import Canary, size_class
from docnats.service.sources import Source
from docnats.service.tempo import INSTANT, parser_seconds, upload_seconds
from docnats.table import jobs_frame
from docnats.table.pace import Parsers, alone
from docnats.table.quantities import many, size, span
from docnats.table.sizes import Expected, SizeModel, Sizes
from docnats.table.workload import OPENING, work_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Estimate", "Range", "estimate_of"]

_QUANTILE = 1.96
"""Standard deviations to either side, for the rate of failures: 95 %, so that nine of ten hold
although the documents processed stand for unequally many."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number that nobody knows yet: in nine of ten cases between ``low`` and ``high``."""

    low: float
    likely: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What it would take to process some documents, told by a few that were processed.

    Attributes
    ----------
    documents, bytes : int
        All there are.
    sampled : int
        Documents that were processed.
    workers, parsers : int
        Who would do it: those that lived at the end.
    seconds : Range
        From the submission to the end, if they have nothing else to do.
    pages : Range
        Pages of all documents.
    failure_rate : Range
        The part of the documents that fail: Wilson's score interval.
    result_bytes : Range
        Bytes of results.
    records : tuple of JobRecord
        The jobs of those processed.
    """

    documents: int
    bytes: int
    sampled: int
    workers: int
    parsers: int
    seconds: Range
    pages: Range
    failure_rate: Range
    result_bytes: Range
    records: tuple[JobRecord, ...] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether all documents were processed, because there are so few."""
        return self.sampled == self.documents

    @property
    def batch(self) -> str:
        """The batch of those processed."""
        return self.records[0].batch

    @property
    def jobs(self) -> pd.DataFrame:
        """The job table of those processed."""
        return jobs_frame(self.records)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON; without the jobs."""
        names = ("documents", "bytes", "sampled", "complete", "batch", "workers", "parsers")
        ranges = ("seconds", "pages", "failure_rate", "result_bytes")
        return {name: getattr(self, name) for name in names} | {
            name: asdict(getattr(self, name)) for name in ranges
        }

    def __repr__(self) -> str:
        """Return it in a few lines."""
        rows = "".join(f"\n  {name:<10}{told}" for name, told in self._rows())
        return f"{self._basis()}{rows}"

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it."""
        rows = "".join(
            f'<tr><th style="text-align:left">{name}</th>'
            f'<td style="text-align:left">{escape(told)}</td></tr>'
            for name, told in self._rows()
        )
        return f"<p>{escape(self._basis())}</p><table>{rows}</table>"

    def _basis(self) -> str:
        all_of_them = f"{many(self.documents, 'document')}, {size(self.bytes)}"
        who = f"on {many(self.workers, 'worker')} with {many(self.parsers, 'parser')}"
        if self.complete:
            return (
                f"{all_of_them}: all were processed, since they are so few, {who}. Their results "
                f"are in batch {self.batch}"
            )
        return (
            f"{all_of_them}: {self.sampled:,} of them were processed, {who}; their results are in "
            f"batch {self.batch}. For all of them, nine times in ten:"
        )

    def _rows(self) -> list[tuple[str, str]]:
        low, high = 100 * self.failure_rate.low, 100 * self.failure_rate.high
        failures = f"{low:.1f} %" if low == high else f"{low:.1f} to {high:.1f} %"
        return [
            ("time", span(self.seconds.low, self.seconds.high)),
            ("pages", _between(self.pages, "{:,.0f}".format)),
            ("failures", failures),
            ("results", _between(self.result_bytes, size)),
        ]


def _between(told: Range, say: Callable[[float], str]) -> str:
    low, likely, high = map(say, (told.low, told.likely, told.high))
    return low if low == high else f"{low} to {high}, likely {likely}"


def estimate_of(
    canary: Canary,
    records: Sequence[JobRecord],
    result_bytes: Mapping[str, int],
    parsers: Mapping[str, int],
) -> Estimate:
    """Return what a canary tells once it has ended.

    Parameters
    ----------
    canary : Canary
        All documents, and which were processed.
    records : sequence of JobRecord
        The jobs of those, in their order.
    result_bytes : mapping
        Bytes of their results by job id.
    parsers : mapping
        The parsers of each live worker.

    Raises
    ------
    DocnatsError
        None of them came to a worker.
    """
    sampled = [
        (canary.documents[place], record)
        for place, record in zip(canary.chosen, records, strict=True)
        if record.state is not JobState.CANCELLED
    ]
    seconds = parser_seconds((job for _, job in sampled), {**parsers, **canary.parsers})
    if not seconds:
        reasons = {record.error or record.state.value for record in records}
        raise DocnatsError(
            f"nothing can be estimated: none of {many(len(records), 'document')} came to a "
            f"worker: {min(reasons)}"
        )
    every = _Documents(canary.documents, sampled)
    return Estimate(
        documents=len(canary.documents),
        bytes=sum(document.size for document in canary.documents),
        sampled=len(sampled),
        workers=len(parsers),
        parsers=sum(parsers.values()),
        seconds=every.duration(seconds, parsers),
        pages=every.sum({job.job_id: job.pages or 0 for _, job in sampled}, OPENING).range,
        failure_rate=_failure_rate(canary.documents, sampled),
        result_bytes=every.sum(result_bytes, sum(result_bytes.values()) / len(sampled)).range,
        records=tuple(records),
    )


_Sample = Sequence[tuple[Source, JobRecord]]


class _Sum(NamedTuple):
    """Known of the documents processed, expected of the rest."""

    known: float
    rest: Expected
    subtracted: float
    largest: float

    @property
    def range(self) -> Range:
        low, high = self.rest.range()
        amounts = (low, self.rest.total, high)
        return Range(*(self.known + max(0.0, amount - self.subtracted) for amount in amounts))


class _Documents:
    """All documents, of which some were processed."""

    def __init__(self, documents: Sequence[Source], sampled: _Sample) -> None:
        self._documents = documents
        self._sampled = sampled
        self._rest = Sizes()
        for document in documents:
            self._rest.add(document.size)
        for document, _ in sampled:
            self._rest.add(document.size, -1)

    def sum(self, amounts: Mapping[str, float], base: float = 0.0) -> _Sum:
        """Return the sum of something over all documents.

        Parameters
        ----------
        amounts : mapping
            By job id; there is none of it in a job that is left out.
        base : float
            Added to each while they are compared: documents without any do not tell of others.
        """
        model, largest = SizeModel(), 0.0
        for document, job in self._sampled:
            amount = amounts.get(job.job_id, 0.0)
            model.learn(document.size, max(amount + base, INSTANT))
            largest = max(largest, amount)
        rest = model.expect(self._rest)
        unknown = len(self._documents) - len(self._sampled)
        return _Sum(sum(amounts.values()), rest, base * unknown, max(largest, rest.largest))

    def duration(self, seconds: Mapping[str, float], parsers: Mapping[str, int]) -> Range:
        """Return how long all take: as long as their upload at least, and the last one alone.

        Parameters
        ----------
        seconds : mapping
            Those of parsers, by job id.
        parsers : mapping
            The parsers of each worker.
        """
        who = Parsers(sum(parsers.values()), max(parsers.values()))
        jobs = [job for _, job in self._sampled]
        time = self.sum(seconds)
        pages = self.sum({job.job_id: work_of(job.pages) for job in jobs})
        a_page = (time.known + time.rest.total) / (pages.known + pages.rest.total)
        last = alone(pages.largest, who) * a_page * (1 - 1 / who.total)
        low, likely, high = (
            amount / who.total for amount in (time.range.low, time.range.likely, time.range.high)
        )
        sending = upload_seconds(self._documents, jobs)
        return Range(max(low, min(sending)), max(likely, min(sending)), max(high + last, *sending))


def _failure_rate(documents: Sequence[Source], sampled: _Sample) -> Range:
    """Return the part of the documents that fail, by Wilson's score interval.

    Each document processed stands for all of its class of size. They so tell as much as a
    smaller number of documents that stand for equally many (Kish's effective sample size), or a
    larger one where most documents were processed.
    """
    sizes = Counter(size_class(document.size) for document in documents)
    known = Counter(size_class(document.size) for document, _ in sampled)
    weights = [sizes[place] / known[place] for place in (size_class(d.size) for d, _ in sampled)]
    failed = [record.state is JobState.FAILED for _, record in sampled]
    likely = sum(w for w, bad in zip(weights, failed, strict=True) if bad) / sum(weights)
    unknown = len(documents) - len(sampled)
    if not unknown:
        return Range(likely, likely, likely)
    count = sum(weights) ** 2 / sum(weight**2 for weight in weights)
    count *= (len(documents) - 1) / unknown
    square = _QUANTILE**2 / count
    middle = (likely + square / 2) / (1 + square)
    half = _QUANTILE / (1 + square) * sqrt((likely * (1 - likely) + square / 4) / count)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Range(min(low, likely), likely, max(high, likely))
