"""Parse one document on the worker's parser processes, range by range."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from docnats import parsing
from docnats.errors import ParseError, ungrouped
from docnats.parsing import PageError, ParseOptions, RangeResult
from docnats.pool import ParserPool
from docnats.worker.bisection import (
    DEATHS,
    Budget,
    OnProgress,
    PageRange,
    Parse,
    Ranges,
    time_limit,
)

__all__ = ["OnProgress", "PageRange", "ParsedDocument", "parse_document"]

MERGE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What is known of a document once its result files are on disk."""

    pages: int
    pages_failed: int
    metadata: dict[str, str]
    page_errors: tuple[PageError, ...] = field(default=())


async def parse_document(
    pool: ParserPool,
    source: Path,
    out_dir: Path,
    options: ParseOptions,
    *,
    pages_per_range: int,
    seconds_for_bad_pages: float,
    on_progress: OnProgress,
) -> ParsedDocument:
    """Parse a PDF into ``pages.parquet`` and ``words.parquet`` under ``out_dir``.

    A range that kills its parser process is tried again in halves, down to the pages that
    do it: they are failed pages, and all others are read.

    Parameters
    ----------
    seconds_for_bad_pages : float
        What parser processes that are killed may take together.
    on_progress : callable
        Called with the pages done, the pages there are and the page ranges that are being
        parsed, whenever a range begins or ends.

    Raises
    ------
    ParseError
        The document as a whole cannot be parsed, or every page of it kills the parser.
    """

    async def parse(first: int, count: int, seconds: float) -> RangeResult:
        return await pool.run(
            parsing.parse_range, str(source), str(out_dir), first, count, options, timeout=seconds
        )

    head, death = await _first_try(parse, pages_per_range)
    ranges = Ranges(head.page_count, Budget(seconds_for_bad_pages), on_progress)
    if death is None:
        ranges.keep(head)
        ranges.add(head.last + 1, pages_per_range)
    else:
        ranges.add(pages_per_range + 1, pages_per_range)
        pages = (1, min(pages_per_range, head.page_count))
        ranges.bury(pages, death, time_limit(pages_per_range))
    with ungrouped():
        async with asyncio.TaskGroup() as lanes:
            # Each job has at most as many ranges in the pool's queue as there are processes,
            # so that a long document does not hold up the short ones behind it.
            for _ in range(min(pool.processes, ranges.left)):
                lanes.create_task(ranges.run(parse))
    errors = ranges.page_errors()
    if death is not None and len(errors) == head.page_count:
        raise _all_lost(death, head.page_count)
    if ranges.results != [head]:
        lost = tuple(ranges.lost)
        await pool.run(parsing.merge_ranges, str(out_dir), lost, timeout=MERGE_SECONDS)
    return ParsedDocument(head.page_count, len(errors), head.metadata, errors)


async def _first_try(parse: Parse, pages_per_range: int) -> tuple[RangeResult, ParseError | None]:
    """Parse the first range; if that kills the parser, say so and only open the document."""
    try:
        return await parse(1, pages_per_range, time_limit(pages_per_range)), None
    except ParseError as death:
        if death.error_type not in DEATHS:
            raise
        try:
            return await parse(1, 0, time_limit(0)), death
        except ParseError:
            raise death from None


def _all_lost(death: ParseError, pages: int) -> ParseError:
    if pages == 1:
        return death
    return ParseError(death.error_type, f"none of its {pages} pages could be read: {death}")
