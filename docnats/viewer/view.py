"""A page with its words as notebooks show it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageColor, ImageDraw

from docnats.errors import ConfigError
from docnats.viewer.boxes import WordBox, word_boxes
from docnats.viewer.rendering import Drawing, draw_page, page_count

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["PageView", "page_view"]

_LINE_COLOURS = ("#1f86d2", "#dd5f12", "#0fa178", "#bb5aa0", "#a3850c")
"""In turn from line to line: told apart by colour-blind eyes, seen on white and on dark paper."""

_CSS_PIXELS_PER_POINT = 96 / 72
_PALETTE = 64  # colours: the anti-aliased text of a page needs few
_QUALITY = 75  # of WebP and JPEG

_HOVER = (
    "<style>"
    ".docnats-page i{background:color-mix(in srgb,currentColor 8%,transparent)}"
    ".docnats-page div:hover>i{background:color-mix(in srgb,currentColor 18%,transparent)}"
    ".docnats-page div>i:hover{background:color-mix(in srgb,currentColor 40%,transparent);"
    "outline-width:2px!important}"
    "</style>"
)
"""What needs a style sheet, and therefore goes where a notebook is not trusted."""

_NO_MATHS = "tex2jax_ignore mathjax_ignore"
"""Classes that keep a ``$`` in a file name from being typeset as mathematics."""


def page_view(
    pdf: bytes,
    words: pa.Table | pd.DataFrame,
    *,
    page: int = 1,
    filename: str = "",
    password: str | None = None,
    scale: float = 1.5,
) -> PageView:
    """Return a page to be displayed with its words in boxes.

    Nothing is drawn until it is displayed.

    Parameters
    ----------
    pdf : bytes
        The document.
    words : pyarrow.Table or pandas.DataFrame
        Its words: the rows of ``words.parquet``, of all pages or of this one.
    page : int
        The page, from 1.
    filename : str
        What to call the document.
    password : str, optional
        For encrypted documents.
    scale : float
        Pixels a point of the picture; 1.5 is 108 dpi. No picture is over 2,000 pixels wide
        or high.

    Raises
    ------
    ConfigError
        There is no such page, or the scale is not above 0.
    ParseError
        The document cannot be opened, for example for want of a password.

    Examples
    --------
    >>> page_view(pdf, words, page=3, filename="report.pdf")  # doctest: +SKIP
    page 3 of report.pdf, 412 words
    """
    if scale <= 0:
        msg = f"scale={scale}: it must be above 0"
        raise ConfigError(msg)
    pages = page_count(pdf, password)
    if not 1 <= page <= pages:
        has = f"{_many(pages, 'page')}, counted from 1"
        msg = f"page={page}: {_printable(filename) or 'the document'} has {has}"
        raise ConfigError(msg)
    boxes = word_boxes(words, page)
    return PageView(pdf, boxes, page, pages, _printable(filename), password, scale)


@dataclass(frozen=True, eq=False, repr=False)
class PageView:
    """A page and its words; displays itself in notebooks. Made by :func:`page_view`.

    The HTML needs no script and no network. Text and font of a word show when the pointer is
    over it; the boxes are switched by the line above the page. What matters is in plain
    elements and inline styles, which JupyterLab keeps also in notebooks that are not trusted.
    """

    _pdf: bytes
    _boxes: list[WordBox]
    page: int
    pages: int
    filename: str
    _password: str | None
    _scale: float

    def __repr__(self) -> str:
        words = _many(len(self._boxes), "word")
        return f"page {self.page} of {self.filename or self.pages}, {words}"

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, Any]]:
        return self._bundle

    @cached_property
    def _bundle(self) -> tuple[dict[str, str], dict[str, Any]]:
        drawing = draw_page(self._pdf, self.page, self._scale, self._password)
        kind, picture = _encoded(_with_boxes(drawing, self._boxes), "jpeg")
        data = {"text/plain": repr(self), "text/html": self._html(drawing), kind: picture}
        return data, {kind: {"width": _shown_width(drawing)}}

    def _html(self, drawing: Drawing) -> str:
        ratio = 100 * drawing.height / drawing.width
        kind, picture = _encoded(drawing.image, "webp")
        return (
            f'<figure class="docnats-page {_NO_MATHS}" style="margin:0">{_HOVER}'
            f'<div style="position:relative;max-width:{_shown_width(drawing)}px">'
            f"{self._html_boxes(drawing, ratio)}"
            f'<img alt="{escape(repr(self))}" src="data:{kind};base64,{picture}" style="'
            "display:block;width:100%;margin:0;outline:1px solid rgba(128,128,128,.4);"
            'outline-offset:-1px"></div></figure>'
        )

    def _html_boxes(self, drawing: Drawing, ratio: float) -> str:
        name = f"<strong><bdi>{escape(self.filename)}</bdi></strong> · " if self.filename else ""
        title = f"{name}page {self.page} of {self.pages}"
        if not self._boxes:
            return f'<div style="padding:4px 0">{title} · no words</div>'
        layer = f"position:absolute;left:0;bottom:0;width:100%;padding-top:{ratio:.3f}%"
        return (
            f'<details open><summary style="padding:4px 0;cursor:pointer">{title} · '
            f"{_many(len(self._boxes), 'word')} in boxes</summary>"
            f'<div aria-hidden="true" style="{layer};overflow:hidden">'
            f"{''.join(_html_lines(self._boxes, drawing))}</div></details>"
        )


def _html_lines(boxes: list[WordBox], page: Drawing) -> Iterator[str]:
    for line_no, line in groupby(boxes, lambda box: box.line_no):
        words = "".join(_html_word(box, page) for box in line)
        yield f'<div style="color:{_colour(line_no)}">{words}</div>'


def _html_word(box: WordBox, page: Drawing) -> str:
    x, y = box.centre
    shares = (
        ("left", (x - box.width / 2) / page.width),
        ("top", (y - box.height / 2) / page.height),
        ("width", box.width / page.width),
        ("height", box.height / page.height),
    )
    place = ";".join(f"{name}:{100 * share:.2f}%" for name, share in shares)
    turn = f";transform:rotate({-box.turn:.2f}deg)" if box.turn else ""
    title = escape(f"{box.text}\n{box.font}")
    return f'<i title="{title}" style="position:absolute;outline:1px solid;{place}{turn}"></i>'


def _with_boxes(drawing: Drawing, boxes: list[WordBox]) -> Image.Image:
    picture = drawing.image.copy()
    pen = ImageDraw.Draw(picture, "RGBA")
    for box in boxes:
        corners = [(x * drawing.scale, y * drawing.scale) for x, y in box.corners]
        rgb = ImageColor.getrgb(_colour(box.line_no))
        pen.polygon(corners, fill=(*rgb[:3], 24), outline=(*rgb[:3], 200))
    return picture


def _colour(line_no: int) -> str:
    return _LINE_COLOURS[line_no % len(_LINE_COLOURS)]


def _shown_width(drawing: Drawing) -> int:
    """Return how wide a page is on the screen, in CSS pixels: its real size if sharp enough."""
    return round(min(drawing.width * _CSS_PIXELS_PER_POINT, drawing.image.width))


def _encoded(image: Image.Image, lossy: str) -> tuple[str, str]:
    """Return a picture's media type and content in base64.

    Few colours as PNG are smaller for pages of text, a lossy format for photographs.
    """
    png, other = io.BytesIO(), io.BytesIO()
    image.quantize(_PALETTE, dither=Image.Dither.NONE).save(png, "PNG", optimize=True)
    image.save(other, lossy, quality=_QUALITY)
    found = {"image/png": png.getvalue(), f"image/{lossy}": other.getvalue()}
    kind = min(found, key=lambda name: len(found[name]))
    return kind, base64.b64encode(found[kind]).decode()


def _many(count: int, noun: str) -> str:
    number = f"{count:,}" if count else "no"
    return f"{number} {noun}{'' if count == 1 else 's'}"


def _printable(text: str) -> str:
    """Return a text without control characters, direction marks and lone surrogates."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
