"""The words of a page as rectangles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WordBox", "word_boxes"]

_COLUMNS = ("page_no", "line_no", "text", "x0", "y0", "x1", "y1", "angle", "font")
_UNDECIDED = 0.05  # nearer to 45 degrees an upright box does not tell the sides of a turned one


@dataclass(frozen=True, slots=True)
class WordBox:
    """One word and its rectangle, in points from the page's top-left corner."""

    text: str
    font: str
    line_no: int
    centre: tuple[float, float]
    width: float
    height: float
    turn: float
    """How far the rectangle is turned about its centre, in degrees anticlockwise."""

    @property
    def corners(self) -> list[tuple[float, float]]:
        """The four corners in drawing order."""
        x, y = self.centre
        cos, sin = _cos_sin(self.turn)
        halves = [
            (sign_x * self.width / 2, sign_y * self.height / 2)
            for sign_x, sign_y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        return [(x + dx * cos + dy * sin, y - dx * sin + dy * cos) for dx, dy in halves]


def word_boxes(words: pa.Table | pd.DataFrame, page: int) -> list[WordBox]:
    """Return the boxes of one page, in the order of the rows.

    Parameters
    ----------
    words : pyarrow.Table or pandas.DataFrame
        Rows of ``words.parquet`` of one document; other columns do no harm.
    page : int
        The page, from 1.
    """
    if isinstance(words, pa.Table):
        table = words.select(_COLUMNS)
    else:
        table = pa.Table.from_pandas(words[list(_COLUMNS)], preserve_index=False)
    return [_box(row) for row in table.filter(pc.equal(table["page_no"], page)).to_pylist()]


def _box(row: Mapping[str, Any]) -> WordBox:
    x0, y0, x1, y1 = (row[name] for name in ("x0", "y0", "x1", "y1"))
    width, height, turn = _turned(x1 - x0, y1 - y0, row["angle"])
    return WordBox(
        row["text"],
        row["font"] or "",
        row["line_no"],
        ((x0 + x1) / 2, (y0 + y1) / 2),
        width,
        height,
        turn,
    )


def _turned(width: float, height: float, angle: float) -> tuple[float, float, float]:
    """Return the sides of the turned rectangle that just fits an upright box, and its turn.

    The turn is at most 45 degrees: where a notebook drops it, the box still lies on its word.
    """
    turn = (angle + 45) % 90 - 45
    cos, sin = (abs(part) for part in _cos_sin(turn))
    both = cos * cos - sin * sin
    along, across = width * cos - height * sin, height * cos - width * sin
    if turn and both > _UNDECIDED and along > 0 and across > 0:
        return along / both, across / both, turn
    return width, height, 0.0


def _cos_sin(degrees: float) -> tuple[float, float]:
    radians = math.radians(degrees)
    return math.cos(radians), math.sin(radians)
