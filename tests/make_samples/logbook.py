"""The long document: the night log of a leap year, three nights a page."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

from reportlab.lib.pagesizes import A6
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from tests.make_samples.style import BRASS, FAINT, INK, open_canvas, seeded

__all__ = ["night_log"]

FIRST_NIGHT = date(1928, 1, 1)
NIGHTS = 366
NIGHTS_PER_PAGE = 3

SKIES = (
    ("Clear.", 3, True),
    ("Clear after midnight.", 2, True),
    ("Clear, hazy near the horizon.", 2, True),
    ("Broken cloud.", 2, True),
    ("Thin high cloud, a ring round the moon.", 1, True),
    ("Overcast.", 5, False),
    ("Fog from the north.", 2, False),
    ("Rain all night.", 3, False),
    ("Gale; dome kept shut and lashed.", 1, False),
    ("Snow on the dome until three.", 1, False),
)
OBJECTS = (
    "the double star 61 Cygni, four settings",
    "Jupiter, with a drawing of the belts",
    "Saturn; the division in the ring plain",
    "the great cluster in Hercules",
    "the Ring Nebula in Lyra",
    "the variable star Mira, by steps against seven others",
    "occultation of a star by the dark edge of the moon, timed to a tenth of a second",
    "a field in Lynx, one plate of forty minutes",
    "a field in Perseus, two plates",
    "the Andromeda Nebula, one plate of an hour",
    "Algol near minimum, every ten minutes",
    "the craters along the evening terminator",
)
ASIDES = (
    "The clock lost two seconds.",
    "The cat came up for company and was asked to leave the slit.",
    "Lamp oil is low; wrote to the harbour.",
    "A ship's lights until one, then the dark was ours.",
    "Geese going over, heard but not seen.",
    "Northern lights, green, low in the north-west.",
    "Three meteors within a minute, none for an hour.",
    "Mrs Sund brought soup at two. Seeing improved.",
    "Stiff fingers; wrote this with the other hand.",
    "A plate was put in the holder backwards. It shall not be spoken of.",
    "So quiet that the driving clock seemed loud.",
    "Saw the lighthouse keeper's window go dark at four.",
    "Dew on the objective at five; closed.",
    "Counted stars in the Pleiades with the naked eye: eleven.",
)
CLOUDY = (
    "Developed plates instead.",
    "Copied forty cards of the plate catalogue.",
    "Reduced the transits of last week.",
    "Oiled the wheels of the dome.",
    "Read the journals; two months late, as the boat was.",
    "Looked every hour. Nothing.",
    "Measured plates by lamplight with Miss Marwick.",
    "Slept.",
)


def night_log(path: Path) -> None:
    """Write 123 small pages of typewriting: a cover and 366 nights."""
    canvas = open_canvas(path, "Night Log of the 28 cm Refractor, 1928", A6)
    _cover(canvas)
    pick = seeded(1928)
    for first in range(0, NIGHTS, NIGHTS_PER_PAGE):
        nights = [FIRST_NIGHT + timedelta(days=first + n) for n in range(NIGHTS_PER_PAGE)]
        _page(canvas, nights, pick)
    canvas.save()


def _cover(canvas: Canvas) -> None:
    width, height = A6
    canvas.setFillColor(INK)
    canvas.rect(0, 0, width, height, stroke=0, fill=1)
    canvas.setStrokeColor(BRASS)
    canvas.rect(7 * mm, 7 * mm, width - 14 * mm, height - 14 * mm)
    canvas.setFillColor(BRASS)
    canvas.setFont("Times-Bold", 24)
    canvas.drawCentredString(width / 2, height * 0.62, "Night Log")
    canvas.setFont("Times-Roman", 13)
    canvas.drawCentredString(width / 2, height * 0.56, "of the 28 cm Refractor")
    canvas.drawCentredString(width / 2, height * 0.30, "Volume 9: the year 1928")
    canvas.setFont("Times-Italic", 11)
    canvas.drawCentredString(width / 2, height * 0.25, "kept by T. Reyle, night assistant")
    canvas.showPage()


def _page(canvas: Canvas, nights: list[date], pick: random.Random) -> None:
    width, height = A6
    canvas.setFillColor(FAINT)
    canvas.setFont("Courier", 8)
    canvas.drawRightString(width - 11 * mm, 7 * mm, f"{canvas.getPageNumber() - 1}")
    text = canvas.beginText(11 * mm, height - 14 * mm)
    for night in nights:
        text.setFillColor(BRASS)
        text.setFont("Courier-Bold", 9, leading=14)
        text.textLine(f"{night:%A} {night.day} {night:%B %Y}")
        text.setFillColor(INK)
        text.setFont("Courier", 8.5, leading=12)
        for line in _entry(pick):
            text.textLine(line)
        text.moveCursor(0, 14)
    canvas.drawText(text)
    canvas.showPage()


def _entry(pick: random.Random) -> list[str]:
    """Return the lines of one night, wrapped for a small page."""
    sky, _, is_open = pick.choices(SKIES, weights=[weight for _, weight, _ in SKIES])[0]
    barometer = f"Barometer {pick.randrange(985, 1032)} mb, wind force {pick.randrange(0, 9)}."
    if not is_open:
        return _wrapped(f"{sky} {barometer} {pick.choice(CLOUDY)}")
    first, second = pick.sample(OBJECTS, 2)
    hour, minute = pick.randrange(20, 24), pick.randrange(60)
    seeing = f"Seeing {pick.randrange(1, 6)} of 5."
    return _wrapped(
        f"{sky} {barometer} {seeing} Opened at {hour}:{minute:02}. Observed {first}; "
        f"then {second}. {pick.choice(ASIDES)}"
    )


def _wrapped(text: str, width: int = 46) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
