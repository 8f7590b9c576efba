"""The page ranges of one document: which are left, which are halved, which are given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from docnats.errors import ErrorType, ParseError
from docnats.parsing import PageError, RangeResult

__all__ = ["DEATHS", "MAX_RETRIES", "Budget", "PageRange", "Ranges", "time_limit"]

DEATHS = frozenset({ErrorType.CRASHED, ErrorType.TIMEOUT, ErrorType.OUT_OF_MEMORY})
"""Ends of a parser process that one page may be guilty of: the others can still be read."""

RANGE_SECONDS = 30.0
PAGE_SECONDS = 0.5
"""Time limit of a range: generous for honest files, whose slowest page takes 1.4 s."""

RETRY_SECONDS = 10.0
"""Time limit of a single page in a second try: 7 times the slowest honest page's."""

RETRY_PAGE_SECONDS = 0.1
"""For each page more: what 99 of 100 honest pages take. A range that is too slow is halved."""

DEATH_SECONDS = 1.0
"""What a crash is taken to cost: 0.1 s as a rule, some seconds when 2 GiB were filled first."""

MAX_RETRIES = 256
"""Tries of halves a document. A bad page in a range of 48 takes 12 at most, so this finds 21
pages that lie apart; where all pages of a range are bad it takes 94."""

PageRange = tuple[int, int]
OnProgress = Callable[[int, int, tuple[PageRange, ...]], None]
Parse = Callable[[int, int, float], Awaitable[RangeResult]]


def time_limit(pages: int, *, short: bool = False) -> float:
    """Return the seconds that a try of so many pages may take; short where one did not end."""
    if short:
        return RETRY_SECONDS + RETRY_PAGE_SECONDS * (pages - 1)
    return RANGE_SECONDS + PAGE_SECONDS * pages


@dataclass(slots=True)
class Budget:
    """What a document may still cost in tries that lead to nothing.

    Parameters
    ----------
    seconds : float
        Of parser processes that are killed in the end; when they are used up, nothing more
        is tried.
    retries : int
        Tries of halves; when they are used up, only ranges never tried before are.
    """

    seconds: float
    retries: int = MAX_RETRIES

    def refusal(self, *, retry: bool) -> str | None:
        """Say why there is no try left, or count it and return None."""
        if self.seconds <= 0:
            return "not read: the time for pages that stop the parser was used up on this document"
        if retry and self.retries <= 0:
            return f"not read: the parser died too often on this document ({MAX_RETRIES} retries)"
        self.retries -= retry
        return None

    def charge(self, seconds: float) -> None:
        """Take what a killed process cost."""
        self.seconds -= seconds


class Ranges:
    """The page ranges of a document whose page count is known.

    A range that kills its parser goes back to the end of the queue as two halves, down to
    single pages. So every page is tried once before any is tried again, and when the budget
    ends, the largest ranges of good pages have been read. After a range that did not end, the
    others get less time as well: many of them would use up the budget at once.

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
        self._page_count = page_count
        self._budget = budget
        self._on_progress = on_progress
        self._queue: deque[tuple[PageRange, bool]] = deque()
        self._running: set[PageRange] = set()
        self._done = 0
        self._endless = False

    @property
    def left(self) -> int:
        """How many ranges wait."""
        return len(self._queue)

    def add(self, first: int, pages_per_range: int) -> None:
        """Queue the pages from ``first`` to the end of the document."""
        for start in range(first, self._page_count + 1, pages_per_range):
            end = min(start + pages_per_range - 1, self._page_count)
            self._queue.append(((start, end), False))

    def keep(self, result: RangeResult) -> None:
        """Take in a range that was read."""
        self.results.append(result)
        self._count(result.last - result.first + 1)

    def bury(self, pages: PageRange, death: ParseError, limit: float) -> None:
        """Queue the halves of a range that killed its parser; a single page is lost."""
        first, last = pages
        endless = death.error_type is ErrorType.TIMEOUT
        self._endless |= endless
        # How long the others lived is not known here: the wait for a free process hides it.
        self._budget.charge(limit if endless else DEATH_SECONDS)
        if first == last:
            self._lose(pages, _page_error(death, limit))
            return
        middle = (first + last) // 2
        self._queue.append(((first, middle), True))
        self._queue.append(((middle + 1, last), True))

    async def run(self, parse: Parse) -> None:
        """Parse range by range until none is left; lanes share the ranges."""
        while self._queue:
            pages, retry = self._queue.popleft()
            refusal = self._budget.refusal(retry=retry)
            if refusal:
                self._lose(pages, refusal)
                continue
            self._running.add(pages)
            self._tell()
            await self._try(parse, pages, retry=retry)

    async def _try(self, parse: Parse, pages: PageRange, *, retry: bool) -> None:
        first, last = pages
        limit = time_limit(last - first + 1, short=retry or self._endless)
        try:
            result = await parse(first, last - first + 1, limit)
        except ParseError as death:
            if death.error_type not in DEATHS:
                raise
            self._running.remove(pages)
            self.bury(pages, death, limit)
        else:
            self._running.remove(pages)
            self.keep(result)

    def _lose(self, pages: PageRange, error: str) -> None:
        first, last = pages
        self.lost.extend(PageError(page_no, error) for page_no in range(first, last + 1))
        self._count(last - first + 1)

    def _count(self, pages: int) -> None:
        self._done += pages
        self._tell()

    def _tell(self) -> None:
        self._on_progress(self._done, self._page_count, tuple(sorted(self._running)))

    def page_errors(self) -> tuple[PageError, ...]:
        """Return all pages that could not be read, in order."""
        errors = [error for result in self.results for error in result.page_errors]
        return tuple(sorted([*errors, *self.lost], key=lambda error: error.page_no))


def _page_error(death: ParseError, limit: float) -> str:
    if death.error_type is ErrorType.TIMEOUT:
        return f"this page was not read within {limit:g} s"
    if death.error_type is ErrorType.OUT_OF_MEMORY:
        return f"this page takes too much memory: {death}"
    return f"the parser crashed on this page: {death}"
