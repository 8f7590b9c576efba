"""The page ranges of one document: which are left, which are split, which are given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from docnats.errors import ErrorType, ParseError
from docnats.parsing import PageError, RangeResult

__all__ = [
    "DEATHS",
    "TRIES",
    "Attempt",
    "Budget",
    "Death",
    "OnProgress",
    "PageRange",
    "Ranges",
]

DEATHS = frozenset({ErrorType.CRASHED, ErrorType.TIMEOUT, ErrorType.OUT_OF_MEMORY})
"""Ends of a parser process that one page may be guilty of: the others can still be read."""

DEATH_SECONDS = 1.0
"""The least a death is taken to cost; so the time for them also bounds their number."""

PATIENCE_SECONDS = 5.0
"""A document that has wasted more goes on in one parser process; crashes take 0.1 s."""

TRIES = 2
"""Of a page alone or in a range, each on a fresh process, before it is given up."""

TRIES_WHEN_KILLED = 4
"""The same for a process that was killed from outside, which need not be the page's fault."""

PageRange = tuple[int, int]
OnProgress = Callable[[int, int, tuple[PageRange, ...]], None]


@dataclass(frozen=True, slots=True)
class Death:
    """How a try of a range ended its parser process.

    Attributes
    ----------
    error : ParseError
        What the process died of.
    seconds : float
        How long it was at work.
    page_count : int
        Pages of the document, or 0 if it was not yet open.
    page_no : int
        The page it was at, or 0 if that is not known.
    """

    error: ParseError
    seconds: float = DEATH_SECONDS
    page_count: int = 0
    page_no: int = 0


Attempt = Callable[[int, int], Awaitable[RangeResult | Death]]


@dataclass(slots=True)
class Budget:
    """What a document may cost in tries that lead to nothing.

    Parameters
    ----------
    seconds : float
        Of parser processes that die; when they are used up, nothing more is tried.
    """

    seconds: float
    spent: float = field(default=0.0, init=False)

    def charge(self, death: Death) -> None:
        """Count what a process cost that died."""
        self.spent += max(DEATH_SECONDS, death.seconds)

    @property
    def used_up(self) -> bool:
        """Whether nothing more may be tried."""
        return self.spent >= self.seconds

    @property
    def impatient(self) -> bool:
        """Whether the document has wasted so much that others come first."""
        return self.spent > PATIENCE_SECONDS


class Ranges:
    """The page ranges of a document whose page count is known.

    A range that kills its parser goes back to the end of the queue in parts: the pages
    before the one it was at, and those after it; that page itself gets another try when all
    others are done. Where the page is not known, the parts are halves. So when the budget
    ends, as many pages have been read as can be, and every page lost has killed a process.

    Parameters
    ----------
    page_count : int
        Pages of the document.
    budget : Budget
        What failing tries may cost; one for the whole document.
    on_progress : callable
        Told the pages done, the page count and the ranges at work.

    Attributes
    ----------
    results : list of RangeResult
        The ranges that could be read.
    lost : list of PageError
        The pages that cost their parser process; in no result.
    """

    def __init__(self, page_count: int, budget: Budget, on_progress: OnProgress) -> None:
        self.results: list[RangeResult] = []
        self.lost: list[PageError] = []
        self._first_death: ParseError | None = None
        self._deaths: dict[int, ParseError] = {}
        self._page_count = page_count
        self._budget = budget
        self._on_progress = on_progress
        self._queue: deque[PageRange] = deque()
        self._suspects: deque[int] = deque()
        self._tries: dict[int, int] = {}
        self._running: set[PageRange] = set()
        self._lanes = 0
        self._done = 0

    @property
    def left(self) -> int:
        """How many ranges wait."""
        return len(self._queue) + len(self._suspects)

    @property
    def in_one(self) -> bool:
        """Whether one range is the whole document, so that its files are the result."""
        return len(self.results) == 1 and self.results[0].whole

    def add(self, first: int, pages_per_range: int) -> None:
        """Queue the pages from ``first`` to the end of the document."""
        for start in range(first, self._page_count + 1, pages_per_range):
            self._queue.append((start, min(start + pages_per_range - 1, self._page_count)))

    def keep(self, result: RangeResult) -> None:
        """Take in a range that was read."""
        self.results.append(result)
        for page_no in range(result.first, result.last + 1):
            self._deaths.pop(page_no, None)
        self._count(result.last - result.first + 1)

    def bury(self, pages: PageRange, death: Death) -> None:
        """Queue the parts of a range that killed its parser."""
        self._budget.charge(death)
        self._first_death = self._first_death or death.error
        first, last = pages
        if first == last:
            self._suspect(first, death.error)
        elif first <= death.page_no <= last:
            self._suspect(death.page_no, death.error)
            self._enqueue(first, death.page_no - 1)
            self._enqueue(death.page_no + 1, last)
        else:
            middle = (first + last) // 2
            self._enqueue(first, middle)
            self._enqueue(middle + 1, last)

    def _enqueue(self, first: int, last: int) -> None:
        if first <= last:
            self._queue.append((first, last))

    def _suspect(self, page_no: int, error: ParseError) -> None:
        self._deaths[page_no] = error
        self._tries[page_no] = tries = self._tries.get(page_no, 0) + 1
        if tries < (TRIES_WHEN_KILLED if error.transient else TRIES):
            self._suspects.append(page_no)
        else:
            self._lose((page_no, page_no))

    async def run(self, attempt: Attempt) -> None:
        """Parse range by range until none is left; lanes share the ranges.

        All lanes but one end when the document tries the patience of others.
        """
        self._lanes += 1
        while self.left and not (self._budget.impatient and self._lanes > 1):
            pages = self._next()
            if self._budget.used_up:
                self._lose(pages)
                continue
            self._running.add(pages)
            self._tell()
            first, last = pages
            outcome = await attempt(first, last - first + 1)
            self._running.remove(pages)
            if isinstance(outcome, Death):
                self.bury(pages, outcome)
            else:
                self.keep(outcome)
        self._lanes -= 1

    def _next(self) -> PageRange:
        if self._queue:
            return self._queue.popleft()
        page_no = self._suspects.popleft()
        return page_no, page_no

    def _lose(self, pages: PageRange) -> None:
        first, last = pages
        for page_no in range(first, last + 1):
            self.lost.append(PageError(page_no, _page_error(self._deaths.get(page_no))))
        self._count(last - first + 1)

    def _count(self, pages: int) -> None:
        self._done += pages
        self._tell()

    def _tell(self) -> None:
        self._on_progress(self._done, self._page_count, tuple(sorted(self._running)))

    def all_lost(self) -> ParseError | None:
        """Return what to say of a document when processes died and no page of it was read."""
        if self._first_death is None or len(self.page_errors()) < self._page_count:
            return None
        deaths = [self._deaths[page_no] for page_no in sorted(self._deaths)]
        death = next(iter(deaths), self._first_death)
        if self._page_count == 1:
            return death
        return ParseError(
            death.error_type,
            f"none of its {self._page_count:,} pages could be read: {death}",
            transient=any(error.transient for error in [death, *deaths]),
        )

    def page_errors(self) -> tuple[PageError, ...]:
        """Return all pages that could not be read, in order."""
        errors = [error for result in self.results for error in result.page_errors]
        return tuple(sorted([*errors, *self.lost], key=lambda error: error.page_no))


def _page_error(death: ParseError | None) -> str:
    if death is None:
        return "not read: the time for pages that stop the parser was used up on this document"
    if death.error_type is ErrorType.TIMEOUT:
        return f"this page takes too long: {death}"
    if death.error_type is ErrorType.OUT_OF_MEMORY:
        return f"this page takes too much memory: {death}"
    return f"the parser crashed on this page: {death}"
