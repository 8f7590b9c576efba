"""Files that mean harm, on real parser processes: each ends as it should, none hurts another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from docnats.errors import ErrorType, ParseError
from docnats.parsing import ParseOptions
from docnats.parsing.metadata import read_metadata
from docnats.parsing.quality import text_quality
from docnats.parsing.rotation import Turns, turns_in
from docnats.pool import ParserPool
from docnats.worker.document import parse_document
from docnats.worker.limits import Limits
from tests.hostile_pdfs import DONE, HOSTILE, PAGES_FAILED
from tests.pdfs import text_pdf

PRELOAD = ["docnats.parsing.preload"]
MEMORY_LIMIT = 768 << 20
CPU_SECONDS = 3.0
"""A page's processor time here; like the memory, less than in earnest, to be quick."""


async def outcome(pool: ParserPool, folder: Path, content: bytes) -> str:
    """Parse a file as a worker does; return the end of its row."""
    folder.mkdir()
    source = folder / "document.pdf"
    source.write_bytes(content)
    try:
        parsed = await parse_document(
            pool,
            source,
            folder,
            ParseOptions(),
            pages_per_range=48,
            limits=Limits(600),
            on_progress=lambda *_: None,
        )
    except ParseError as error:
        return error.error_type
    if parsed.pages_failed == parsed.pages:
        return ErrorType.MALFORMED
    return PAGES_FAILED if parsed.pages_failed else DONE


@pytest.mark.timeout(900)
async def test_every_hostile_file_ends_as_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limits, "page_cpu_seconds", lambda *_: CPU_SECONDS)
    async with ParserPool(
        2, memory_limit=MEMORY_LIMIT, preload=PRELOAD, workspace=tmp_path
    ) as pool:
        room = asyncio.Semaphore(pool.processes)

        async def end(name: str) -> str:
            async with room:
                return await outcome(pool, tmp_path / name, HOSTILE[name].make())

        ended = dict(zip(HOSTILE, await asyncio.gather(*map(end, HOSTILE)), strict=True))
        assert await outcome(pool, tmp_path / "good", text_pdf(3)) == DONE
    wrong = {
        name: (end, sorted(HOSTILE[name].ends))
        for name, end in ended.items()
        if end not in HOSTILE[name].ends
    }
    assert wrong == {}


# Reading that took time by the square of the size; the limit of time a test has is the proof.


def test_text_of_openings_without_an_end_is_scored() -> None:
    assert text_quality("GLYPH<" * 300_000) == 1.0


def test_metadata_nested_without_end_is_read() -> None:
    nested = "<rdf:Description><dc:title>" * 60_000 + "</dc:title></rdf:Description>" * 60_000
    packet = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{nested}</rdf:RDF>'
    )
    assert read_metadata(packet) == {}


def test_object_streams_without_an_end_may_hide_a_rotation(tmp_path: Path) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(text_pdf() + b"/ObjStm stream\n" * 1_000_000)
    assert turns_in(str(source)) is Turns.ANY
    source.write_bytes(text_pdf())
    assert turns_in(str(source)) is Turns.NONE
