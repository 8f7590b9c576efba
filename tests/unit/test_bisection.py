"""Pages that kill the parser: the others are read, these are named, all within bounds."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats import names
from docnats.errors import ErrorType, ParseError
from docnats.parsing import PageError, ParseOptions, Place, RangeResult, Watch
from docnats.pool import ParserPool
from docnats.worker import document
from docnats.worker.bisection import Budget, Death, Ranges
from docnats.worker.document import ParsedDocument, parse_document
from docnats.worker.limits import Limits
from tests.hostile_pdfs import fan_out
from tests.misbehaviour import die_on_first_page
from tests.pdfs import text_pdf

RANGE = 8
CRASH, TIMEOUT, MEMORY = ErrorType.CRASHED, ErrorType.TIMEOUT, ErrorType.OUT_OF_MEMORY
SECONDS = {CRASH: 0.1, TIMEOUT: 10.0, MEMORY: 3.0}
PRELOAD = ["docnats.parsing.preload"]


class DyingPool:
    """A pool for one document, some pages of which kill the process.

    Parameters
    ----------
    patience : dict of int to int
        After how many deaths a page is read after all.
    notes : bool
        Whether processes get to note their page.
    opens_at : int
        The try from which on the document opens.
    transient : bool
        Whether processes are killed from outside.
    """

    def __init__(
        self,
        pages: int,
        bad: Mapping[int, ErrorType],
        *,
        patience: Mapping[int, int] | None = None,
        notes: bool = True,
        opens_at: int = 1,
        transient: bool = False,
    ) -> None:
        self.processes = 2
        self.pages = pages
        self.bad = bad
        self.patience = patience or {}
        self.notes = notes
        self.opens_at = opens_at
        self.transient = transient
        self.deaths: Counter[int] = Counter()
        self.tries: list[tuple[int, int]] = []
        self.read: list[int] = []
        self.lost: tuple[PageError, ...] = ()
        self.merges = 0
        self.merge_deaths = 0
        self.bookmarks: set[str] = set()
        self.places: dict[str, Place] = {}

    async def run(
        self, function: Any, *args: Any, timeout: float, memory: int = 0
    ) -> RangeResult | None:
        await asyncio.sleep(0)  # so that lanes take turns
        if function.__name__ == "merge_ranges":
            self.merges += 1
            if self.merges <= self.merge_deaths:
                raise ParseError(CRASH, "died while merging")
            (_, self.lost) = args
            return None
        return self._parse(*args)

    def _parse(
        self, source: str, out: str, first: int, count: int, options: Any, watch: Watch
    ) -> RangeResult:
        last = min(self.pages, first + count - 1)
        self.tries.append((first, last))
        assert watch.bookmark not in self.bookmarks  # it may hold what an earlier try noted
        self.bookmarks.add(watch.bookmark)
        if len(self.tries) < self.opens_at:
            self._die(0, CRASH, "died while opening", watch)
        for page in range(first, last + 1):
            if page in self.bad and self.deaths[page] < self.patience.get(page, 1000):
                self.deaths[page] += 1
                self._die(page, self.bad[page], f"died of page {page}", watch)
        self.read.extend(range(first, last + 1))
        return RangeResult(self.pages, first, last, words=1, metadata={"title": "T"})

    def _die(self, page: int, kind: ErrorType, message: str, watch: Watch) -> None:
        if self.notes:
            self.places[watch.bookmark] = Place(
                -SECONDS.get(kind, 0), self.pages if page else 0, page
            )
        raise ParseError(kind, message, transient=self.transient)

    async def parse(
        self, *, seconds: float = 300, progress: list[Any] | None = None
    ) -> ParsedDocument:
        pool: Any = self
        told = [] if progress is None else progress
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(document, "monotonic", lambda: 0.0)
            patch.setattr(document, "read_bookmark", lambda at: self.places.get(str(at)))
            return await parse_document(
                pool,
                Path("in.pdf"),
                Path("out"),
                ParseOptions(),
                pages_per_range=RANGE,
                limits=Limits(2 * seconds),
                on_progress=lambda *news: told.append(news),
            )


def failed(document: ParsedDocument) -> list[int]:
    return [error.page_no for error in document.page_errors]


def sorted_lost(pool: DyingPool) -> list[PageError]:
    return sorted(pool.lost, key=lambda error: error.page_no)


@given(data=st.data(), pages=st.integers(1, 60), notes=st.booleans())
async def test_exactly_the_good_pages_are_read(
    data: st.DataObject, pages: int, notes: bool
) -> None:
    """Each once, whatever pages are bad and however they kill; in a bounded number of tries."""
    bad = data.draw(
        st.dictionaries(st.integers(1, pages), st.sampled_from([CRASH, MEMORY])), label="bad"
    )
    pool = DyingPool(pages, bad, notes=notes)
    if len(bad) == pages or (not notes and bad and min(bad) <= RANGE):
        with pytest.raises(ParseError):
            await pool.parse(seconds=3000)
        return
    document = await pool.parse(seconds=3000)
    assert failed(document) == [error.page_no for error in sorted_lost(pool)] == sorted(bad)
    assert (document.pages, document.pages_failed) == (pages, len(bad))
    assert sorted(pool.read) == [page for page in range(1, pages + 1) if page not in bad]
    assert pool.merges == (pages > RANGE or bool(bad))
    tries_a_page = 3 if notes else 1 + 2 * math.log2(RANGE)
    assert len(pool.tries) <= math.ceil(pages / RANGE) + tries_a_page * len(bad)


@pytest.mark.parametrize("pages", [1, 20])
@pytest.mark.parametrize("kind", [CRASH, TIMEOUT, MEMORY])
async def test_a_page_that_kills_once_gets_one_more_try(kind: ErrorType, pages: int) -> None:
    pool = DyingPool(pages, {1: kind}, patience={1: 1})
    assert (await pool.parse()).pages_failed == 0
    assert sorted(pool.read) == list(range(1, pages + 1))


async def test_a_page_that_kills_twice_is_given_up() -> None:
    pool = DyingPool(20, {3: CRASH})
    assert failed(await pool.parse()) == [3]
    assert pool.deaths == {3: 2}


async def test_the_page_that_was_at_work_is_known_at_once() -> None:
    """No halving: the pages before it, those after it, and then itself."""
    pool = DyingPool(8, {3: CRASH})
    await pool.parse()
    assert pool.tries == [(1, 8), (1, 2), (4, 8), (3, 3)]


async def test_halves_find_the_page_when_the_process_left_no_note() -> None:
    pool = DyingPool(16, {11: CRASH}, notes=False)
    assert failed(await pool.parse()) == [11]
    assert pool.tries[2:] == [(9, 12), (13, 16), (9, 10), (11, 12), (11, 11), (12, 12), (11, 11)]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (CRASH, "the parser crashed on this page: died of page 3"),
        (MEMORY, "this page takes too much memory: died of page 3"),
        (TIMEOUT, "this page takes too long: died of page 3"),
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


async def test_the_only_page_fails_as_it_died_after_two_tries() -> None:
    pool = DyingPool(1, {1: TIMEOUT})
    with pytest.raises(ParseError, match=r"^died of page 1$") as failure:
        await pool.parse()
    assert failure.value.error_type is TIMEOUT
    assert pool.tries == [(1, 1), (1, 1)]


async def test_a_document_that_kills_while_it_is_opened_gets_one_more_try() -> None:
    pool = DyingPool(20, {}, opens_at=2)
    assert (await pool.parse()).pages_failed == 0
    with pytest.raises(ParseError, match="died while opening"):
        await DyingPool(20, {}, opens_at=3).parse()


@pytest.mark.parametrize("pages", [1, 3])
async def test_a_document_lost_to_kills_from_outside_may_be_innocent(pages: int) -> None:
    with pytest.raises(ParseError) as failure:
        await DyingPool(pages, dict.fromkeys(range(1, pages + 1), MEMORY), transient=True).parse()
    assert failure.value.transient


async def test_a_page_is_not_given_up_at_the_second_kill_from_outside() -> None:
    pool = DyingPool(20, {3: MEMORY}, patience={3: 3}, transient=True)
    assert (await pool.parse()).pages_failed == 0


async def test_joining_the_parts_gets_one_more_try() -> None:
    pool = DyingPool(20, {})
    pool.merge_deaths = 1
    assert (await pool.parse()).pages_failed == 0
    pool = DyingPool(20, {})
    pool.merge_deaths = 2
    with pytest.raises(ParseError, match="died while merging"):
        await pool.parse()


async def test_a_process_that_was_taken_over_cannot_keep_its_worker_busy() -> None:
    """By pages that the document has not, each of which would cost the worker some time."""
    too_many, too_far = DyingPool(10**6, {}), DyingPool(20, {})
    too_far._parse = lambda *_: RangeResult(20, 1, 10**6, 1, {})  # type: ignore[method-assign]
    for pool in (too_many, too_far):
        with pytest.raises(ParseError, match="makes no sense") as failure:
            await pool.parse()
        assert failure.value.error_type is CRASH


async def test_nor_by_what_it_notes_before_it_dies() -> None:
    pool = DyingPool(10**6, {1: CRASH})
    with pytest.raises(ParseError, match="died of page 1"):
        await pool.parse()
    assert pool.tries == [(1, RANGE), (1, RANGE)]


@pytest.mark.parametrize("page", [1, 20])
async def test_other_errors_fail_the_document_at_once(page: int) -> None:
    with pytest.raises(ParseError) as failure:
        await DyingPool(30, {page: ErrorType.MALFORMED}).parse()
    assert failure.value.error_type is ErrorType.MALFORMED


async def test_every_page_is_tried_once_before_any_is_tried_again() -> None:
    pool = DyingPool(5 * RANGE, {9: CRASH, 20: CRASH})
    await pool.parse()
    whole = [(start, start + 7) for start in range(1, 40, RANGE)]
    assert pool.tries[: len(whole)] == whole


@pytest.mark.parametrize("endless", [range(1, 30), range(5, 400, 14), range(372, 401)])
async def test_29_endless_pages_cost_no_good_page(endless: range) -> None:
    """Half of the default time limit of a job, 300 s, stops 30 of them after 10 s."""
    pool = DyingPool(400, dict.fromkeys(endless, TIMEOUT))
    assert failed(await pool.parse(seconds=300)) == list(endless)


async def test_time_for_endless_pages_ends() -> None:
    """What is left then is not tried: the job would run into its own limit and lose it all."""
    pool = DyingPool(400, dict.fromkeys(range(9, 400), TIMEOUT))
    document = await pool.parse(seconds=100)
    assert pool.read == list(range(1, 9))
    assert failed(document) == list(range(9, 401))
    assert "time for pages that stop the parser was used up" in document.page_errors[-1].error
    assert sum(pool.deaths.values()) <= 100 / SECONDS[TIMEOUT] + pool.processes


async def test_a_document_of_which_nothing_was_read_when_the_time_ended_fails() -> None:
    pool = DyingPool(400, dict.fromkeys(range(1, 401), TIMEOUT))
    with pytest.raises(ParseError, match="none of its 400 pages could be read") as failure:
        await pool.parse(seconds=100)
    assert failure.value.error_type is TIMEOUT


async def test_crashes_are_bounded_in_number_too() -> None:
    pool = DyingPool(2000, dict.fromkeys(range(1, 2001), CRASH))
    with pytest.raises(ParseError):
        await pool.parse(seconds=300)
    assert sum(pool.deaths.values()) <= 300 + pool.processes


async def test_progress_counts_every_page_once_and_shows_parts() -> None:
    progress: list[Any] = []
    await DyingPool(30, {4: CRASH}).parse(progress=progress)
    done = [news[0] for news in progress]
    assert done == sorted(done)
    assert progress[-1] == (30, 30, ())
    assert any((1, 3) in ranges for _, _, ranges in progress)


def test_a_death_costs_the_budget_what_it_took() -> None:
    budget = Budget(10)
    budget.charge(Death(ParseError(TIMEOUT, ""), seconds=10))
    assert budget.used_up


async def test_a_document_that_wastes_time_goes_on_in_one_process() -> None:
    """At its first endless page; so others have the rest of them."""
    at_work, seen = 0, []

    async def attempt(first: int, count: int) -> RangeResult | Death:
        nonlocal at_work
        at_work += 1
        await asyncio.sleep(0)
        seen.append(at_work)
        at_work -= 1
        if first <= 20 < first + count:
            return Death(ParseError(TIMEOUT, "died"), seconds=10, page_count=400, page_no=20)
        return RangeResult(400, first, first + count - 1, words=1, metadata={})

    ranges = Ranges(400, Budget(300), lambda *_: None)
    ranges.add(1, RANGE)
    await asyncio.gather(*(ranges.run(attempt) for _ in range(4)))
    assert max(seen[:4]) == 4
    assert set(seen[8:]) == {1}
    assert [error.page_no for error in ranges.page_errors()] == [20]
    assert sum(result.last - result.first + 1 for result in ranges.results) == 399


async def parse_really(pool: ParserPool, source: Path, out_dir: Path) -> ParsedDocument:
    return await parse_document(
        pool,
        source,
        out_dir,
        ParseOptions(),
        pages_per_range=4,
        limits=Limits(600),
        on_progress=lambda *_: None,
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every page half a second of processor time."""
    monkeypatch.setattr(Limits, "page_cpu_seconds", lambda *_: 0.5)


async def test_a_real_endless_page_is_named_and_the_others_read(
    impatient: None, tmp_path: Path
) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(fan_out(10, {3}))
    async with ParserPool(2, memory_limit=1 << 30, preload=PRELOAD, workspace=tmp_path) as pool:
        parsed = await parse_really(pool, source, tmp_path)
    says = "this page takes too long: parsing needs too much processor time"
    assert parsed.page_errors == (PageError(3, says),)
    rows = pq.read_table(tmp_path / names.PAGES).to_pylist()
    assert [row["text"] for row in rows] == [
        f"Page {number}" if number != 3 else None for number in range(1, 11)
    ]


class KilledOnce(ParserPool):
    """A pool whose first process is killed from outside, at the first page of its task."""

    pages = 0
    killed = False

    async def run(self, function: Any, *args: Any, timeout: float, memory: int = 0) -> Any:
        if not self.killed:
            self.killed = True
            function, args = die_on_first_page, (args[-1], self.pages)
        return await super().run(function, *args, timeout=timeout)


@pytest.mark.parametrize("pages", [1, 2, 4, 5])
async def test_a_document_whose_process_was_killed_is_read_whole_by_the_next(
    pages: int, tmp_path: Path
) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(text_pdf(pages))
    async with KilledOnce(1, memory_limit=1 << 30, preload=PRELOAD, workspace=tmp_path) as pool:
        pool.pages = pages
        parsed = await parse_really(pool, source, tmp_path)
    assert (pool.killed, parsed.pages, parsed.pages_failed) == (True, pages, 0)
    rows = pq.read_table(tmp_path / names.PAGES).to_pylist()
    assert [row["page_no"] for row in rows] == list(range(1, pages + 1))
    assert all(f"Page {row['page_no']} " in row["text"] for row in rows)


async def test_documents_go_on_while_another_has_endless_pages(
    impatient: None, tmp_path: Path
) -> None:
    """It has one of two processes: it is far from its end when 40 others have ended."""
    async with ParserPool(2, memory_limit=1 << 30, preload=PRELOAD, workspace=tmp_path) as pool:

        async def parse(name: str, content: bytes) -> ParsedDocument:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "document.pdf").write_bytes(content)
            return await parse_really(pool, folder / "document.pdf", folder)

        hostile = asyncio.create_task(parse("hostile", fan_out(400, range(1, 401))))
        async with asyncio.timeout(120):
            good = await asyncio.gather(*(parse(str(n), text_pdf(20)) for n in range(40)))
        assert {parsed.pages_failed for parsed in good} == {0}
        assert not hostile.done()
        hostile.cancel()
        await asyncio.gather(hostile, return_exceptions=True)


@pytest.mark.parametrize("bombs", [{1, 6}, {10}, {3, 4, 5}])
async def test_real_pages_that_eat_memory_are_named_and_the_others_read(
    bombs: set[int], tmp_path: Path
) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(text_pdf(10, bombs=bombs))
    async with ParserPool(2, memory_limit=1 << 30, preload=PRELOAD, workspace=tmp_path) as pool:
        document = await parse_really(pool, source, tmp_path)
    assert failed(document) == sorted(bombs)
    rows = pq.read_table(tmp_path / names.PAGES).to_pylist()
    assert [row["page_no"] for row in rows] == list(range(1, 11))
    assert {row["page_no"] for row in rows if row["error"]} == bombs
    assert all(f"Page {row['page_no']} " in row["text"] for row in rows if not row["error"])
    words = pq.read_table(tmp_path / names.WORDS)["page_no"].to_pylist()
    assert words == sorted(words)
    assert set(words) == set(range(1, 11)) - bombs
