"""Layout, tables and Markdown by docling, with the models that are in its cache."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from docnats.errors import ErrorType, ParseError
from docnats.parsing import pdfium
from docnats.parsing.pages import PageContent
from docnats.parsing.reader import Reader

__all__ = ["Conversion", "Converting", "convert", "open_reader"]

_MAX_REASON = 300


class Conversion(NamedTuple):
    """What docling made of a document: its own document, and what went wrong by page."""

    document: Any
    errors: Mapping[int, str]


class Converting:
    """A document that is converted as a whole when its first page is asked for.

    Parameters
    ----------
    pages : Reader
        The document opened by PDFium, which tells what pages there are.
    source, options
        As of :func:`open_reader`.
    """

    def __init__(self, pages: Reader, source: str, options: Mapping[str, Any]) -> None:
        self._pages = pages
        self._source = source
        self._options = options
        self.page_count = pages.page_count
        self.metadata = pages.metadata

    @cached_property
    def _converted(self) -> Conversion:
        return convert(self._source, self._options)

    def read_page(self, page_no: int) -> PageContent:
        """Return a page's Markdown as its text; a RuntimeError if docling failed on the page."""
        document, errors = self._converted
        if page_no in errors:
            raise RuntimeError(errors[page_no])
        text = document.export_to_markdown(page_no=page_no)
        shown = self._pages.read_page(page_no)
        return PageContent.of_text(text, shown.width, shown.height, shown.rotation)

    def write_parts(self, folder: Path) -> None:
        """Write the whole as Markdown, and as docling's own JSON with tables and layout."""
        markdown = self._converted.document.export_to_markdown()
        (folder / "document.md").write_text(markdown, encoding="utf-8")
        document = json.dumps(self._converted.document.export_to_dict(), ensure_ascii=False)
        (folder / "docling.json").write_text(document, encoding="utf-8")


@contextmanager
def open_reader(source: str, options: Mapping[str, Any]) -> Iterator[Converting]:
    """Open a PDF file as the processor ``docling`` does.

    Raises
    ------
    ParseError
        ``not_a_pdf``, ``encrypted`` or ``malformed``.
    """
    with pdfium.open_reader(source, options) as pages:
        yield Converting(pages, source, options)


def convert(source: str, options: Mapping[str, Any]) -> Conversion:
    """Convert a PDF file; some of its pages may have failed.

    Raises
    ------
    ParseError
        ``processor``: docling does not convert it, or its models are not there.
    """
    # Only the worker's user downloads models; a parser process would try in vain, and may not
    # even look at the user's token.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_TOKEN_PATH": os.devnull}
    try:
        result = _converter(options).convert(source)
        errors = {item.page_no: item.error_message for item in result.errors}
        if None in errors:
            raise RuntimeError(errors[None])
    except MemoryError:
        raise
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_REASON]
        raise ParseError(
            ErrorType.PROCESSOR,
            f"docling does not convert it: {told}. If it lacks its models, run "
            "`docling-tools models download` as the worker's user",
        ) from error
    return Conversion(result.document, errors)


def _converter(options: Mapping[str, Any]) -> Any:
    from docling.datamodel.backend_options import ThreadedDoclingParseBackendOptions
    from docling.datamodel.base_models import InputFormat

    converter = _loaded_converter(options["ocr"], options["tables"], _downloaded_models())
    how = converter.format_to_options[InputFormat.PDF]
    how.backend_options = ThreadedDoclingParseBackendOptions(password=options["password"])
    return converter


@lru_cache(maxsize=1)
def _loaded_converter(ocr: bool, tables: bool, models: Path | None) -> Any:
    """Return a converter that keeps its models for the documents to come; they take seconds."""
    from docling.datamodel.base_models import InputFormat
    from docling.datamodel.pipeline_options import PdfPipelineOptions
    from docling.document_converter import DocumentConverter, PdfFormatOption

    how = PdfPipelineOptions(do_ocr=ocr, do_table_structure=tables, artifacts_path=models)
    return DocumentConverter(
        allowed_formats=[InputFormat.PDF],
        format_options={InputFormat.PDF: PdfFormatOption(pipeline_options=how)},
    )


def _downloaded_models() -> Path | None:
    """Return the folder that ``docling-tools models download`` fills, if it has.

    Without it docling looks into the cache of Hugging Face's client, where it puts models that
    it downloads by itself.
    """
    from docling.datamodel.settings import settings

    folder: Path = settings.artifacts_path or settings.cache_dir / "models"
    return folder if folder.is_dir() and any(folder.iterdir()) else None
