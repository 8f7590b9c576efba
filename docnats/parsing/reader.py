"""What reads a document page by page: the part of a processor that runs in parser processes."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from docnats.parsing.pages import PageContent

__all__ = ["NATIVE", "OpenReader", "Reader", "WholeReader", "find_reader"]

NATIVE = "docnats.parsing.native:open_reader"
"""The reader of docling-parse."""


class Reader(Protocol):
    """A document that was opened.

    Attributes
    ----------
    page_count : int
        Pages there are; at least one.
    metadata : dict of str to str
        Title, author and the like; see :class:`~docnats.parsing.RangeResult`.
    """

    @property
    def page_count(self) -> int: ...  # noqa: D102 - above

    @property
    def metadata(self) -> dict[str, str]: ...  # noqa: D102 - above

    def read_page(self, page_no: int) -> PageContent:
        """Read a page, counted from 1.

        What it raises is the page's ``error``; a ``ParseError`` fails the whole document.
        """


@runtime_checkable
class WholeReader(Reader, Protocol):
    """A document that also gives results of the whole."""

    def write_parts(self, folder: Path) -> None:
        """Write the processor's further result files, once all pages are read."""


OpenReader: TypeAlias = Callable[[str, Mapping[str, Any]], AbstractContextManager[Reader]]
"""Opens the file of a path, with the processor's options. It raises a ``ParseError`` of a type
that fits (``not_a_pdf``, ``encrypted``, ``malformed``) for a document that cannot be opened."""


@cache
def find_reader(reference: str) -> OpenReader:
    """Return the function that ``package.module:function`` names."""
    function: OpenReader = pkgutil.resolve_name(reference)
    return function
