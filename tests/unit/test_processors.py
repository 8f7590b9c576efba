"""Processors: what they are, which there are, what their readers make of documents."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import docnats
from docnats.errors import ConfigError, ErrorType, ParseError
from docnats.parsing import CELL_FIELDS, PageContent, ParseOptions, RangeResult, parse_range
from docnats.processors import DEFAULT, Processor, find_processor, known, offered
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import HTML_PAGE, text_pdf
from tests.plugins import EXAMPLE, installed, write_metadata
from tests.viewer import rows

SESAME = "open sesame"


def read(name: str, pdf: bytes, folder: Path, **options: Any) -> RangeResult:
    """Put a document through a processor, as a parser process does."""
    processor = find_processor(name)
    source = folder / "document.pdf"
    source.write_bytes(pdf)
    how = ParseOptions(processor.settings(options), reader=processor.reader, parts=processor.parts)
    return parse_range(str(source), str(folder), 1, 100, how)


class Failing:
    """A document of a plugin that goes wrong in the way a test says."""

    page_count = 2
    metadata: Mapping[str, str] = {}

    def __init__(self, how: Mapping[str, Any]) -> None:
        self._how = how

    def read_page(self, page_no: int) -> PageContent:
        if page_no == 1 and self._how.get("page"):
            raise LookupError("no glyphs")
        return PageContent.of_text(f"page {page_no}")

    def write_parts(self, folder: Path) -> None:
        if self._how.get("memory"):
            raise MemoryError
        if self._how.get("parts"):
            raise LookupError("no counts")


@contextmanager
def open_failing(source: str, options: Mapping[str, Any]) -> Iterator[Failing]:
    if options.get("open"):
        raise LookupError("no model")
    yield Failing(options)


class Boxed(Failing):
    """A document of a plugin that knows where words are."""

    page_count = 1

    def read_page(self, page_no: int) -> PageContent:
        word = {"text": "Saturn", "font_name": "/Times", "left_to_right": True}
        corners = zip("0123", (72, 112, 112, 72), (700, 700, 712, 712), strict=True)
        for corner, x, y in corners:
            word |= {f"r_x{corner}": float(x), f"r_y{corner}": float(y)}
        return PageContent(
            width=595,
            height=842,
            rotation=0,
            text="Saturn",
            n_lines=1,
            quality=1.0,
            words=[tuple(word[name] for name in CELL_FIELDS)],
            line_numbers=[1],
        )


@contextmanager
def open_boxed(source: str, options: Mapping[str, Any]) -> Iterator[Boxed]:
    yield Boxed(options)


def test_a_plugin_can_give_words_with_boxes(tmp_path: Path) -> None:
    how = ParseOptions(reader=f"{__name__}:open_boxed")
    assert parse_range("any.pdf", str(tmp_path), 1, 9, how).words == 1
    (word,) = rows(tmp_path / "words.parquet")
    assert (word["text"], word["font"], word["line_no"]) == ("Saturn", "Times", 1)
    assert [word[side] for side in ("x0", "y0", "x1", "y1")] == [72, 130, 112, 142]
    assert rows(tmp_path / "pages.parquet")[0]["n_words"] == 1


def fail(folder: Path, **how: bool) -> RangeResult:
    options = ParseOptions(how, reader=f"{__name__}:open_failing", parts=("counts.json",))
    return parse_range("any.pdf", str(folder), 1, 9, options)


def test_those_that_come_along_are_known_and_the_parser_is_the_default() -> None:
    assert set(known()) >= {"docling-parse", "pypdfium2", "docling", "noop"}
    assert set(offered()) >= {DEFAULT, "pypdfium2", "noop"}
    assert all(processor.version for processor in offered().values())


def test_one_that_requires_what_is_not_installed_is_known_but_not_offered() -> None:
    needy = Processor(
        "needy", "needy", "needy:open_reader", requires=("json", "no_such_module.part")
    )
    assert not needy.runs_here
    assert needy.version == ""


def test_an_unknown_one_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no processor 'ocr'.*docling-parse, pypdfium2, .*noop"):
        find_processor("ocr")
    with pytest.raises(ConfigError, match="live workers also offer: magic"):
        find_processor("ocr", ["magic", DEFAULT])
    with pytest.raises(ConfigError, match="install its package here too"):
        find_processor("ocr", ["ocr"])


def test_options_are_checked_and_travel_as_they_were_given() -> None:
    docling = find_processor("docling")
    assert docling.check({"ocr": "true"}) == {"ocr": True}
    assert docling.settings({"ocr": True}) == {"password": None, "ocr": True, "tables": True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 1}, "speed: there is no such option. It has: password, ocr, tables"),
        ({"ocr": "often"}, "ocr: Input should be a valid boolean"),
        ({"password": [SESAME]}, "password: Input should be a valid string"),
    ],
)
def test_a_wrong_option_is_refused_without_its_value(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match="options of the processor docling") as caught:
        find_processor("docling").check(options)
    assert message in str(caught.value)
    assert SESAME not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "no spaces"},
        {"name": ""},
        {"parts": ("more.json",)},
        {"whole": True, "parts": ("../raw/x.pdf",)},
        {"whole": True, "parts": ("pages.parquet",)},
    ],
)
def test_a_processor_that_could_do_harm_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Processor(**{"name": "n", "package": "p", "reader": "m:f", **wrong})


def test_plain_text_is_that_of_the_page_with_its_size_and_counts(tmp_path: Path) -> None:
    result = read("pypdfium2", text_pdf(3), tmp_path)
    assert (result.page_count, result.first, result.last, result.page_errors) == (3, 1, 3, ())
    page = rows(tmp_path / "pages.parquet")[1]
    assert page["text"].splitlines()[0] == "Page 2 line 1 of the archive"
    assert (page["width"], page["height"], page["rotation"]) == (595, 842, 0)
    assert (page["n_words"], page["n_lines"], page["quality"], page["error"]) == (21, 3, 1.0, None)
    assert pq.read_table(tmp_path / "words.parquet").num_rows == 0


def test_plain_text_has_the_words_that_the_parser_finds_in_the_samples(tmp_path: Path) -> None:
    (paper,) = (path for path in docnats.sample_paths() if "paper" in path.name)
    found: dict[str, list[str]] = {}
    for name in (DEFAULT, "pypdfium2"):
        read(name, paper.read_bytes(), tmp_path)
        text = " ".join(page["text"] for page in rows(tmp_path / "pages.parquet"))
        found[name] = sorted(set(text.split()))
    both = set(found[DEFAULT]) & set(found["pypdfium2"])
    assert len(both) > 0.9 * len(found[DEFAULT])


@pytest.mark.parametrize(
    ("pdf", "password", "error_type"),
    [
        (HTML_PAGE, None, ErrorType.NOT_A_PDF),
        (b"%PDF-1.7 and nothing more", None, ErrorType.MALFORMED),
        (encrypted_pdf(SESAME), None, ErrorType.ENCRYPTED),
        (encrypted_pdf(SESAME), "wrong", ErrorType.ENCRYPTED),
    ],
)
def test_plain_text_of_a_bad_document_fails_as_with_the_parser(
    pdf: bytes, password: str | None, error_type: ErrorType, tmp_path: Path
) -> None:
    for name in (DEFAULT, "pypdfium2"):
        with pytest.raises(ParseError) as caught:
            read(name, pdf, tmp_path, password=password)
        assert caught.value.error_type is error_type


def test_plain_text_takes_a_password_and_does_without(tmp_path: Path) -> None:
    assert read("pypdfium2", encrypted_pdf(SESAME), tmp_path, password=SESAME).page_count == 1
    assert read("pypdfium2", text_pdf(1), tmp_path, password=SESAME).page_count == 1


def test_nothing_is_done_to_any_file_at_all(tmp_path: Path) -> None:
    result = read("noop", HTML_PAGE, tmp_path)
    assert (result.page_count, result.words) == (1, 0)
    assert rows(tmp_path / "pages.parquet")[0]["text"] == ""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"open": True}, "open_failing failed: LookupError: no model"),
        ({"parts": True}, "open_failing failed: LookupError: no counts"),
        ({}, "it has not written counts.json"),
    ],
)
def test_a_plugin_that_fails_is_told_apart_from_a_bad_document(
    how: dict[str, bool], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ParseError, match=message) as caught:
        fail(tmp_path, **how)
    assert caught.value.error_type is ErrorType.PROCESSOR


def test_a_page_on_which_a_plugin_fails_costs_that_page_only(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text("{}")
    result = fail(tmp_path, page=True)
    assert [(error.page_no, error.error) for error in result.page_errors] == [(1, "no glyphs")]


def test_a_plugin_without_memory_ends_its_process(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        fail(tmp_path, memory=True)


def test_the_example_is_found_by_its_entry_point(tmp_path: Path) -> None:
    write_metadata(EXAMPLE, tmp_path)
    with installed(tmp_path, EXAMPLE):
        example = find_processor("wordcount")
        assert example in offered().values()
        assert (example.version, example.parts) == ("0.1.0", ("word_counts.json",))
        read("wordcount", text_pdf(3), tmp_path, top=2)
    assert (tmp_path / "word_counts.json").read_text() == '{"page": 9, "line": 9}'
    assert "wordcount" not in known()


@pytest.mark.parametrize(
    ("code", "logged"),
    [
        ("raise OSError('no model')", "cannot be loaded: OSError: no model"),
        ("PROCESSOR = 1", "is no docnats.processors.Processor"),
        (
            "from docnats.processors import Processor\nPROCESSOR = Processor('a', 'b', 'c:d')",
            "is no docnats.processors.Processor of that name",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_left_out_and_harms_no_other(
    code: str, logged: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken_plugin.py").write_text(code)
    project = (
        '[project]\nname = "broken"\nversion = "1"\n'
        '[project.entry-points."docnats.processors"]\nbroken = "broken_plugin:PROCESSOR"\n'
    )
    (tmp_path / "pyproject.toml").write_text(project)
    write_metadata(tmp_path, tmp_path)
    with caplog.at_level(logging.ERROR), installed(tmp_path):
        assert DEFAULT in known()
        assert "broken" not in known()
    assert logged in caplog.text


def test_a_plugin_cannot_take_the_place_of_one_that_comes_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "thief_plugin.py").write_text(
        "from docnats.processors import Processor\n"
        "PROCESSOR = Processor('docling-parse', 'thief', 'thief_plugin:open_reader')\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "thief"\nversion = "1"\n'
        '[project.entry-points."docnats.processors"]\ndocling-parse = "thief_plugin:PROCESSOR"\n'
    )
    write_metadata(tmp_path, tmp_path)
    with installed(tmp_path):
        assert known()[DEFAULT].package == "docling-parse"
    assert "there is a processor 'docling-parse' already" in caplog.text
