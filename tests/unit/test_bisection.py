"""Pages that kill the parser: the others are read, these are named, all within bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats import names
from docnats.errors import ErrorType, ParseError
from docnats.parsing import PageError, ParseOptions, RangeResult
from docnats.pool import ParserPool
from docnats.worker import bisection
from docnats.worker.bisection import MAX_RETRIES, Budget, time_limit
from docnats.worker.document import ParsedDocument, parse_document
from tests.pdfs import text_pdf

RANGE = 8
CRASH, TIMEOUT, MEMORY = ErrorType.CRASHED, ErrorType.TIMEOUT, ErrorType.OUT_OF_MEMORY


class DyingPool:
    """A pool for one document, some pages of which kill the process."""

    def __init__(self, pages: int, bad: Mapping[int, ErrorType], *, opens: bool = True) -> None:
        self.processes = 2
        self.pages = pages
        self.bad = bad
        self.opens = opens
        self.tries: list[tuple[int, int]] = []
        self.limits: list[float] = []
        self.read: list[int] = []
        self.lost: tuple[PageError, ...] = ()
        self.merges = 0

    async def run(self, function: Any, *args: Any, timeout: float) -> RangeResult | None:
        if function.__name__ == "merge_ranges":
            self.merges += 1
            (_, self.lost) = args
            return None
        _, _, first, count, _ = args
        last = min(self.pages, first + count - 1)
        self.tries.append((first, last))
        self.limits.append(timeout)
        for page in range(first, last + 1):
            if page in self.bad:
                raise ParseError(self.bad[page], f"died of page {page}")
        if not self.opens:
            raise ParseError(CRASH, "died while opening")
        self.read.extend(range(first, last + 1))
        return RangeResult(self.pages, first, last, words=1, metadata={"title": "T"})

    async def parse(
        self, *, seconds: float = 300, progress: list[Any] | None = None
    ) -> ParsedDocument:
        pool: Any = self
        told = [] if progress is None else progress
        return await parse_document(
            pool,
            Path("in.pdf"),
            Path("out"),
            ParseOptions(),
            pages_per_range=RANGE,
            seconds_for_bad_pages=seconds,
            on_progress=lambda *news: told.append(news),
        )


def failed(document: ParsedDocument) -> list[int]:
    return [error.page_no for error in document.page_errors]


@given(data=st.data(), pages=st.integers(1, 60))
async def test_exactly_the_good_pages_are_read(data: st.DataObject, pages: int) -> None:
    """Each once, whatever pages are bad and however they kill; in a bounded number of tries."""
    bad = data.draw(
        st.dictionaries(st.integers(1, pages), st.sampled_from([CRASH, MEMORY])), label="bad"
    )
    pool = DyingPool(pages, bad)
    if len(bad) == pages:
        with pytest.raises(ParseError):
            await pool.parse()
    else:
        document = await pool.parse()
        assert failed(document) == [error.page_no for error in sorted_lost(pool)] == sorted(bad)
        assert (document.pages, document.pages_failed) == (pages, len(bad))
    assert sorted(pool.read) == [page for page in range(1, pages + 1) if page not in bad]
    ranges = math.ceil(pages / RANGE)
    assert len(pool.tries) <= ranges + 1 + 2 * len(bad) * math.log2(RANGE)
    assert pool.merges == (pages > RANGE or bool(bad)) * (len(bad) < pages)


def sorted_lost(pool: DyingPool) -> list[PageError]:
    return sorted(pool.lost, key=lambda error: error.page_no)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (CRASH, "the parser crashed on this page: died of page 3"),
        (MEMORY, "this page takes too much memory: died of page 3"),
        (TIMEOUT, "this page was not read within 10 s"),
    ],
)
async def test_a_lost_page_says_what_it_did(kind: ErrorType, says: str) -> None:
    document = await DyingPool(20, {3: kind}).parse()
    assert document.page_errors == (PageError(3, says),)
    assert document.metadata == {"title": "T"}


async def test_a_first_page_that_kills_hides_neither_the_page_count_nor_the_metadata() -> None:
    document = await DyingPool(100, {1: CRASH}).parse()
    assert (document.pages, failed(document), document.metadata) == (100, [1], {"title": "T"})


async def test_a_document_whose_pages_are_all_bad_fails_with_the_first_type() -> None:
    with pytest.raises(ParseError, match="none of its 3 pages") as failure:
        await DyingPool(3, {1: MEMORY, 2: CRASH, 3: CRASH}).parse()
    assert failure.value.error_type is MEMORY


async def test_the_only_page_fails_as_it_died_after_one_try() -> None:
    pool = DyingPool(1, {1: TIMEOUT})
    with pytest.raises(ParseError, match=r"^died of page 1$") as failure:
        await pool.parse()
    assert failure.value.error_type is TIMEOUT
    assert pool.tries == [(1, 1), (1, 0)]


async def test_a_document_that_cannot_even_be_opened_is_not_bisected() -> None:
    pool = DyingPool(20, {}, opens=False)
    with pytest.raises(ParseError, match="died while opening"):
        await pool.parse()
    assert len(pool.tries) == 2


@pytest.mark.parametrize("page", [1, 20])
async def test_other_errors_fail_the_document_at_once(page: int) -> None:
    with pytest.raises(ParseError) as failure:
        await DyingPool(30, {page: ErrorType.MALFORMED}).parse()
    assert failure.value.error_type is ErrorType.MALFORMED


async def test_every_page_is_tried_once_before_any_is_tried_again() -> None:
    pool = DyingPool(5 * RANGE, {9: CRASH, 20: CRASH})
    await pool.parse()
    assert sorted(pool.tries[:5]) == [(start, start + 7) for start in range(1, 40, RANGE)]


async def test_time_for_endless_pages_ends() -> None:
    """What is left then is not tried: the job would run into its own limit and lose it all."""
    seconds = 100.0
    pool = DyingPool(400, dict.fromkeys(range(9, 400), TIMEOUT))
    document = await pool.parse(seconds=seconds)
    assert pool.read == list(range(1, 9))
    assert failed(document) == list(range(9, 401))
    assert "time for pages that stop the parser was used up" in document.page_errors[-1].error
    spent = sum(pool.limits[1:])
    assert spent < seconds + pool.processes * time_limit(RANGE)


async def test_endless_pages_in_many_ranges_leave_the_ranges_between_them_readable() -> None:
    bad = dict.fromkeys(range(1, 400, 2 * RANGE), TIMEOUT)
    pool = DyingPool(400, dict(list(bad.items())[:10]))
    await pool.parse()
    assert {page for page in range(1, 401) if (page - 1) // RANGE % 2} <= set(pool.read)


async def test_retries_end_but_new_ranges_are_still_tried() -> None:
    bad = dict.fromkeys(range(1, 2000, 4), CRASH)
    pool = DyingPool(2000 + RANGE, bad)
    document = await pool.parse(seconds=10_000)
    assert len(pool.tries) <= math.ceil(pool.pages / RANGE) + 1 + MAX_RETRIES
    assert set(range(2001, 2009)) <= set(pool.read)
    assert sorted([*pool.read, *failed(document)]) == list(range(1, pool.pages + 1))
    assert any("died too often" in error.error for error in document.page_errors)


async def test_progress_counts_every_page_once_and_shows_halves() -> None:
    progress: list[Any] = []
    await DyingPool(30, {4: CRASH}).parse(progress=progress)
    done = [news[0] for news in progress]
    assert done == sorted(done)
    assert progress[-1] == (30, 30, ())
    assert any((1, 4) in ranges for _, _, ranges in progress)


def test_a_second_try_of_a_page_is_short() -> None:
    assert time_limit(1, short=True) == bisection.RETRY_SECONDS
    assert time_limit(48) == 54
    assert Budget(0).refusal(retry=False) is not None


@pytest.mark.parametrize("bombs", [{1, 6}, {10}, {3, 4, 5, 6, 7}])
async def test_real_pages_that_eat_memory_are_named_and_the_others_read(
    bombs: set[int], tmp_path: Path
) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(text_pdf(10, bombs=bombs))
    preload = ["docnats.parsing.preload"]
    async with ParserPool(2, memory_limit=1 << 30, preload=preload) as pool:
        document = await parse_document(
            pool,
            source,
            tmp_path,
            ParseOptions(),
            pages_per_range=4,
            seconds_for_bad_pages=300,
            on_progress=lambda *_: None,
        )
    assert failed(document) == sorted(bombs)
    rows = pq.read_table(tmp_path / names.PAGES).to_pylist()
    assert [row["page_no"] for row in rows] == list(range(1, 11))
    assert {row["page_no"] for row in rows if row["error"]} == bombs
    assert all(f"Page {row['page_no']} " in row["text"] for row in rows if not row["error"])
    words = pq.read_table(tmp_path / names.WORDS)["page_no"].to_pylist()
    assert words == sorted(words)
    assert set(words) == set(range(1, 11)) - bombs
    assert {path.name for path in tmp_path.glob("*.parquet")} == {names.PAGES, names.WORDS}
