"""Parse one document on the worker's parser processes, range by range."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from docnats.errors import ErrorType, ParseError, ungrouped
from docnats.parsing import (
    PageError,
    ParseOptions,
    RangeResult,
    Watch,
    merge_ranges,
    parse_range,
    read_bookmark,
)
from docnats.pool import ParserPool
from docnats.worker.bisection import (
    DEATHS,
    TRIES,
    Attempt,
    Budget,
    Death,
    OnProgress,
    PageRange,
    Ranges,
)
from docnats.worker.limits import OPEN_CPU_SECONDS, Limits

__all__ = ["OnProgress", "PageRange", "ParsedDocument", "parse_document", "parse_whole"]

MERGE_SECONDS = 600.0

_Call = tuple[str, str, int, int, ParseOptions, Watch]
"""What :func:`parse_range` is called with."""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What is known of a document once its result files are on disk."""

    pages: int
    metadata: dict[str, str]
    page_errors: tuple[PageError, ...]

    @property
    def pages_failed(self) -> int:
        """How many pages could not be read."""
        return len(self.page_errors)


async def parse_document(
    pool: ParserPool,
    source: Path,
    out_dir: Path,
    options: ParseOptions,
    *,
    pages_per_range: int,
    limits: Limits,
    on_progress: OnProgress,
) -> ParsedDocument:
    """Parse a PDF into ``pages.parquet`` and ``words.parquet`` under ``out_dir``.

    A page that kills its parser process gets one more try on a fresh one, by itself; if that
    dies too, it is a failed page, and all others are read.

    Parameters
    ----------
    limits : Limits
        What the document may cost.
    on_progress : callable
        Called with the pages done, the pages there are and the page ranges that are being
        parsed, whenever a range begins or ends.

    Raises
    ------
    ParseError
        The document as a whole cannot be parsed, or every page of it kills the parser; it is
        ``transient`` if the process of one was killed from outside.
    """
    tries = itertools.count()

    async def attempt(first: int, count: int) -> RangeResult | Death:
        # A bookmark of its own: what an earlier try noted would be taken for this one's.
        place = str(out_dir / f"try-{next(tries)}")
        seconds = limits.page_cpu_seconds(count)
        watch = Watch(place, open_seconds=OPEN_CPU_SECONDS, page_seconds=seconds)
        call = (str(source), str(out_dir), first, count, options, watch)
        return await _survive(pool, call, limits.range_seconds(count), limits.memory)

    head = await _first_try(attempt, pages_per_range)
    ranges = Ranges(head.page_count, Budget(limits.bad_pages_seconds), on_progress)
    ranges.add(pages_per_range + 1, pages_per_range)
    if isinstance(head, Death):
        ranges.bury((1, min(pages_per_range, head.page_count)), head)
    else:
        ranges.keep(head)
    with ungrouped():
        async with asyncio.TaskGroup() as lanes:
            # Each job has at most as many ranges in the pool's queue as there are processes,
            # so that a long document does not hold up the short ones behind it.
            for _ in range(min(pool.processes, ranges.left)):
                lanes.create_task(ranges.run(attempt))
    all_lost = ranges.all_lost()
    if all_lost is not None:
        raise all_lost
    if not ranges.in_one:
        await _merge(pool, out_dir, ranges.lost)
    return ParsedDocument(head.page_count, ranges.results[0].metadata, ranges.page_errors())


async def parse_whole(
    pool: ParserPool, source: Path, out_dir: Path, options: ParseOptions, *, limits: Limits
) -> ParsedDocument:
    """Parse a PDF in one piece, with a processor that wants it so.

    A death of the parser process costs the document, not a page, unless the second try goes
    better. There are no limits of processor time.

    Parameters
    ----------
    limits : Limits
        What the document may cost: each try may take all of the job's time.

    Raises
    ------
    ParseError
        The document cannot be parsed, or two processes died of it.
    """

    async def attempt(number: int) -> RangeResult | Death:
        watch = Watch(str(out_dir / f"try-{number}"), open_seconds=0, page_seconds=0)
        call = (str(source), str(out_dir), 1, options.max_pages, options, watch)
        return await _survive(pool, call, limits.seconds, limits.memory)

    outcome = await attempt(1)
    if isinstance(outcome, Death):
        outcome = await attempt(2)
    if isinstance(outcome, Death):
        raise outcome.error
    return ParsedDocument(outcome.page_count, outcome.metadata, outcome.page_errors)


async def _survive(
    pool: ParserPool, call: _Call, seconds: float, memory: int
) -> RangeResult | Death:
    """Parse a range, or say how and where that ended the process."""
    _, _, first, count, options, watch = call
    try:
        result = await pool.run(parse_range, *call, timeout=seconds, memory=memory)
    except ParseError as error:
        if error.error_type not in DEATHS:
            raise
        return _death(error, Path(watch.bookmark), options.max_pages)
    # A process that was taken over may say anything, and each page it names costs this one time.
    total, last = result.page_count, min(first + count - 1, result.page_count)
    if not 1 <= total <= options.max_pages or (result.first, result.last) != (first, last):
        told = f"pages {result.first} to {result.last} of {total}"
        msg = f"what the parser process says of itself makes no sense: it has read {told}"
        raise ParseError(ErrorType.CRASHED, msg)
    return result


def _death(error: ParseError, place: Path, max_pages: int) -> Death:
    seen = read_bookmark(place)
    if seen is None or seen.page_count > max_pages:
        return Death(error)
    return Death(error, monotonic() - seen.began, seen.page_count, seen.page_no)


async def _first_try(attempt: Attempt, pages_per_range: int) -> RangeResult | Death:
    """Parse the first range; what comes back knows the page count.

    Raises
    ------
    ParseError
        The document cannot be opened: two processes died of that.
    """
    for tries_left in reversed(range(TRIES)):
        outcome = await attempt(1, pages_per_range)
        if isinstance(outcome, Death) and not outcome.page_count and not tries_left:
            raise outcome.error
        if outcome.page_count:
            break
    return outcome


async def _merge(pool: ParserPool, out_dir: Path, lost: Sequence[PageError]) -> None:
    for tries_left in reversed(range(TRIES)):
        try:
            await pool.run(merge_ranges, str(out_dir), tuple(lost), timeout=MERGE_SECONDS)
            return
        except ParseError as death:
            if death.error_type not in DEATHS or not tries_left:
                raise
