"""What the samples share: colours, fonts, paragraph styles and how a file is begun."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph

__all__ = [
    "AUTHOR",
    "BODY",
    "BRASS",
    "CENTRED",
    "FAINT",
    "HEADING",
    "INK",
    "PAPER",
    "SMALL",
    "SUBHEADING",
    "TITLE",
    "build",
    "find_font",
    "open_canvas",
    "paragraphs",
    "running_head",
    "seeded",
]

rl_config.useA85 = 0  # binary streams: a fifth smaller

AUTHOR = "Skerravoe Observatory (fictional), for docnats"

INK = HexColor("#1b2a49")
BRASS = HexColor("#a8742a")
FAINT = HexColor("#8d93a1")
PAPER = HexColor("#f6f1e4")

BODY = ParagraphStyle(
    "body", fontName="Times-Roman", fontSize=10.5, leading=14.5, alignment=TA_JUSTIFY, spaceAfter=7
)
SMALL = ParagraphStyle("small", BODY, fontSize=9, leading=11.5, spaceAfter=4)
CENTRED = ParagraphStyle("centred", BODY, alignment=TA_CENTER)
TITLE = ParagraphStyle(
    "title", CENTRED, fontName="Times-Bold", fontSize=21, leading=26, textColor=INK, spaceAfter=10
)
HEADING = ParagraphStyle(
    "heading",
    fontName="Times-Bold",
    fontSize=14,
    leading=18,
    textColor=INK,
    spaceBefore=10,
    spaceAfter=5,
    keepWithNext=1,
)
SUBHEADING = ParagraphStyle("subheading", HEADING, fontSize=11, leading=14, textColor=BRASS)


def open_canvas(path: Path, title: str, size: tuple[float, float] = A4) -> Canvas:
    """Begin a file that is drawn by hand; the caller draws and saves it."""
    canvas = Canvas(str(path), pagesize=size, invariant=1, pageCompression=1)
    canvas.setTitle(title)
    canvas.setAuthor(AUTHOR)
    canvas.setCreator("docnats sample")
    return canvas


def build(
    path: Path,
    title: str,
    story: Sequence[Flowable],
    *,
    size: tuple[float, float] = A4,
    margin: float = 24 * mm,
    on_page: Callable[[Canvas, BaseDocTemplate], None] | None = None,
    **metadata: str,
) -> None:
    """Write a file whose text flows from page to page."""
    document = BaseDocTemplate(
        str(path),
        pagesize=size,
        title=title,
        **{"author": AUTHOR, "creator": "docnats sample", **metadata},
        invariant=1,
        pageCompression=1,
    )
    width, height = size
    frame = Frame(margin, margin, width - 2 * margin, height - 2 * margin, 0, 0, 0, 0)
    template = PageTemplate("page", [frame], pagesize=size, onPageEnd=on_page or _nothing)
    document.addPageTemplates([template])
    document.build(list(story))


def _nothing(canvas: Canvas, document: BaseDocTemplate) -> None:
    pass


def running_head(
    left: str, *, first_page: int = 2, rule: Color = BRASS
) -> Callable[[Canvas, BaseDocTemplate], None]:
    """Return a page decoration: a line with a title on the left and the page on the right."""

    def draw(canvas: Canvas, document: BaseDocTemplate) -> None:
        page = canvas.getPageNumber()
        if page < first_page:
            return
        width, height = document.pagesize
        canvas.setFont("Times-Italic", 9)
        canvas.setFillColor(FAINT)
        canvas.drawString(24 * mm, height - 15 * mm, left)
        canvas.drawRightString(width - 24 * mm, height - 15 * mm, str(page))
        canvas.setStrokeColor(rule)
        canvas.setLineWidth(0.5)
        canvas.line(24 * mm, height - 17 * mm, width - 24 * mm, height - 17 * mm)

    return draw


def paragraphs(text: str, style: ParagraphStyle = BODY) -> list[Flowable]:
    """Return one flowable a paragraph; paragraphs are separated by an empty line."""
    return [Paragraph(" ".join(part.split()), style) for part in text.strip().split("\n\n")]


def seeded(number: int) -> random.Random:
    """Return a source of numbers that are the same in every run."""
    return random.Random(number)  # noqa: S311 - drawings, not secrets


def find_font(name: str) -> Path:
    """Return the font file of that name among the system's fonts."""
    roots = (
        Path("/usr/share/fonts"),
        Path("/usr/share/fonts-droid-fallback"),
        Path.home() / ".fonts",
    )
    found = next((path for root in roots for path in root.rglob(name)), None)
    if found is None:
        raise SystemExit(
            f"{name} is not installed; on Debian: "
            "apt install fonts-dejavu-core fonts-droid-fallback"
        )
    return found
