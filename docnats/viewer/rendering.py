"""Pages drawn by PDFium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pypdfium2 as pdfium
from PIL import Image

from docnats.errors import ErrorType, ParseError

__all__ = ["Drawing", "draw_page", "page_count"]

_PDFIUM = threading.Lock()  # PDFium must not be called from two threads at once
_MAX_PIXELS = 2000  # on the long side


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn page."""

    image: Image.Image
    width: float
    """Of the page as shown, in points."""
    height: float
    scale: float
    """Pixels a point."""


def page_count(pdf: bytes, password: str | None = None) -> int:
    """Return how many pages a PDF has; no page is read.

    Raises
    ------
    ParseError
        ``encrypted`` or ``malformed``: it cannot be opened.
    """
    with _opened(pdf, password) as document:
        return len(document)


def draw_page(pdf: bytes, page: int, scale: float, password: str | None = None) -> Drawing:
    """Draw a page with its annotations and form fields.

    Parameters
    ----------
    pdf : bytes
        The document.
    page : int
        The page, from 1.
    scale : float
        Pixels a point; less is used for pages that would be over 2,000 pixels wide or high.
    password : str, optional
        For encrypted documents.

    Raises
    ------
    ParseError
        ``encrypted`` or ``malformed``: the document or the page cannot be opened.
    """
    with _opened(pdf, password) as document:
        document.init_forms()
        try:
            opened = document[page - 1]
        except pdfium.PdfiumError as error:
            msg = f"page {page} is damaged: {error}"
            raise ParseError(ErrorType.MALFORMED, msg) from error
        with closing(opened):
            width, height = opened.get_size()
            scale = min(scale, _MAX_PIXELS / max(width, height))
            with closing(opened.render(scale=scale)) as bitmap:
                return Drawing(bitmap.to_pil().convert("RGB"), width, height, scale)


@contextmanager
def _opened(pdf: bytes, password: str | None) -> Iterator[pdfium.PdfDocument]:
    with _PDFIUM:
        try:
            document = pdfium.PdfDocument(pdf, password=password)
        except pdfium.PdfiumError as error:
            raise _open_error(error, password) from error
        with closing(document):
            yield document


def _open_error(error: pdfium.PdfiumError, password: str | None) -> ParseError:
    if "password" in str(error):
        told = "the password given does not open it" if password else "it needs a password"
        return ParseError(ErrorType.ENCRYPTED, f"the PDF is encrypted: {told}")
    return ParseError(ErrorType.MALFORMED, f"the PDF is damaged: {error}")
