"""Parse one document on the worker's parser processes, range by range."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


PageRange = tuple[int, int]
OnProgress = Callable[[int, int, tuple[PageRange, ...]], None]


async def parse_document(
    pool: ParserPool,
    source: Path,
    out_dir: Path,
    options: ParseOptions,
    *,
    pages_per_range: int,
    on_progress: OnProgress,
) -> ParsedDocument:
    """Parse a PDF into ``pages.parquet`` and ``words.parquet`` under ``out_dir``.

    Parameters
    ----------
    on_progress : callable
        Called with the pages done, the pages there are and the page ranges that are being
        parsed, whenever a range begins or ends.

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
    ranges = _Ranges(head, pages_per_range, on_progress)
    with ungrouped():
        async with asyncio.TaskGroup() as lanes:
            # Each job has at most as many ranges in the pool's queue as there are processes,
            # so that a long document does not hold up the short ones behind it.
            for _ in range(min(pool.processes, ranges.left)):
                lanes.create_task(ranges.run(parse))
    if len(ranges.results) > 1:
        await pool.run(parsing.merge_ranges, str(out_dir), timeout=MERGE_SECONDS)
    return ranges.document()


class _Ranges:
    """The page ranges of a document after its first one, which told how many there are."""

    def __init__(self, head: RangeResult, pages_per_range: int, on_progress: OnProgress) -> None:
        self.results = [head]
        self._head = head
        self._pages_per_range = pages_per_range
        self._on_progress = on_progress
        self._done = head.last
        self._running: set[PageRange] = set()
        firsts = range(head.last + 1, head.page_count + 1, pages_per_range)
        self.left = len(firsts)
        self._firsts = iter(firsts)
        self._tell()

    async def run(self, parse: Callable[[int], Awaitable[RangeResult]]) -> None:
        """Parse range by range until none is left; lanes share the ranges."""
        for first in self._firsts:
            pages = first, min(first + self._pages_per_range - 1, self._head.page_count)
            self._running.add(pages)
            self._tell()
            result = await parse(first)
            self._running.remove(pages)
            self.results.append(result)
            self._done += result.last - result.first + 1
            self._tell()

    def _tell(self) -> None:
        self._on_progress(self._done, self._head.page_count, tuple(sorted(self._running)))

    def document(self) -> ParsedDocument:
        results = sorted(self.results, key=lambda result: result.first)
        return ParsedDocument(
            pages=self._head.page_count,
            pages_failed=sum(result.pages_failed for result in results),
            metadata=self._head.metadata,
            page_errors=tuple(error for result in results for error in result.page_errors),
        )
