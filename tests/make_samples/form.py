"""The form: text fields, a choice, check boxes, some of them filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from tests.make_samples.style import BRASS, FAINT, INK, PAPER, open_canvas

__all__ = ["visitor_form"]

LEFT, TOP = 25 * mm, A4[1]
COLOURS = {"borderColor": FAINT, "fillColor": PAPER, "textColor": INK}
HOURS = ("before midnight", "after midnight")
FIELDS = (
    ("name", "Your name", "Agnes Muir"),
    ("from", "Where you come from", "the lighthouse"),
    ("date", "Evening of your visit", "19 September 1931"),
    ("party", "Number in your party", "4, and a dog"),
)
WISHES = (
    ("moon", "the moon", True),
    ("saturn", "Saturn", True),
    ("nova", "the new star", True),
    ("plates", "the plate room", False),
    ("cat", "the cat", True),
)


def visitor_form(path: Path) -> None:
    """Write one page with an AcroForm of eleven fields."""
    canvas = open_canvas(path, "Visitor's Form")
    canvas.setFillColor(INK)
    canvas.setFont("Times-Bold", 22)
    canvas.drawString(LEFT, TOP - 32 * mm, "Open Evening: Visitor's Form")
    canvas.setFont("Times-Roman", 11)
    request = "Please fill in and hand to the night assistant, who cannot see you."
    canvas.drawString(LEFT, TOP - 41 * mm, request)
    _answers(canvas)
    _wishes(canvas)
    canvas.drawString(LEFT, TOP - 215 * mm, "Remarks")
    canvas.acroForm.textfield(
        name="remarks",
        tooltip="Remarks",
        value="Is it true that the star is gone already and we see it late?",
        fieldFlags="multiline",
        **_box(LEFT, TOP - 250 * mm, 150 * mm, 30 * mm),
    )
    canvas.setFillColor(BRASS)
    canvas.setFont("Times-Italic", 11)
    canvas.drawString(LEFT, 28 * mm, "If it is cloudy there will be a lecture, and soup.")
    canvas.save()


def _answers(canvas: Canvas) -> None:
    for row, (name, label, value) in enumerate(FIELDS):
        y = TOP - (62 + 16 * row) * mm
        canvas.drawString(LEFT, y + 2.5 * mm, label)
        box = _box(80 * mm, y, 95 * mm, 9 * mm)
        canvas.acroForm.textfield(name=name, tooltip=label, value=value, **box)
    y = TOP - 132 * mm
    canvas.drawString(LEFT, y + 2.5 * mm, "You would rather come")
    box = _box(80 * mm, y, 95 * mm, 9 * mm)
    canvas.acroForm.choice(name="hour", value=HOURS[1], options=list(HOURS), **box)


def _wishes(canvas: Canvas) -> None:
    canvas.drawString(LEFT, TOP - 150 * mm, "You would like to see")
    for row, (name, label, checked) in enumerate(WISHES):
        y = TOP - (152 + 10 * row) * mm
        canvas.acroForm.checkbox(
            name=name, tooltip=label, checked=checked, x=80 * mm, y=y, size=14, **COLOURS
        )
        canvas.drawString(88 * mm, y + 1.2 * mm, label)


def _box(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    place = {"x": x, "y": y, "width": width, "height": height}
    return {**place, "fontName": "Helvetica", "fontSize": 11, "borderWidth": 0.7, **COLOURS}
