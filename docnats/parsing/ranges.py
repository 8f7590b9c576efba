"""Parse a document in ranges of pages, and put the ranges together again."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docnats.errors import DocnatsError, ErrorType, ParseError
from docnats.parsing.bookmark import Bookmark, Watch, bookmark
from docnats.parsing.reader import NATIVE, Reader, WholeReader, find_reader
from docnats.parsing.tables import TABLES, RangeTables, merge_parts

__all__ = ["PageError", "ParseOptions", "RangeResult", "merge_ranges", "parse_range"]

_MAX_ERROR = 500
"""Characters kept of what the parser says about a page."""


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """How a document is read.

    Parameters
    ----------
    settings : mapping
        What the user says of it: the processor's options. A ``password`` opens an encrypted
        file, and is ignored by one that needs none.
    max_pages : int
        Documents with more pages are refused as ``too_large``.
    reader : str
        The function that opens it, as ``package.module:function``; see :class:`Reader`.
    parts : tuple of str
        What :meth:`WholeReader.write_parts` writes; the range must be the whole document.
    """

    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    max_pages: int = 20_000
    reader: str = NATIVE
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PageError:
    """Why a page could not be read; pages count from 1."""

    page_no: int
    error: str


@dataclass(frozen=True, slots=True)
class RangeResult:
    """What :func:`parse_range` did.

    Attributes
    ----------
    page_count : int
        Pages of the whole document.
    first, last : int
        The pages of this range, from 1, both inclusive.
    words : int
        Words found in them.
    metadata : dict of str to str
        Those of title, author, subject, keywords, language, creator, producer, created and
        modified that the document's XMP packet has.
    page_errors : tuple of PageError
        The pages that failed; they have a row in ``pages.parquet`` all the same.
    """

    page_count: int
    first: int
    last: int
    words: int
    metadata: dict[str, str]
    page_errors: tuple[PageError, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the range is all of the document."""
        return self.first == 1 and self.last == self.page_count


def parse_range(
    source: str,
    out_dir: str,
    first: int,
    count: int,
    options: ParseOptions,
    watch: Watch | None = None,
) -> RangeResult:
    """Parse some pages of a PDF file into Parquet files.

    A document that fits into one range gives ``pages.parquet`` and ``words.parquet`` in
    ``out_dir``. The ranges of a longer one give parts, for :func:`merge_ranges` to join.

    Parameters
    ----------
    source : str
        Path of the PDF.
    out_dir : str
        Folder of the results.
    first, count : int
        The first page, from 1, and how many; fewer at the end of the document.
    watch : Watch, optional
        Where to note the page at work, and the processor time for each; without it there is
        no limit.

    Raises
    ------
    ParseError
        The document as a whole cannot be parsed: ``not_a_pdf``, ``encrypted``,
        ``malformed`` or ``too_large``; or its reader fails: ``processor``. A page that fails
        is a row with an ``error``.
    MemoryError
        The pages need more memory than this process may use; end the process.

    Examples
    --------
    >>> parse_range("paper.pdf", "out", 1, 48, ParseOptions())  # doctest: +SKIP
    RangeResult(page_count=12, first=1, last=12, words=5403, metadata={…}, page_errors=())
    """
    tables = RangeTables()
    with bookmark(watch) as mark, _opened(source, options) as document:
        total = document.page_count
        if total > options.max_pages:
            msg = f"the PDF has {total:,} pages, more than the limit of {options.max_pages:,}"
            raise ParseError(ErrorType.TOO_LARGE, f"{msg} (DOCNATS_MAX_PAGES)")
        metadata = document.metadata
        mark.opened(total)
        last = min(total, first + count - 1)
        errors = _read_pages(document, range(first, last + 1), tables, mark)
        mark.close()
        if options.parts:
            _write_parts(document, Path(out_dir), options.parts)
    result = RangeResult(total, first, last, tables.words, metadata, errors)
    tables.write(Path(out_dir), "" if result.whole else _part(first))
    return result


@contextmanager
def _opened(source: str, options: ParseOptions) -> Iterator[Reader]:
    """Open a document; whatever its reader raises, also on closing, has a name."""
    try:
        with find_reader(options.reader)(source, options.settings) as document:
            yield document
    except (DocnatsError, MemoryError):
        raise
    except Exception as error:  # a plugin's own errors may not even travel to the worker
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        _raise_if_out_of_memory(error)
        told = f"{type(error).__name__}: {error}"[:_MAX_ERROR]
        raise ParseError(ErrorType.PROCESSOR, f"{options.reader} failed: {told}") from error


def _read_pages(
    document: Reader, pages: Sequence[int], tables: RangeTables, mark: Bookmark
) -> tuple[PageError, ...]:
    errors: list[PageError] = []
    for page_no in pages:
        mark.turn_to(page_no)
        error = _read_page(document, page_no, tables)
        if error is not None:
            errors.append(PageError(page_no, error))
    return tuple(errors)


def _read_page(document: Reader, page_no: int, tables: RangeTables) -> str | None:
    """Read one page; return what is wrong with it, or None."""
    try:
        tables.add(page_no, document.read_page(page_no))
    except (MemoryError, ParseError):
        raise
    except Exception as error:  # one bad page must not cost the document
        _raise_if_out_of_memory(error)
        reason = (str(error) or type(error).__name__)[:_MAX_ERROR]
        tables.add_failed(page_no, reason)
        return reason
    return None


def _raise_if_out_of_memory(error: Exception) -> None:
    if "bad_alloc" in str(error):
        raise MemoryError(str(error)) from error


def _write_parts(document: Reader, folder: Path, parts: Sequence[str]) -> None:
    if isinstance(document, WholeReader):
        document.write_parts(folder)
    missing = [part for part in parts if not (folder / part).is_file()]
    if missing:
        raise ParseError(ErrorType.PROCESSOR, f"it has not written {', '.join(missing)}")


def _part(first: int) -> str:
    return f"-{first:08d}"


def merge_ranges(out_dir: str, lost: Sequence[PageError] = ()) -> None:
    """Join the parts of a document's ranges into ``pages.parquet`` and ``words.parquet``.

    One range at a time is in memory. The parts stay, so that this can be done again when
    its process dies.

    Parameters
    ----------
    lost : sequence of PageError
        Pages that are in no range because they killed their process; they become rows too.
    """
    folder = Path(out_dir)
    for error in lost:  # also in place of what the process had begun to write
        tables = RangeTables()
        tables.add_failed(error.page_no, error.error)
        tables.write(folder, _part(error.page_no))
    for name in TABLES:
        merge_parts(folder, name)
