"""Documents, good and bad, through the parser in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from docnats import names
from docnats.errors import ErrorType, ParseError
from docnats.parsing import (
    PageError,
    ParseOptions,
    Place,
    RangeResult,
    merge_ranges,
    native,
    parse_range,
    probe,
    read_bookmark,
    warm_up,
)
from docnats.parsing.tables import PAGES_SCHEMA, WORDS_SCHEMA
from docnats.pool.forkserver import ADDED
from tests.bad_pdfs import bad_inputs, encrypted_pdf
from tests.pdfs import text_pdf
from tests.viewer import A4, SCATTERED, parse, pdf_of, rows

SESAME = "open sesame"


def test_the_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    parse(text_pdf(2), tmp_path)
    pages, words = (
        pq.read_schema(tmp_path / name).remove_metadata() for name in (names.PAGES, names.WORDS)
    )
    assert pages == PAGES_SCHEMA
    assert words == WORDS_SCHEMA
    assert [f"{field.name}: {field.type}" for field in PAGES_SCHEMA] == [
        "page_no: int32",
        "width: float",
        "height: float",
        "rotation: int16",
        "text: string",
        "n_words: int32",
        "n_lines: int32",
        "quality: float",
        "error: string",
    ]
    assert [f"{field.name}: {field.type}" for field in WORDS_SCHEMA] == [
        "page_no: int32",
        "line_no: int32",
        "text: string",
        "x0: float",
        "y0: float",
        "x1: float",
        "y1: float",
        "angle: float",
        f"font: {pa.dictionary(pa.int32(), pa.string())}",
        "left_to_right: bool",
    ]


def test_words_and_lines_follow_the_text(tmp_path: Path) -> None:
    parsed = parse(text_pdf(2, lines=2), tmp_path)
    assert parsed.pages[1]["text"] == "Page 2 line 1 of the archive\nPage 2 line 2 of the archive"
    second = [word for word in parsed.words if word["page_no"] == 2]
    assert [word["line_no"] for word in second] == [1] * 7 + [2] * 7
    assert parsed.pages[1]["n_words"] == len(second) == 14
    assert parsed.pages[1]["n_lines"] == 2
    assert second[0]["font"] == "Helvetica"
    assert second[0]["left_to_right"] is True
    assert parsed.result == RangeResult(2, 1, 2, words=28, metadata={})


def test_an_empty_page_has_no_words_and_no_quality(tmp_path: Path) -> None:
    parsed = parse(pdf_of((A4, "")), tmp_path)
    assert parsed.words == []
    assert parsed.pages[0]["text"] == ""
    assert parsed.pages[0]["quality"] is None
    assert parsed.pages[0]["error"] is None


def test_a_page_that_fails_is_a_row_and_the_others_are_read(tmp_path: Path) -> None:
    parsed = parse(pdf_of((A4, SCATTERED), ("/MediaBox [0 0 0 0]", ""), (A4, SCATTERED)), tmp_path)
    (error,) = parsed.result.page_errors
    failed = parsed.pages[1]
    assert (failed["page_no"], failed["error"]) == (2, error.error)
    assert error.page_no == 2
    assert failed["text"] is failed["width"] is failed["quality"] is None
    assert failed["n_words"] == failed["n_lines"] == 0
    assert {word["page_no"] for word in parsed.words} == {1, 3}


def test_ranges_joined_are_the_same_as_one_range(tmp_path: Path) -> None:
    """In page order, whatever the order the ranges were parsed in; and again, if need be."""
    whole = parse(text_pdf(10), tmp_path)
    apart = tmp_path / "apart"
    apart.mkdir()
    source = str(tmp_path / "document.pdf")
    results = [parse_range(source, str(apart), first, 4, ParseOptions()) for first in (9, 1, 5)]
    assert [(result.first, result.last) for result in results] == [(9, 10), (1, 4), (5, 8)]
    assert {result.page_count for result in results} == {10}
    for _ in range(2):
        merge_ranges(str(apart))
        assert rows(apart / names.PAGES) == whole.pages
        assert rows(apart / names.WORDS) == whole.words


def test_a_lost_page_takes_the_place_of_what_its_process_had_begun_to_write(
    tmp_path: Path,
) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(text_pdf(3))
    parse_range(str(source), str(tmp_path), 1, 1, ParseOptions())
    parse_range(str(source), str(tmp_path), 3, 1, ParseOptions())
    (tmp_path / "pages-00000002.parquet").write_bytes(b"PAR1 half a file")
    (tmp_path / "words-00000002.parquet").write_bytes(b"")
    merge_ranges(str(tmp_path), [PageError(2, "it crashed")])
    pages = rows(tmp_path / names.PAGES)
    assert [(row["page_no"], row["error"]) for row in pages] == [
        (1, None),
        (2, "it crashed"),
        (3, None),
    ]
    assert {word["page_no"] for word in rows(tmp_path / names.WORDS)} == {1, 3}


def test_a_bookmark_is_read_only_as_far_as_it_goes(tmp_path: Path) -> None:
    """A process that was taken over may have made the file larger than the worker's memory."""
    with (tmp_path / "place").open("wb") as file:
        file.truncate(1 << 40)
    assert read_bookmark(tmp_path / "place") == Place(began=0)


def test_ranges_without_a_word_join(tmp_path: Path) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(pdf_of((A4, ""), (A4, SCATTERED), (A4, "")))
    for first in (1, 2, 3):
        parse_range(str(source), str(tmp_path), first, 1, ParseOptions())
    merge_ranges(str(tmp_path))
    assert len(rows(tmp_path / names.PAGES)) == 3
    assert {word["page_no"] for word in rows(tmp_path / names.WORDS)} == {2}


@pytest.mark.parametrize("name", bad_inputs())
def test_what_cannot_be_parsed_is_told_apart(name: str, tmp_path: Path) -> None:
    content, error_type = bad_inputs()[name]
    with pytest.raises(ParseError) as failure:
        parse(content, tmp_path)
    assert failure.value.error_type is error_type
    assert str(tmp_path) not in str(failure.value), "the message is for the user"


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><p>Sign in", "looks like HTML"),
        (b"PK\x03\x04rest", "ZIP archive or an Office document"),
        (b"\x89PNG\r\n\x1a\n", "PNG image"),
        (b"<?xml version='1.0'?><a/>", "looks like XML"),
        (b"Dear all,\n", "looks like text"),
        (bytes(range(256)), "no %PDF header"),
    ],
)
def test_a_file_that_is_no_pdf_is_called_what_it_looks_like(
    content: bytes, looks: str, tmp_path: Path
) -> None:
    with pytest.raises(ParseError, match=looks) as failure:
        parse(content, tmp_path)
    assert failure.value.error_type is ErrorType.NOT_A_PDF


def test_a_header_may_stand_after_a_few_bytes(tmp_path: Path) -> None:
    assert parse(b"junk\n" * 20 + text_pdf(1), tmp_path).result.page_count == 1


def test_the_parsers_own_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="the PDF is damaged: unable to find"):
        parse(b"%PDF-1.7\nnothing else", tmp_path)


def test_a_document_without_pages_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="no pages") as failure:
        parse(pdf_of(), tmp_path)
    assert failure.value.error_type is ErrorType.MALFORMED


def test_a_document_with_too_many_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="7 pages, more than the limit of 6") as failure:
        parse(text_pdf(7), tmp_path, max_pages=6)
    assert failure.value.error_type is ErrorType.TOO_LARGE


def test_a_password_opens_an_encrypted_document(tmp_path: Path) -> None:
    parsed = parse(encrypted_pdf(SESAME), tmp_path, password=SESAME)
    assert parsed.pages[0]["text"].startswith("Page 1 line 1")


@pytest.mark.parametrize(
    ("password", "says"), [(None, "needs a password"), ("wrong", "does not open it")]
)
def test_without_its_password_a_document_is_encrypted(
    password: str | None, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ParseError, match=says) as failure:
        parse(encrypted_pdf(SESAME), tmp_path, password=password)
    assert failure.value.error_type is ErrorType.ENCRYPTED


def test_a_password_does_no_harm_to_a_document_that_needs_none(tmp_path: Path) -> None:
    assert parse(text_pdf(1), tmp_path, password=SESAME).result.page_count == 1


def test_a_password_shows_in_no_repr() -> None:
    assert SESAME not in repr(ParseOptions({"password": SESAME}))


def test_a_parser_goes_on_after_a_document_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ParseError):
        parse(b"%PDF-1.7\n", tmp_path)
    assert parse(text_pdf(1), tmp_path).result.words == 21


def test_the_installed_parser_fits() -> None:
    """The contract with docling-parse's native objects, checked by what they give."""
    warm_up()


def test_a_parser_that_does_not_fit_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "_EXPECTED", {})
    with pytest.raises(ParseError, match=r"install docling-parse>=7\.22\.4,<8") as failure:
        warm_up()
    assert failure.value.error_type is ErrorType.INTERNAL


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_a_lack_of_memory_is_no_failed_page(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must reach the pool, which ends the process: nothing in it can be relied on."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(native, "read_page", fail)
    with pytest.raises(MemoryError):
        parse(text_pdf(1), tmp_path)


def test_importing_the_parser_loads_no_more_than_it_needs() -> None:
    program = (
        "import sys, docnats.parsing, docnats.parsing.native\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'pandas', 'pydantic', 'docling_core', 'PIL', 'aioboto3', 'nats'}\n"
        "print(sorted(loaded & heavy))\n"
        "print(sorted(name for name in sys.modules if name.startswith('docnats.')))\n"
    )
    ours = [
        "docnats.errors",
        *sorted(
            f"docnats.parsing{module}"
            for module in (
                "",
                ".bookmark",
                ".metadata",
                ".native",
                ".pages",
                ".probe",
                ".quality",
                ".ranges",
                ".reader",
                ".rotation",
                ".signature",
                ".tables",
            )
        ),
    ]
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout == f"[]\n{ours}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_preloading_leaves_one_thread_and_no_pandas_but_for_those_who_want_it() -> None:
    """A fork server with more threads than one may fork a process that hangs."""
    program = (
        "import os, sys, docnats.parsing.preload, pyarrow\n"
        "pyarrow.array([[1.0]])\n"
        "print(len(os.listdir('/proc/self/task')), 'pandas' in sys.modules)\n"
        "import pandas\n"
        "print(len(pandas.DataFrame([1])))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ADDED},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout == "1 False\n1\n"
