"""The ``/Rotate`` of pages, which the parser applies but does not tell.

Its one way to tell serialises the whole page, at half the cost of decoding it. PDFium tells in a
sixth of that time. Neither is asked for files in which no ``/Rotate`` can be other than 0.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from enum import Enum, auto
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["Rotations", "Turns", "turns_in"]

_LARGEST_SEARCHED = 64 << 20
_MOST_INFLATED = 64 << 20
"""Bytes; beyond these limits a file counts as one that may be rotated."""

_ROTATE = re.compile(rb"/Rotate\s*([-+]?\d{1,20})(\d|\s+\d+\s+R\b)?")
_OBJECT_STREAM = re.compile(rb"/ObjStm\b.{0,500}?stream\r?\n", re.DOTALL)


class Turns(Enum):
    """What the ``/Rotate`` of a file's pages may be."""

    NONE = auto()
    """0 on every page."""
    RIGHT_ANGLES = auto()
    ANY = auto()
    """Also other angles, which viewers and parsers take for 0; or it cannot be told."""


def turns_in(source: str) -> Turns:
    """Tell how the pages of a PDF file may be turned.

    Page dictionaries stand in the file as they are or in compressed object streams; a file
    where these cannot be read, for example because they are encrypted, may have any turns.
    """
    path = Path(source)
    if path.stat().st_size > _LARGEST_SEARCHED:
        return Turns.ANY
    found = Turns.NONE
    try:
        for objects in _objects(path.read_bytes()):
            for angle, more in _ROTATE.findall(objects):
                if more or int(angle) % 90:
                    return Turns.ANY
                if int(angle):
                    found = Turns.RIGHT_ANGLES
    except (ValueError, zlib.error):
        return Turns.ANY
    return found


def _objects(data: bytes) -> Iterator[bytes]:
    """Iterate over a file and what its object streams hold; ``ValueError`` when one has no end."""
    yield data
    at, left, view = 0, _MOST_INFLATED, memoryview(data)
    while found := _OBJECT_STREAM.search(data, at):
        at = data.find(b"endstream", found.end())
        objects = zlib.decompressobj().decompress(view[found.end() : at], left)
        yield objects
        left -= len(objects)
        if at < 0 or left <= 0:
            raise ValueError("an object stream does not end, or is too large")


class Rotations:
    """The rotations of a document's pages.

    Parameters
    ----------
    source : str
        Path of the file.
    password : str, optional
        Opens it.
    """

    def __init__(self, source: str, password: str | None) -> None:
        self._source = source
        self._password = password
        self._opened = ExitStack()

    @cached_property
    def _turns(self) -> Turns:
        return turns_in(self._source)

    @cached_property
    def _document(self) -> Any:
        """The file as PDFium reads it; None if it does not."""
        try:
            return self._opened.enter_context(_open(self._source, self._password))
        except _pdfium().PdfiumError:
            return None

    def of(self, page_no: int, page: Any) -> int:
        """Return by how many degrees a viewer turns a page clockwise: 0, 90, 180, 270.

        Parameters
        ----------
        page_no : int
            From 1.
        page
            As docling-parse decoded it.

        Raises
        ------
        ValueError
            It is not a multiple of 90: the parser then puts the text nowhere.
        """
        told = None
        match self._turns:
            case Turns.NONE:
                return 0
            case Turns.RIGHT_ANGLES:
                told = self._told_by_pdfium(page_no)
        return _told_by_parser(page) if told is None else told

    def _told_by_pdfium(self, page_no: int) -> int | None:
        if self._document is None:
            return None
        try:
            with closing(self._document[page_no - 1]) as page:
                rotation: int = page.get_rotation()
        except (IndexError, _pdfium().PdfiumError):  # it reads damaged files in its own way
            return None
        return rotation

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


def _open(source: str, password: str | None) -> AbstractContextManager[Any]:
    return closing(_pdfium().PdfDocument(source, password=password))


def _pdfium() -> Any:
    import pypdfium2  # few files need it

    return pypdfium2


def _told_by_parser(page: Any) -> int:
    angle: int = page.export_render_instructions_json()["size_instruction"]["angle"]
    if angle % 90:
        raise ValueError(f"its /Rotate of {angle} degrees is not a multiple of 90")
    return angle % 360
