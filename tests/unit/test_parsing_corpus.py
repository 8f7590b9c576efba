"""Hundreds of real PDFs; ``DOCNATS_CORPUS`` says where they are."""

from __future__ import annotations

import asyncio
import csv
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq
import pypdfium2 as pdfium
import pytest

from docnats.parsing import ParseOptions, RangeResult, merge_ranges, parse_range
from docnats.pool import ParserPool
from tests.viewer import Box, Row, rows, viewer_words

T = TypeVar("T")

CORPUS = os.environ.get("DOCNATS_CORPUS", "")
pytestmark = [
    pytest.mark.skipif(not CORPUS, reason="DOCNATS_CORPUS names no folder with a corpus"),
    pytest.mark.timeout(1200),
]

PRELOAD = ("docnats.parsing.preload",)
MEMORY_LIMIT = 2 << 30
PAGES_PER_RANGE = 48

HONEST_SECONDS = 120.0

WORDS_TOLERANCE = 0.02
"""Share by which the word count of a file may differ from the manifest's.

The manifest was made with docling-parse 7.23.1, which gives the very same counts. Other
releases within the bounds may split a few words in another way, at hyphens or in formulas.
"""


def manifest(folder: str) -> dict[str, dict[str, str]]:
    with (Path(CORPUS) / "manifest.csv").open(newline="", encoding="utf-8") as file:
        entries = {row["file"]: row for row in csv.DictReader(file)}
    return {name: row for name, row in entries.items() if name.startswith(f"{folder}/")}


async def parse(pool: ParserPool, name: str, out_dir: Path, seconds: float) -> list[RangeResult]:
    """Parse one file of the corpus range by range, as a worker does."""
    source, options = str(Path(CORPUS) / name), ParseOptions()
    out_dir.mkdir(parents=True)
    results: list[RangeResult] = []
    first, page_count = 1, 1
    while first <= page_count:
        result: RangeResult = await pool.run(
            parse_range, source, str(out_dir), first, PAGES_PER_RANGE, options, timeout=seconds
        )
        results.append(result)
        first, page_count = result.last + 1, result.page_count
    if len(results) > 1:
        await pool.run(merge_ranges, str(out_dir), timeout=seconds)
    return results


def _pool(workspace: Path) -> ParserPool:
    return ParserPool(
        2,
        memory_limit=MEMORY_LIMIT,
        preload=PRELOAD,
        readable=[Path(CORPUS)],
        workspace=workspace,
    )


async def test_every_good_file_gives_all_its_pages_and_words(tmp_path: Path) -> None:
    expected = manifest("good")
    assert expected

    async def compare(pool: ParserPool, name: str, out_dir: Path) -> str | None:
        results = await parse(pool, name, out_dir, HONEST_SECONDS)
        words = sum(result.words for result in results)
        failed = sum(len(result.page_errors) for result in results)
        row = expected[name]
        pages_written = pq.read_metadata(out_dir / "pages.parquet").num_rows
        words_written = pq.read_metadata(out_dir / "words.parquet").num_rows
        agrees = (
            failed == 0
            and results[0].page_count == pages_written == int(row["pages"])
            and words == words_written
            and abs(words - int(row["words"])) <= WORDS_TOLERANCE * int(row["words"])
        )
        return None if agrees else f"{name}: {pages_written} pages, {words} words, {failed} failed"

    async with _pool(tmp_path) as pool:
        tasks = [
            compare(pool, name, tmp_path / str(number)) for number, name in enumerate(expected)
        ]
        differences = [difference for difference in await asyncio.gather(*tasks) if difference]
    assert differences == []


def test_words_of_good_files_are_where_a_viewer_shows_them(tmp_path: Path) -> None:
    """Compares words that stand once on their page, on the first two pages of each file."""
    apart: list[float] = []
    for number, name in enumerate(manifest("good")):
        source, out_dir = Path(CORPUS) / name, tmp_path / str(number)
        out_dir.mkdir()
        parse_range(str(source), str(out_dir), 1, 2, ParseOptions())
        (pages,), (words,) = (map(rows, out_dir.glob(f"{table}*")) for table in ("pages", "words"))
        with pdfium.PdfDocument(source) as document:
            for page in pages:
                shown = document[page["page_no"] - 1]
                assert (page["width"], page["height"]) == pytest.approx(shown.get_size(), abs=0.1)
                assert page["rotation"] == shown.get_rotation()
                own = [word for word in words if word["page_no"] == page["page_no"]]
                apart += distances(own, viewer_words(shown))
    assert len(apart) > 10_000
    assert sum(distance > 1 for distance in apart) <= 0.001 * len(apart)


def distances(words: list[Row], shown: list[tuple[str, Box]]) -> list[float]:
    """Return how far the centres of the same words are apart, in heights of the word."""
    theirs, ours = once(shown), once([(word["text"], word) for word in words])
    found = []
    for text in theirs.keys() & ours.keys():
        word, (x0, y0, x1, y1) = ours[text], theirs[text]
        dx = word["x0"] + word["x1"] - x0 - x1
        dy = word["y0"] + word["y1"] - y0 - y1
        height = min(word["y1"] - word["y0"], word["x1"] - word["x0"])
        found.append(max(abs(dx), abs(dy)) / 2 / max(height, 1))
    return found


def once(entries: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return the entries whose text occurs once and is long enough to tell."""
    entries = list(entries)
    counts = Counter(text for text, _ in entries)
    return {text: entry for text, entry in entries if counts[text] == 1 and len(text) > 2}
