"""Parse a document in ranges of pages, and put the ranges together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from docnats.errors import ErrorType, ParseError
from docnats.parsing.bookmark import Watch, bookmark
from docnats.parsing.native import Document, open_document
from docnats.parsing.pages import read_page
from docnats.parsing.rotation import may_be_rotated
from docnats.parsing.tables import TABLES, RangeTables, merge_parts

__all__ = ["PageError", "ParseOptions", "RangeResult", "merge_ranges", "parse_range"]

_MAX_ERROR = 500
"""Characters kept of what the parser says about a page."""


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """What the user says about a document.

    Parameters
    ----------
    password : str, optional
        Opens an encrypted file; ignored by one that needs none.
    max_pages : int
        Documents with more pages are refused as ``too_large``.
    """

    password: str | None = field(default=None, repr=False)
    max_pages: int = 20_000


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

    @property
    def pages_failed(self) -> int:
        """How many pages of the range could not be read."""
        return len(self.page_errors)


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
        ``malformed`` or ``too_large``. A page that fails is a row with an ``error``.
    MemoryError
        The pages need more memory than this process may use; end the process.

    Examples
    --------
    >>> parse_range("paper.pdf", "out", 1, 48, ParseOptions())  # doctest: +SKIP
    RangeResult(page_count=12, first=1, last=12, words=5403, metadata={…}, page_errors=())
    """
    with bookmark(watch) as mark, open_document(source, options.password) as document:
        total = document.page_count
        if total > options.max_pages:
            msg = f"the PDF has {total:,} pages, more than the limit of {options.max_pages:,}"
            raise ParseError(ErrorType.TOO_LARGE, f"{msg} (DOCNATS_MAX_PAGES)")
        last = min(total, first + count - 1)
        tables = RangeTables()
        rotated = may_be_rotated(source)
        metadata = document.metadata
        mark.opened(total)
        errors: list[PageError] = []
        for page_no in range(first, last + 1):
            mark.turn_to(page_no)
            error = _parse_page(document, page_no, tables, may_be_rotated=rotated)
            if error is not None:
                errors.append(PageError(page_no, error))
        mark.close()
    result = RangeResult(total, first, last, tables.words, metadata, tuple(errors))
    tables.write(Path(out_dir), "" if result.whole else _part(first))
    return result


def _parse_page(
    document: Document, page_no: int, tables: RangeTables, *, may_be_rotated: bool
) -> str | None:
    """Parse one page; return what is wrong with it, or None."""
    try:
        with document.page(page_no) as page:
            tables.add(page_no, read_page(page, may_be_rotated=may_be_rotated))
    except MemoryError:
        raise
    except Exception as error:  # one bad page must not cost the document
        if "bad_alloc" in str(error):
            raise MemoryError(str(error)) from error
        reason = (str(error) or type(error).__name__)[:_MAX_ERROR]
        tables.add_failed(page_no, reason)
        return reason
    return None


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
