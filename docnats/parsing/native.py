"""docling-parse's native parser: open a document, or say exactly why that does not work.

The classes of ``docling_parse.pdf_parsers`` are not declared public, but the public module
costs a second of imports and much of the time of each page. So the version is bounded, and
:func:`docnats.parsing.warm_up` compares what the parser gives with what is relied on here.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from docling_parse.pdf_parsers import DecodePageConfig, pdf_parser

from docnats.errors import ErrorType, ParseError
from docnats.parsing.metadata import read_metadata
from docnats.parsing.pages import PageContent, read_page
from docnats.parsing.rotation import Rotations
from docnats.parsing.signature import check_is_pdf

__all__ = ["Document", "open_document", "open_reader"]

_KEY = "document"
_MAX_REASON = 300


class Document:
    """An open document; made by :func:`open_document`.

    Attributes
    ----------
    page_count : int
        Pages there are.
    """

    def __init__(self, parser: Any, rotations: Rotations) -> None:
        self._parser = parser
        self._rotations = rotations
        self.page_count: int = parser.number_of_pages(_KEY)

    @functools.cached_property
    def metadata(self) -> dict[str, str]:
        """Title, author and the like, as far as the XMP packet says; never raises."""
        try:
            return read_metadata(self._parser.get_meta_xml(_KEY))
        except (RuntimeError, ValueError):  # bytes that are no UTF-8
            return {}

    def read_page(self, page_no: int) -> PageContent:
        """Return what is on a page, counted from 1."""
        with self.page(page_no) as page:
            return read_page(page, page_no, self._rotations)

    @contextmanager
    def page(self, page_no: int) -> Iterator[Any]:
        """Decode a page, counted from 1; its native memory is freed on leaving."""
        try:
            yield self._parser.get_page_decoder(_KEY, page_no - 1, _page_config())
        finally:
            self._parser.unload_document_page(_KEY, page_no - 1)


@contextmanager
def open_document(source: str, password: str | None = None) -> Iterator[Document]:
    """Open a PDF file.

    Raises
    ------
    ParseError
        ``not_a_pdf``, ``encrypted`` or ``malformed``, with the reason in its message.
    MemoryError
        The file needs more memory than this process may use.
    """
    check_is_pdf(source)
    parser = _parser()
    reason = _load(parser, source, password or None)
    if reason is not None and password:  # a file that needs none does not open with one
        reason = _load(parser, source, None)
    if reason is not None:
        raise _load_error(reason, password)
    try:
        with closing(Rotations(source, password)) as rotations:
            document = Document(parser, rotations)
            if document.page_count < 1:
                raise ParseError(ErrorType.MALFORMED, "the PDF has no pages")
            yield document
    finally:
        parser.unload_document(_KEY)


@contextmanager
def open_reader(source: str, options: Mapping[str, Any]) -> Iterator[Document]:
    """Open a PDF file as the processor ``docling-parse`` does; see :func:`open_document`."""
    with open_document(source, options.get("password")) as document:
        yield document


def _load(parser: Any, source: str, password: str | None) -> str | None:
    """Load a file; return why that failed, or None."""
    parser.set_loglevel_with_label("error")  # its log is the only place that says why
    try:
        with _captured_stderr() as captured:
            loaded = parser.load_document(_KEY, source, password)
    except (RuntimeError, ValueError) as error:
        return str(error)
    finally:
        parser.set_loglevel_with_label("fatal")
    return None if loaded else _reason(captured(), source)


def _reason(log: str, source: str) -> str:
    reasons: list[str] = re.findall(r"could not process buffer by qpdf: (.*)", log)
    text = reasons[-1].replace(f"processing file {source}", "").lstrip(": ") if reasons else ""
    return text[:_MAX_REASON] or "the parser gives no reason"


def _load_error(reason: str, password: str | None) -> ParseError:
    if "invalid password" in reason:
        told = "the password given does not open it" if password else "it needs a password"
        return ParseError(ErrorType.ENCRYPTED, f"the PDF is encrypted: {told}")
    if "unsupported encryption" in reason:
        msg = f"the PDF is encrypted in a way the parser does not know: {reason}"
        return ParseError(ErrorType.ENCRYPTED, msg)
    return ParseError(ErrorType.MALFORMED, f"the PDF is damaged: {reason}")


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Catch what native code writes to file descriptor 2."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            text = ""
            yield lambda: text
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            log.seek(0)
            text = log.read().decode(errors="replace")


@functools.cache
def _parser() -> Any:
    return pdf_parser("fatal")


@functools.cache
def _page_config() -> Any:
    config = DecodePageConfig()
    config.keep_char_cells = False
    config.keep_shapes = False
    config.keep_bitmaps = False
    config.extract_bitmap_pixels = False
    config.create_word_cells = True
    config.create_line_cells = True
    config.page_boundary = "crop_box"
    return config
