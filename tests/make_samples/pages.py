"""Samples about pages themselves: turned, of many sizes, landscape, or almost empty."""

from __future__ import annotations

from pathlib import Path

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A5, A6, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from tests.make_samples.style import BODY, BRASS, FAINT, INK, PAPER, open_canvas

__all__ = ["lecture_slides", "one_line", "rotated_pages", "scrapbook"]

SLIDES = (
    (
        "Why we keep everything",
        "A public lecture at Skerravoe Observatory",
        "12 September 1931, if cloudy. If clear, we shall be outside.",
    ),
    (
        "A plate is a letter to the future",
        "It costs eleven pence and forty cold minutes.",
        "It records eleven thousand stars.",
        "Nobody knows which of them will matter.",
    ),
    (
        "What an archive needs",
        "A number on every plate.",
        "A place for every number.",
        "A list that is kept apart from the shelves.",
        "Somebody who puts things back.",
    ),
    (
        "What an archive gives",
        "17 March 1931: a star where there was none.",
        "18 March 1931: its portrait from the winter before.",
        "Time from question to answer: four minutes.",
    ),
    (
        "Questions we are asked",
        "How far away is it? Farther than the mail boat goes.",
        "Is the cat allowed in here? The cat has not been told otherwise.",
        "May I look through the telescope? Yes. Mind the step.",
    ),
)

TURNED = (
    (0, "This page stands upright, as pages do."),
    (90, "This page was turned clockwise by a quarter, for a wide drawing of Saturn."),
    (180, "This page went through the copying press upside down and was bound like that."),
    (270, "This page was turned the other way, because the binder is left-handed."),
)

CUTTINGS = (
    (
        landscape(A6),
        "Postcard",
        "Dear Edith, the sea was kind and the plates are safe. The man at the customs office held "
        "one to the light and said it was dirty. I told him that the dirt was Andromeda. T.",
    ),
    (
        (75 * mm, 130 * mm),
        "From the Harbour Gazette",
        "A NEW STAR has been discovered by the ladies and gentlemen of our observatory. It may be "
        "seen to the north of the Twins by anybody with good eyes and a coat. The Director asks "
        "us to say that it is not dangerous. The price of herring is unchanged.",
    ),
    (
        (90 * mm, 90 * mm),
        "A note found in the clock case",
        "To whoever winds this next: eleven turns, not twelve. I have learned about the twelfth.",
    ),
    (
        (140 * mm, 95 * mm),
        "Letter from the lighthouse",
        "Dear neighbours, you write that my lamp spoils the northern plates between two and three. "
        "I could not put it out if the King asked. But I have hung a blanket on the landward side, "
        "and my wife says that the stars over the hill are better for it. Come to supper. J. Muir",
    ),
)

GLOW = HexColor("#24365e")


def lecture_slides(path: Path) -> None:
    """Write five slides of 16:9."""
    size = (338.7 * mm, 190.5 * mm)
    canvas = open_canvas(path, "Why we keep everything", size)
    for number, (title, *lines) in enumerate(SLIDES, start=1):
        _slide_background(canvas, size)
        canvas.setFillColor(BRASS)
        canvas.setFont("Helvetica-Bold", 38)
        canvas.drawString(28 * mm, size[1] - 50 * mm, title)
        canvas.setFillColor(PAPER)
        canvas.setFont("Helvetica", 21)
        for row, line in enumerate(lines):
            canvas.drawString(28 * mm, size[1] - (78 + 17 * row) * mm, line)
        canvas.setFillColor(FAINT)
        canvas.setFont("Helvetica", 11)
        canvas.drawRightString(size[0] - 14 * mm, 10 * mm, f"{number} / {len(SLIDES)}")
        canvas.showPage()
    canvas.save()


def _slide_background(canvas: Canvas, size: tuple[float, float]) -> None:
    canvas.setFillColor(INK)
    canvas.rect(0, 0, *size, stroke=0, fill=1)
    canvas.setFillColor(GLOW)
    canvas.circle(size[0] * 0.93, size[1] * 0.05, 62 * mm, stroke=0, fill=1)
    canvas.setFillColor(INK)
    canvas.circle(size[0] * 0.97, size[1] * 0.12, 56 * mm, stroke=0, fill=1)


def rotated_pages(path: Path) -> None:
    """Write the same page with /Rotate 0, 90, 180 and 270."""
    canvas = open_canvas(path, "Turned Pages")
    style = ParagraphStyle("large", BODY, fontSize=15, leading=22, alignment=TA_LEFT)
    width, height = A5
    for angle, text in TURNED:
        # reportlab turns the sheet with the page: a turned A5 begins as a landscape one.
        canvas.setPageSize(A5 if angle % 180 == 0 else landscape(A5))
        canvas.setPageRotation(angle)
        canvas.setFillColor(BRASS)
        canvas.setFont("Times-Bold", 44)
        canvas.drawString(22 * mm, height - 50 * mm, f"{angle}°")
        paragraph = Paragraph(text, style)
        _, used = paragraph.wrapOn(canvas, width - 44 * mm, height)
        paragraph.drawOn(canvas, 22 * mm, height - 62 * mm - used)
        canvas.setStrokeColor(FAINT)
        canvas.rect(10 * mm, 10 * mm, width - 20 * mm, height - 20 * mm)
        canvas.setFillColor(INK)
        canvas.setFont("Times-Italic", 11)
        canvas.drawCentredString(width / 2, 15 * mm, "the foot of the page")
        canvas.showPage()
    canvas.save()


def scrapbook(path: Path) -> None:
    """Write four pages of four sizes."""
    canvas = open_canvas(path, "Scrapbook")
    style = ParagraphStyle("cutting", BODY, fontSize=13, leading=18, alignment=TA_LEFT)
    for size, title, text in CUTTINGS:
        width, height = size
        canvas.setPageSize(size)
        canvas.setFillColor(PAPER)
        canvas.rect(0, 0, width, height, stroke=0, fill=1)
        heading = Paragraph(f"<b>{title}</b>", style)
        heading.wrapOn(canvas, width - 24 * mm, 60 * mm)
        heading.drawOn(canvas, 12 * mm, height - 14 * mm - heading.height)
        body = Paragraph(text, style)
        body.wrapOn(canvas, width - 24 * mm, height)
        body.drawOn(canvas, 12 * mm, height - 20 * mm - heading.height - body.height)
        canvas.showPage()
    canvas.save()


def one_line(path: Path) -> None:
    """Write the smallest telegram: one page, one line."""
    canvas = open_canvas(path, "Telegram", (120 * mm, 60 * mm))
    canvas.setFont("Courier", 12)
    canvas.drawString(12 * mm, 32 * mm, "ALL CLEAR OVER SKERRAVOE TONIGHT")
    canvas.save()
