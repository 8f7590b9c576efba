"""How much of a batch's work is done and how much is left, in pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from math import sqrt
from typing import NamedTuple

from docnats.models import JobRecord, JobState, PageProgress
from docnats.table.sizes import Expected, SizeModel, Sizes

__all__ = ["OPENING", "Outlook", "Workload", "work_of"]

OPENING = 1.0
"""Pages whose parsing takes as long as opening a document and moving it and its results: 0.5 for
the parser alone on 116 real PDFs, the rest for downloading, writing and storing."""

_HALF = 0.5
"""What is done, on average, of a document that is being parsed and of which no word has come."""


class Outlook(NamedTuple):
    """A batch's work at one moment.

    Attributes
    ----------
    done : float
        What is done.
    unevenness : float
        Of the documents whose pages are known; see :attr:`Expected.unevenness`.
    left : Expected or None
        What is left; None while nothing tells.
    longest : float
        So much is left of one document, at least.
    """

    done: float = 0.0
    unevenness: float = 1.0
    left: Expected | None = None
    longest: float = 0.0


def work_of(pages: int | None) -> float:
    """Return the work of a document; one that is no PDF is only opened."""
    return OPENING + (pages or 0)


class Workload:
    """The work of a batch: documents count by their pages, or by their size until those are known.

    Attributes
    ----------
    told : dict
        How far documents at work are, by job id.
    """

    def __init__(self) -> None:
        self.told: dict[str, PageProgress] = {}
        self._learned: dict[str, tuple[int, float]] = {}
        self._model = SizeModel()
        self._waiting = Sizes()
        self._waiting_known: Counter[float] = Counter()

    def account(self, record: JobRecord, sign: int) -> None:
        """Take in a record, or take it out again."""
        if record.terminal:
            if record.state is not JobState.CANCELLED:
                self._model.learn(record.bytes or 0, work_of(record.pages), sign)
        elif record.pages is not None:
            self._waiting_known[work_of(record.pages)] += sign
        else:
            self._waiting.add(record.bytes or 0, sign)

    def tell(self, record: JobRecord, progress: PageProgress) -> None:
        """Take in how far a document at work is: now its pages are known."""
        self.forget(record.job_id)
        self.told[record.job_id] = progress
        learned = self._learned[record.job_id] = record.bytes or 0, work_of(progress.pages)
        self._model.learn(*learned)

    def forget(self, job_id: str) -> None:
        """Forget how far a document was, since it is not at work any more."""
        if self.told.pop(job_id, None) is not None:
            self._model.learn(*self._learned.pop(job_id), -1)

    def outlook(self, running: Collection[JobRecord], parsers: int) -> Outlook:
        """Return what is done and left now.

        Parameters
        ----------
        running : collection of JobRecord
            The documents at work.
        parsers : int
            How many can be parsed at a time; the others at work wait for a parser.
        """
        model = self._model
        if not model.known:
            return Outlook()
        waiting, begun = self._waiting.copy(), Sizes()
        known = Counter(self._waiting_known)
        share = _HALF * min(1.0, parsers / max(1, len(running) - len(self.told)))
        for record in running:
            told, size = record.job_id in self.told, record.bytes or 0
            if record.pages is not None:
                known[work_of(record.pages)] -= told
            else:
                waiting.add(size, -1 if told else -share)
                begun.add(size, 0 if told else share)
        guess, opened = model.expect(begun), _opened(self.told.values())
        left = _sum(model.expect(waiting), _known(known), opened)
        return Outlook(
            done=model.total - opened.total + guess.total,
            unevenness=model.squares / model.total**2,
            # Of what is begun, all or nothing may be done.
            left=left._replace(sd=sqrt(left.sd**2 + guess.squares)),
            longest=max(opened.largest, max(+known, default=0.0)),
        )


def _known(works: Counter[float]) -> Expected:
    """Return the sum over documents that wait and whose work is known."""
    pairs = (+works).items()
    return Expected(
        sum(count * work for work, count in pairs),
        squares=sum(count * work**2 for work, count in pairs),
        largest=max((work for work, _ in pairs), default=0.0),
    )


def _opened(told: Iterable[PageProgress]) -> Expected:
    """Return the sum of what is left of documents at work.

    The more of one is done, the less are its pages in doubt about how long they take.
    """
    lefts = [(max(one.pages - one.pages_done, 0), one.pages) for one in told]
    return Expected(
        sum(left for left, _ in lefts),
        squares=sum(left**2 * left / max(pages, 1) for left, pages in lefts),
        largest=max((left for left, _ in lefts), default=0.0),
    )


def _sum(*parts: Expected) -> Expected:
    return Expected(
        sum(part.total for part in parts),
        sqrt(sum(part.sd**2 for part in parts)),
        sum(part.squares for part in parts),
        max(part.largest for part in parts),
    )
