"""What was submitted and how each document must end; docnats never sees it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.chaos.documents import Document
from benchmarks.chaos.reading import Reading, undisturbed
from benchmarks.chaos.report import Violation
from docnats.errors import ErrorType
from docnats.models import JobRecord, JobState

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A submitted document; exactly one of ``reading`` and ``error_type`` is expected of it."""

    document: Document
    reading: Reading | None
    error_type: ErrorType | None


class Ledger:
    """The harness's own account of a run.

    Parameters
    ----------
    batches : sequence of sequence of Document
        What each submission holds.

    Attributes
    ----------
    batches : dict
        The documents by their batch's name.
    entries : dict
        What must become of each document, by its batch and name.
    """

    def __init__(self, batches: Sequence[Sequence[Document]]) -> None:
        self.batches = {f"chaos-{number}": batch for number, batch in enumerate(batches)}
        good = [d for batch in batches for d in batch if d.error_type is None]
        readings = dict(zip(good, undisturbed([d.path for d in good]), strict=True))
        self.entries = {
            (batch, document.name): Entry(document, readings.get(document), document.error_type)
            for batch, documents in self.batches.items()
            for document in documents
        }

    def check_rows(self, rows: Iterable[JobRecord]) -> Iterator[Violation]:
        """Compare the job table with the account."""
        found: dict[tuple[str, str], list[JobRecord]] = defaultdict(list)
        for row in rows:
            found[row.batch, row.filename].append(row)
        promise = "one row a file"
        for key, entry in self.entries.items():
            mine = found.pop(key, [])
            if len(mine) != 1:
                yield Violation(promise, f"{key}: {len(mine)} rows")
            for row in mine:
                yield from _check_row(entry, row)
        for key, rest in found.items():
            yield Violation(promise, f"{key}: {len(rest)} rows, and was never submitted")

    def check_reading(self, row: JobRecord, reading: Reading) -> Iterator[Violation]:
        """Compare a done row's result with what an undisturbed run reads."""
        entry = self.entries.get((row.batch, row.filename))
        if entry and entry.reading and (difference := entry.reading.difference(reading)):
            yield Violation("results equal an undisturbed run's", f"{_said(row)}: {difference}")


def _check_row(entry: Entry, row: JobRecord) -> Iterator[Violation]:
    if not row.terminal:
        yield Violation("every row is terminal", _said(row))
    elif entry.error_type is not None:
        if (row.state, row.error_type) != (JobState.FAILED, entry.error_type):
            yield Violation("bad files fail as they should", f"{_said(row)}: {entry.error_type}")
    elif row.state is not JobState.DONE:
        yield Violation("good files are done", _said(row))
    elif row.pages_failed:
        yield Violation("good files are read whole", f"{_said(row)}: {row.pages_failed} failed")
    elif entry.reading and row.pages != len(entry.reading.pages):
        yield Violation("good files are read whole", f"{_said(row)}: {row.pages} pages")
    if row.sha256 not in {None, entry.document.sha256}:
        yield Violation("rows have the document's digest", _said(row))


def _said(row: JobRecord) -> str:
    ended = f"{row.state}/{row.error_type} ({row.error})" if row.error_type else row.state
    return f"{row.batch} {row.job_id} {row.filename}: {ended}, attempt {row.attempt}"
