"""The ``/Rotate`` of pages, which the parser applies but does not tell.

Its one way to tell serialises the whole page, at half the cost of decoding it. So this is
asked only for files in which some ``/Rotate`` may be other than 0.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

__all__ = ["may_be_rotated", "rotation_of"]

_LARGEST_SEARCHED = 64 << 20
_MOST_INFLATED = 64 << 20
"""Bytes; beyond these limits a file counts as one that may be rotated."""

# A number other than 0; the first one of a reference "12 0 R" is also that.
_ROTATE = re.compile(rb"/Rotate\s*[-+]?0*[1-9]")
_OBJECT_STREAM = re.compile(rb"/ObjStm\b.{0,500}?stream\r?\n", re.DOTALL)


def may_be_rotated(source: str) -> bool:
    """Tell whether a page of a PDF file may have a ``/Rotate`` other than 0.

    Page dictionaries stand in the file as they are or in compressed object streams; a file
    where these cannot be read, for example because they are encrypted, may be rotated.
    """
    path = Path(source)
    if path.stat().st_size > _LARGEST_SEARCHED:
        return True
    data = path.read_bytes()
    if _ROTATE.search(data):
        return True
    return _object_streams_may_rotate(data)


def _object_streams_may_rotate(data: bytes) -> bool:
    at, left, view = 0, _MOST_INFLATED, memoryview(data)
    while found := _OBJECT_STREAM.search(data, at):
        at = data.find(b"endstream", found.end())
        inflate = zlib.decompressobj()
        try:
            objects = inflate.decompress(view[found.end() : at], left)
        except zlib.error:
            return True
        left -= len(objects)
        if at < 0 or left <= 0 or _ROTATE.search(objects):
            return True
    return False


def rotation_of(page: Any) -> int:
    """Return by how many degrees a viewer turns a decoded page clockwise: 0, 90, 180, 270.

    Raises
    ------
    ValueError
        It is not a multiple of 90: the parser then puts the text nowhere.
    """
    angle: int = page.export_render_instructions_json()["size_instruction"]["angle"]
    if angle % 90:
        raise ValueError(f"its /Rotate of {angle} degrees is not a multiple of 90")
    return angle % 360
