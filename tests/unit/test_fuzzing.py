"""PDFs with bytes changed, cut out, doubled or put in: each ends in a way that has a name."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import docnats
from docnats.errors import ErrorType, ParseError
from docnats.parsing import ParseOptions
from docnats.pool import ParserPool
from docnats.worker.document import parse_document
from docnats.worker.limits import Limits
from tests.bad_pdfs import encrypted_pdf
from tests.hostile_pdfs import HOSTILE, flate, page
from tests.pdfs import text_pdf

PRELOAD = ["docnats.parsing.preload"]
NAMED = set(ErrorType) - {ErrorType.INTERNAL}

SEEDS = [
    *(path.read_bytes() for path in docnats.sample_paths() if path.stat().st_size < 60_000),
    text_pdf(3),
    encrypted_pdf(""),
    page(stream=flate(b"BT /F1 9 Tf 9 9 Td (Hello) Tj ET " * 20)),
    HOSTILE["cmap_of_garbage"].make(),
    HOSTILE["glyph_draws_itself"].make(),
    HOSTILE["xref_stream_of_two_billion_entries"].make(),
]

TOKENS = [
    *(b"<<", b">>", b"[", b"]", b"(", b")", b"<", b"endobj", b"endstream", b"stream\n", b"null"),
    *(b"1 0 R", b"3 0 R", b"4 0 R", b"/Kids", b"/Length 0", b"/Filter /LZWDecode", b"/Type /Page"),
    *(b"-1", b"99999999999", b"1e99", b"0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"%", b"BT", b"q "),
]


def damage(content: bytes, seed: int) -> bytes:
    """Return a PDF with some damage behind its header, evenly spread."""
    random, damaged = Random(seed), bytearray(content)  # noqa: S311 - not for secrets
    for _ in range(random.choice([1, 2, 5, 20])):
        at, size = random.randrange(8, len(damaged)), random.randrange(1, 64)
        match random.choice(["flip"] * 4 + ["token"] * 4 + ["cut", "double", "end"]):
            case "flip":
                damaged[at] = random.randrange(256)
            case "token":
                token = random.choice(TOKENS)
                damaged[at : at + random.choice([0, len(token)])] = token
            case "cut":
                del damaged[at : at + size]
            case "double":
                damaged[at:at] = damaged[at : at + size] * random.randrange(1, 50)
            case "end":
                del damaged[max(at, len(damaged) * 9 // 10) :]
    return bytes(damaged)


def damaged() -> st.SearchStrategy[bytes]:
    return st.builds(damage, st.sampled_from(SEEDS), st.integers(0, 2**32))


class Parser:
    """Parses on real processes, from code that is not asynchronous."""

    def __init__(self, runner: asyncio.Runner, pool: ParserPool) -> None:
        self._runner = runner
        self._pool = pool

    def end(self, content: bytes) -> ErrorType | None:
        """Return how a document failed, or None; anything unforeseen is raised."""
        with tempfile.TemporaryDirectory(dir=self._pool.workspace) as folder:
            source = Path(folder) / "document.pdf"
            source.write_bytes(content)
            try:
                self._runner.run(self._parse(source))
            except ParseError as error:
                return error.error_type
        return None

    async def _parse(self, source: Path) -> None:
        await parse_document(
            self._pool,
            source,
            source.parent,
            ParseOptions(),
            pages_per_range=48,
            limits=Limits(120),
            on_progress=lambda *_: None,
        )


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Limits, "page_cpu_seconds", lambda *_: 2.0)
        pool = ParserPool(1, memory_limit=768 << 20, preload=PRELOAD)
        runner.run(pool.__aenter__())
        yield Parser(runner, pool)
        runner.run(pool.close())


@pytest.mark.timeout(600)
@settings(
    max_examples=150,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(content=damaged())
def test_a_damaged_document_is_read_or_fails_with_a_type(content: bytes, parser: Parser) -> None:
    assert parser.end(content) in {None, *NAMED}


def test_the_processes_are_fit_after_it(parser: Parser) -> None:
    for content in (text_pdf(3), HOSTILE["operators_without_operands"].make(), text_pdf(3)):
        ended = parser.end(content)
    assert ended is None
