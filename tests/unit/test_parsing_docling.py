"""What the reader of docling makes of its documents; docling itself is in ``stack``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from docling_core.types.doc import DocItemLabel, DoclingDocument, ProvenanceItem, Size
from docling_core.types.doc.base import BoundingBox

from docnats.errors import ErrorType, ParseError
from docnats.parsing import ParseOptions, RangeResult, docling, parse_range
from docnats.processors import find_processor
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import text_pdf
from tests.viewer import rows


def converted() -> DoclingDocument:
    """A document as docling makes them, of two pages."""
    document = DoclingDocument(name="a")
    for page_no in (1, 2):
        document.add_page(page_no=page_no, size=Size(width=595, height=842))
        box = BoundingBox(l=72, t=72, r=200, b=84)
        where = ProvenanceItem(page_no=page_no, bbox=box, charspan=(0, 9))
        document.add_heading(f"Heading {page_no}", prov=where)
        document.add_text(DocItemLabel.PARAGRAPH, f"Saturn has {page_no} rings", prov=where)
    return document


def read(pdf: bytes, folder: Path, **options: Any) -> RangeResult:
    processor = find_processor("docling")
    source = folder / "document.pdf"
    source.write_bytes(pdf)
    how = ParseOptions(processor.settings(options), reader=processor.reader, parts=processor.parts)
    return parse_range(str(source), str(folder), 1, 100, how)


def test_pages_are_markdown_and_the_whole_is_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def convert(source: str, options: Any) -> docling.Conversion:
        calls.append(options)
        return docling.Conversion(converted(), {})

    monkeypatch.setattr(docling, "convert", convert)
    result = read(text_pdf(2), tmp_path, ocr=True)
    assert (result.page_count, result.page_errors) == (2, ())
    assert calls == [{"password": None, "ocr": True, "tables": True}]
    first, second = rows(tmp_path / "pages.parquet")
    assert first["text"] == "## Heading 1\n\nSaturn has 1 rings"
    assert (second["text"], second["width"]) == ("## Heading 2\n\nSaturn has 2 rings", 595)
    markdown = (tmp_path / "document.md").read_text()
    assert markdown.count("## Heading") == 2
    document = json.loads((tmp_path / "docling.json").read_text())
    assert DoclingDocument.model_validate(document).export_to_markdown() == markdown


def test_a_page_that_docling_fails_on_is_a_failed_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = docling.Conversion(converted(), {2: "no layout"})
    monkeypatch.setattr(docling, "convert", lambda *_: failed)
    result = read(text_pdf(2), tmp_path)
    assert [(error.page_no, error.error) for error in result.page_errors] == [(2, "no layout")]


def test_what_docling_cannot_convert_fails_the_document_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(options: Any) -> Any:
        raise LookupError("no weights")

    monkeypatch.setattr(docling, "_converter", fail)
    with pytest.raises(
        ParseError, match=r"LookupError: no weights.*docling-tools models"
    ) as caught:
        read(text_pdf(2), tmp_path)
    assert caught.value.error_type is ErrorType.PROCESSOR


def test_a_locked_document_is_not_even_shown_to_docling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docling, "convert", lambda *_: pytest.fail("it was shown"))
    with pytest.raises(ParseError) as caught:
        read(encrypted_pdf("sesame"), tmp_path)
    assert caught.value.error_type is ErrorType.ENCRYPTED
