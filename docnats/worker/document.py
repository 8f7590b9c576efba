"""Parse one document on the worker's parser processes, range by range."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from docnats import parsing
from docnats.errors import ungrouped
from docnats.parsing import PageError, ParseOptions, RangeResult
from docnats.pool import ParserPool

__all__ = ["ParsedDocument", "parse_document"]

RANGE_SECONDS = 30.0
PAGE_SECONDS = 0.5
"""Time limit of a range: generous for honest files, whose slowest page takes 1.4 s."""

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
    on_progress: Callable[[int, int], None],
) -> ParsedDocument:
    """Parse a PDF into ``pages.parquet`` and ``words.parquet`` under ``out_dir``.

    Parameters
    ----------
    on_progress : callable
        Called with the pages done and the pages there are, after each range.

    Raises
    ------
    ParseError
        The document as a whole cannot be parsed.
    """

    async def parse(first: int) -> RangeResult:
        seconds = RANGE_SECONDS + PAGE_SECONDS * pages_per_range
        return await pool.run(
            parsing.parse_range,
            str(source),
            str(out_dir),
            first,
            pages_per_range,
            options,
            timeout=seconds,
        )

    head = await parse(1)
    results = [head]
    done = head.last
    on_progress(done, head.page_count)
    # Each job has at most as many ranges in the pool's queue as there are processes, so that
    # a long document does not hold up the short ones behind it.
    firsts = iter(range(head.last + 1, head.page_count + 1, pages_per_range))

    async def lane(firsts: Iterator[int]) -> None:
        nonlocal done
        for first in firsts:
            result = await parse(first)
            results.append(result)
            done += result.last - result.first + 1
            on_progress(done, head.page_count)

    ranges = math.ceil(head.page_count / pages_per_range)
    with ungrouped():
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(pool.processes, ranges - 1)):
                lanes.create_task(lane(firsts))
    if ranges > 1:
        await pool.run(parsing.merge_ranges, str(out_dir), timeout=MERGE_SECONDS)
    results.sort(key=lambda result: result.first)
    return ParsedDocument(
        pages=head.page_count,
        pages_failed=sum(result.pages_failed for result in results),
        metadata=head.metadata,
        page_errors=tuple(error for result in results for error in result.page_errors),
    )
