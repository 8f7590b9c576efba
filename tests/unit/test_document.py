"""A document in one piece: two tries, no limits for single pages. In ranges: test_bisection.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docnats.errors import ErrorType, ParseError
from docnats.parsing import PageError, ParseOptions, RangeResult, parse_range
from docnats.worker.document import ParsedDocument, parse_whole
from docnats.worker.limits import Limits

RESULT = RangeResult(90, 1, 90, 5, {"title": "T"}, (PageError(7, "no glyphs"),))
CRASH = ParseError(ErrorType.CRASHED, "died of SIGSEGV")


class DyingPool:
    """A pool whose processes meet some ends before one succeeds."""

    def __init__(self, *ends: ParseError) -> None:
        self._ends = list(ends)
        self.calls: list[Any] = []
        self.timeouts: list[float] = []

    async def run(
        self, function: Callable[..., Any], *args: Any, timeout: float, memory: int
    ) -> RangeResult:
        assert function is parse_range
        self.calls.append(args)
        self.timeouts.append(timeout)
        if self._ends:
            raise self._ends.pop(0)
        return RESULT


async def parse(pool: Any, folder: Path) -> ParsedDocument:
    options = ParseOptions(max_pages=1000, parts=("more.json",))
    return await parse_whole(pool, Path("a.pdf"), folder, options, limits=Limits(33))


async def test_it_is_parsed_at_once_within_the_time_of_the_job(tmp_path: Path) -> None:
    pool = DyingPool()
    parsed = await parse(pool, tmp_path)
    assert parsed == ParsedDocument(90, {"title": "T"}, (PageError(7, "no glyphs"),))
    assert parsed.pages_failed == 1
    ((source, out_dir, first, count, options, watch),) = pool.calls
    assert (source, out_dir, first, count) == ("a.pdf", str(tmp_path), 1, 1000)
    assert (options.parts, watch.open_seconds, watch.page_seconds) == (("more.json",), 0, 0)
    assert pool.timeouts == [33]


async def test_a_death_is_forgiven_once(tmp_path: Path) -> None:
    pool = DyingPool(CRASH)
    assert (await parse(pool, tmp_path)).pages == 90
    first, second = (call[-1].bookmark for call in pool.calls)
    assert first != second


async def test_a_second_death_is_the_documents(tmp_path: Path) -> None:
    pool = DyingPool(CRASH, ParseError(ErrorType.OUT_OF_MEMORY, "too much"), CRASH)
    with pytest.raises(ParseError, match="too much"):
        await parse(pool, tmp_path)
    assert len(pool.calls) == 2


async def test_what_is_no_death_is_not_tried_again(tmp_path: Path) -> None:
    pool = DyingPool(ParseError(ErrorType.PROCESSOR, "no model"))
    with pytest.raises(ParseError, match="no model"):
        await parse(pool, tmp_path)
    assert len(pool.calls) == 1
