"""Read a decoded page: its size, its text, its words and the lines these are in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import Any

from docnats.parsing.quality import text_quality
from docnats.parsing.rotation import Rotations

__all__ = ["CELL_FIELDS", "Cell", "PageContent", "lines_by_count", "lines_by_place", "read_page"]

CELL_FIELDS = (
    "text",
    *("r_x0", "r_x1", "r_x2", "r_x3"),
    *("r_y0", "r_y1", "r_y2", "r_y3"),
    "font_name",
    "left_to_right",
)
"""What is read of a native cell, in this order. The corners of its box go anticlockwise from
the start of the baseline, in points from the bottom-left corner of the page as shown."""

Cell = tuple[Any, ...]
Box = tuple[float, float, float, float]

_read_cell = attrgetter(*CELL_FIELDS)

_SEARCHED = 50
"""Lines; reading order moves on slowly, and a page may have ten thousand of them."""


@dataclass(frozen=True, slots=True)
class PageContent:
    """One page as a viewer shows it.

    Attributes
    ----------
    width, height : float
        Points.
    rotation : int
        Degrees clockwise by which the file asks viewers to turn the page.
    text : str
        The lines, in the order the parser gives them.
    n_lines : int
        How many there are.
    quality : float or None
        See :func:`~docnats.parsing.quality.text_quality`.
    words : sequence of tuple
        The values of :data:`CELL_FIELDS` of each word; empty where the reader knows no boxes.
    line_numbers : sequence of int
        The line of each word, from 1.
    n_words : int or None
        How many words there are, if it is not the number of ``words``.
    """

    width: float
    height: float
    rotation: int
    text: str
    n_lines: int
    quality: float | None
    words: Sequence[Cell] = ()
    line_numbers: Sequence[int] = ()
    n_words: int | None = None

    @classmethod
    def of_text(
        cls, text: str, width: float = 0.0, height: float = 0.0, rotation: int = 0
    ) -> PageContent:
        """Return a page of which only the text is known, not where on the page it is."""
        return cls(
            width=width,
            height=height,
            rotation=rotation,
            text=text,
            n_lines=sum(not line.isspace() for line in text.splitlines() if line),
            quality=text_quality(text),
            n_words=len(text.split()),
        )


def read_page(page: Any, page_no: int, rotations: Rotations) -> PageContent:
    """Read a decoded page of a document with such rotations.

    Raises
    ------
    Exception
        Whatever the native objects raise on a damaged page.
    """
    x0, y0, x1, y1 = page.get_page_dimension().get_crop_bbox()
    words = list(map(_read_cell, page.get_word_cells()))
    line_cells = page.get_line_cells()
    lines = [line.text for line in line_cells]
    text = "\n".join(lines)
    return PageContent(
        width=abs(x1 - x0),
        height=abs(y1 - y0),
        rotation=rotations.of(page_no, page),
        text=text,
        n_lines=len(lines),
        quality=text_quality(text),
        words=words,
        line_numbers=lines_by_count(words, lines) or lines_by_place(words, line_cells),
    )


def lines_by_count(words: Sequence[Cell], lines: Sequence[str]) -> list[int] | None:
    """Return for each word the number of its line, from 1, by counting characters.

    The parser gives words and lines as two lists in one order, with the same characters
    apart from white space; so counting tells which words make up a line.

    Returns
    -------
    list of int or None
        None if the counts do not meet at the end of every line.
    """
    word_ends = list(accumulate([_letters(word[0]) for word in words]))
    line_ends = list(accumulate(map(_letters, lines)))
    if word_ends[-1:] != line_ends[-1:] or not set(line_ends) <= set(word_ends):
        return None
    return [bisect_left(line_ends, end) + 1 for end in word_ends]


def lines_by_place(words: Sequence[Cell], lines: Iterable[Any]) -> list[int]:
    """Return for each word the number of the line nearest to its centre, from 1.

    Looks at 50 lines ahead of the last word's line and behind it.
    """
    boxes = [_box(_read_cell(line)) for line in lines]
    numbers: list[int] = []
    last = 0
    for word in words:
        last = _nearest(_box(word), boxes, last)
        numbers.append(last + 1)
    return numbers


def _letters(text: str) -> int:
    return len("".join(text.split()))


def _box(cell: Cell) -> Box:
    xs, ys = cell[1:5], cell[5:9]
    return min(xs), min(ys), max(xs), max(ys)


def _nearest(word: Box, lines: Sequence[Box], around: int) -> int:
    x, y = (word[0] + word[2]) / 2, (word[1] + word[3]) / 2

    def distance(index: int) -> float:
        x0, y0, x1, y1 = lines[index]
        return max(x0 - x, 0.0, x - x1) ** 2 + max(y0 - y, 0.0, y - y1) ** 2

    searched = range(max(0, around - _SEARCHED), min(len(lines), around + _SEARCHED + 1))
    return min(searched, key=distance, default=0)
