"""PDFs of any geometry, what the parser makes of them, and what a viewer shows."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pypdfium2 as pdfium
from pypdfium2 import raw

from docnats.parsing import ParseOptions, RangeResult, parse_range

__all__ = [
    "A4",
    "SCATTERED",
    "Box",
    "Parsed",
    "Row",
    "parse",
    "pdf_of",
    "rows",
    "show",
    "viewer_boxes",
    "viewer_words",
]

A4 = "/MediaBox [0 0 595 842]"
Row = dict[str, Any]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Parsed:
    result: RangeResult
    pages: list[Row]
    words: list[Row]


def parse(pdf: bytes, folder: Path, *, password: str | None = None, max_pages: int = 100) -> Parsed:
    """Parse a PDF in one range."""
    source = folder / "document.pdf"
    source.write_bytes(pdf)
    options = ParseOptions({"password": password}, max_pages)
    result = parse_range(str(source), str(folder), 1, 100, options)
    return Parsed(result, rows(folder / "pages.parquet"), rows(folder / "words.parquet"))


def rows(path: Path) -> list[Row]:
    table: list[Row] = pq.read_table(path).to_pylist()
    return table


def pdf_of(*pages: tuple[str, str], inherited: str = "", metadata: bytes = b"") -> bytes:
    """Return a PDF of pages given as (entries of the page's dictionary, content stream)."""
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Metadata 4 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] {inherited} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        _stream(metadata, "/Type /Metadata /Subtype /XML"),
    ]
    for n, (entries, content) in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /Contents {6 + 2 * n} 0 R {entries} "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(_stream(content.encode()))
    body = b"%PDF-1.7\n"
    starts = []
    for number, content_ in enumerate(objects, 1):
        starts.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content_)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    return (
        body
        + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n" % (len(objects) + 1, table)
        + (b"<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(body)))
    )


def _stream(content: bytes, entries: str = "") -> bytes:
    head = f"<< /Length {len(content)} {entries} >>\nstream\n".encode()
    return head + content + b"\nendstream"


def show(text: str, matrix: str) -> str:
    """Return the operators that draw a text in 12 points with a text matrix."""
    return f"BT /F1 12 Tf {matrix} Tm ({text}) Tj ET\n"


def viewer_boxes(pdf: bytes, page_index: int = 0) -> dict[str, Box]:
    """Return where PDFium shows each word of a page."""
    return dict(viewer_words(pdfium.PdfDocument(pdf)[page_index]))


def viewer_words(page: pdfium.PdfPage) -> list[tuple[str, Box]]:
    """Return a page's words with their boxes as shown: left, top, right, bottom in points."""
    textpage = page.get_textpage()
    words: list[tuple[str, Box]] = []
    text, corners = "", []
    for index in range(textpage.count_chars() + 1):
        inside = index < textpage.count_chars()
        char = chr(raw.FPDFText_GetUnicode(textpage, index)) if inside else " "
        if char.isspace() or not char.isprintable():
            if text:
                xs, ys = zip(*corners, strict=True)
                words.append((text, (min(xs), min(ys), max(xs), max(ys))))
            text, corners = "", []
            continue
        left, bottom, right, top = textpage.get_charbox(index)
        text += char
        corners += [_shown_at(page, x, y) for x in (left, right) for y in (bottom, top)]
    return words


def _shown_at(page: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    fine = 64  # parts of a point, because PDFium gives whole pixels
    width, height = page.get_size()
    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(
        page, 0, 0, round(width * fine), round(height * fine), 0, x, y, across, down
    )
    return across.value / fine, down.value / fine


SCATTERED = "".join(
    [
        show("Alpha", "1 0 0 1 200 700"),
        show("Rising", "0 1 -1 0 300 300"),
        show("Falling", "0 -1 1 0 400 500"),
        show("Inverted", "-1 0 0 -1 350 250"),
        show("Slanted", ".8 .6 -.6 .8 120 420"),
        show("Mirrored", "-1 0 0 1 480 150"),
        show("Flipped", "1 0 0 -1 150 220"),
    ]
)
