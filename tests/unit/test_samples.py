"""The PDFs that come with docnats, and the bad inputs of the tests, as pdfium reads them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium
import pytest

import docnats
from docnats.errors import ParseError
from docnats.parsing import ParseOptions, parse_range
from tests.bad_pdfs import bad_inputs, encrypted_pdf

MEGABYTE = 1_000_000

SAMPLES = {
    "annual-report-1931.pdf": (4, "a labelled plate is a promise kept"),
    "archive-guide.pdf": (7, "The cat may be moved from a volume"),
    "harbour-map.pdf": (1, "Soundings in fathoms"),
    "invoice.pdf": (1, "£ 260.68"),
    "lecture-slides.pdf": (5, "A plate is a letter to the future"),
    "letters-alphabets.pdf": (2, "έρι από τον λόφο"),
    "letters-east-asia.pdf": (1, "そちらの猫にもよろしくお伝えください"),
    "letters-right-to-left.pdf": (1, "הכוכב החדש"),
    "new-star-paper.pdf": (2, "New stars are found by accident"),
    "night-log-1928.pdf": (123, "Saturday 29 December 1928"),
    "photographic-plates.pdf": (1, "The new star is ringed in ink"),
    "plate-catalogue.pdf": (6, "NEW STAR, magnitude 7.0"),
    "saturn-drawing.pdf": (1, ""),
    "scrapbook.pdf": (4, "The price of herring is unchanged"),
    "star-chart.pdf": (1, "Canes Venatici"),
    "telegram.pdf": (1, "ALL CLEAR OVER SKERRAVOE TONIGHT"),
    "turned-pages.pdf": (4, "the binder is left-handed"),
    "visitor-form.pdf": (1, "Open Evening: Visitor's Form"),
    "weather-register.pdf": (1, "Weather Register 1931"),
}
"""The pages of each sample and a phrase somewhere in its text."""


def opened(name: str) -> pypdfium2.PdfDocument:
    return pypdfium2.PdfDocument((files("docnats") / "samples" / name).read_bytes())


def text_of(document: pypdfium2.PdfDocument) -> str:
    pages = [page.get_textpage().get_text_bounded() for page in document]
    return " ".join(" ".join(pages).split())


def test_the_samples_are_those_described_here() -> None:
    assert [path.name for path in docnats.sample_paths()] == sorted(SAMPLES)


def test_all_samples_together_are_smaller_than_a_megabyte() -> None:
    assert sum(path.stat().st_size for path in docnats.sample_paths()) < MEGABYTE


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_its_pages_and_its_phrase(name: str) -> None:
    pages, phrase = SAMPLES[name]
    document = opened(name)
    assert len(document) == pages
    assert phrase in text_of(document)


def test_a_sample_of_a_picture_has_no_text() -> None:
    assert text_of(opened("saturn-drawing.pdf")) == ""


def test_the_turned_pages_are_turned_by_every_quarter() -> None:
    document = opened("turned-pages.pdf")
    assert [page.get_rotation() for page in document] == [0, 90, 180, 270]


def test_the_map_is_cropped_away_from_the_origin() -> None:
    page = opened("harbour-map.pdf")[0]
    left, bottom, right, top = page.get_cropbox()
    assert left > 0
    assert bottom > 0
    assert page.get_size() == pytest.approx((right - left, top - bottom))


def test_the_scrapbook_has_pages_of_four_sizes() -> None:
    assert len({page.get_size() for page in opened("scrapbook.pdf")}) == 4


def test_the_guide_has_bookmarks_and_metadata() -> None:
    document = opened("archive-guide.pdf")
    assert [entry.get_title() for entry in document.get_toc()][1] == "2. Finding a plate"
    assert document.get_metadata_value("Keywords") == "archive, plates, night logs, letters"


def test_the_form_is_a_form() -> None:
    assert opened("visitor-form.pdf").get_formtype() == pdfium.FORMTYPE_ACRO_FORM


def test_the_encrypted_pdf_opens_with_its_password_only() -> None:
    right = "open sesame"
    data = encrypted_pdf(right, pages=2)
    assert "Page 2 line 1" in text_of(pypdfium2.PdfDocument(data, password=right))
    for wrong in (None, "wrong"):
        with pytest.raises(pypdfium2.PdfiumError, match="password"):
            pypdfium2.PdfDocument(data, password=wrong)


@pytest.mark.parametrize("name", bad_inputs())
def test_a_bad_input_is_refused_for_its_reason(name: str, tmp_path: Path) -> None:
    data, error_type = bad_inputs()[name]
    with pytest.raises(pypdfium2.PdfiumError):
        pypdfium2.PdfDocument(data)
    source = tmp_path / name
    source.write_bytes(data)
    with pytest.raises(ParseError) as refused:
        parse_range(str(source), str(tmp_path), 1, 10, ParseOptions())
    assert refused.value.error_type is error_type
