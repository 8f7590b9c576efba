"""Samples that are mostly pictures: photographs, a drawing, a star chart, a cropped map."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, A6
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from tests.make_samples.style import BODY, BRASS, FAINT, INK, PAPER, SMALL, open_canvas, seeded

__all__ = ["harbour_map", "photographic_plates", "saturn_drawing", "star_chart"]

CAPTIONS = (
    "<b>A 2207.</b> A field in Lynx, 11 December 1930. Nothing out of the ordinary, yet.",
    "<b>A 2291.</b> The same field, 17 March 1931. The new star is ringed in ink.",
    "<b>A 2318.</b> The cluster in Perseus. Forty minutes; the guide never left the clock.",
    "<b>A 2353.</b> A trailed plate: the driving clock stopped and the sky did not.",
)

PLATES_TEXT = """
These are negatives: the sky is pale and the stars are dark, so that a speck of light may be
measured as a speck of silver. Each plate is glass, sixteen centimetres square, and bears its
number scratched into the corner with a needle. Compare the upper two. A machine that could read
every plate in this building would find in an afternoon what took us forty winters; until then
there is Miss Marwick, a lens, and a north window.
"""

CONSTELLATIONS = (
    "Ursa Major",
    "Lynx",
    "Auriga",
    "Perseus",
    "Cassiopeia",
    "Cepheus",
    "Cygnus",
    "Lyra",
    "Hercules",
    "Bootes",
    "Canes Venatici",
    "Leo Minor",
)

SEA = HexColor("#dfe9f0")
LAND = HexColor("#efe6cd")


def photographic_plates(path: Path) -> None:
    """Write one page of four photographs, made here, with captions and a text."""
    canvas = open_canvas(path, "Plates from the tower room")
    width, height = A4
    canvas.setFillColor(INK)
    canvas.setFont("Times-Bold", 20)
    canvas.drawCentredString(width / 2, height - 24 * mm, "Plates from the Tower Room")
    for number, caption in enumerate(CAPTIONS):
        x = (22 + 86 * (number % 2)) * mm
        y = height - (116 + 100 * (number // 2)) * mm
        canvas.drawImage(ImageReader(_plate(number)), x, y, 80 * mm, 80 * mm)
        _place(canvas, Paragraph(caption, SMALL), x, y - 2 * mm, 80 * mm)
    canvas.setStrokeColor(BRASS)
    canvas.setLineWidth(1.2)
    canvas.circle(22 * mm + 86 * mm + 46 * mm, height - 70 * mm, 3.2 * mm)
    _place(canvas, Paragraph(PLATES_TEXT, BODY), 22 * mm, 64 * mm, 166 * mm)
    canvas.save()


def _place(canvas: Canvas, paragraph: Paragraph, x: float, top: float, width: float) -> None:
    _, height = paragraph.wrapOn(canvas, width, 400)
    paragraph.drawOn(canvas, x, top - height)


def _plate(number: int) -> Image.Image:
    """Return a negative of a star field; 0 and 1 show the same stars but for one."""
    side = 320
    pick = seeded(max(number, 1))
    plate = Image.new("L", (side, side), 214)
    draw = ImageDraw.Draw(plate)
    stars = [
        (pick.uniform(4, side - 4), pick.uniform(4, side - 4), 0.5 + pick.paretovariate(2.6) * 0.55)
        for _ in range(190)
    ]
    if number == 1:
        stars.append((46 * side / 80, side - 46 * side / 80 - 0.5, 4.6))
    if number == 2:
        stars += [
            (pick.gauss(160, 24), pick.gauss(160, 24), pick.uniform(0.6, 2.4)) for _ in "x" * 120
        ]
    trail = 26 if number == 3 else 0
    for x, y, wanted in stars:
        size = min(wanted, 5)
        draw.ellipse((x - size, y - size, x + size + trail, y + size), fill=40)
    draw.text((8, side - 18), f"A {(2207, 2291, 2318, 2353)[number]}", fill=90)
    return plate.filter(ImageFilter.GaussianBlur(0.9)).quantize(24).convert("L")


def saturn_drawing(path: Path) -> None:
    """Write one page that is a picture only, as a scan without recognised text is."""
    canvas = open_canvas(path, "Saturn, drawn at the telescope", A6)
    canvas.drawImage(ImageReader(_saturn()), 0, 0, *A6)
    canvas.save()


def _saturn() -> Image.Image:
    """Return the planet with its rings, the near half of them in front of it."""
    size = (420, 592)
    globe, rings = (210, 296, 78), ((178, 52, 150), (148, 43, 205), (120, 35, 120))
    picture = Image.new("L", size, 24)
    front = Image.new("L", size, 24)
    for image in (picture, front):
        draw = ImageDraw.Draw(image)
        for across, up, shade in (*rings, (100, 29, 24)):
            box = (globe[0] - across, globe[1] - up, globe[0] + across, globe[1] + up)
            draw.ellipse(box, fill=shade)
    draw = ImageDraw.Draw(picture)
    for step in range(globe[2], 0, -2):
        x, y = globe[0] - (globe[2] - step) * 0.25, globe[1] - (globe[2] - step) * 0.2
        shade = 215 - int(95 * (step / globe[2]) ** 3)
        draw.ellipse((x - step, y - step * 0.92, x + step, y + step * 0.92), fill=shade)
    below = (0, globe[1], *size)
    near = front.crop(below)
    picture.paste(near, below[:2], near.point(lambda shade: 255 if shade > 24 else 0))
    picture = picture.rotate(14, Image.Resampling.BICUBIC, fillcolor=24)
    return picture.filter(ImageFilter.GaussianBlur(1.1)).quantize(32).convert("L")


def star_chart(path: Path) -> None:
    """Write a round chart whose names run along its rim, at every angle."""
    side = 210 * mm
    canvas = open_canvas(path, "The Sky around the Pole", (side, side))
    canvas.setFillColor(INK)
    canvas.rect(0, 0, side, side, stroke=0, fill=1)
    canvas.translate(side / 2, side / 2)
    canvas.setStrokeColor(FAINT)
    canvas.setLineWidth(0.4)
    for radius in (25, 50, 75):
        canvas.circle(0, 0, radius * mm)
    for hour in range(24):
        _spoke(canvas, hour)
    _rim(canvas)
    _stars(canvas)
    canvas.setFillColor(BRASS)
    canvas.setFont("Times-Bold", 15)
    canvas.drawCentredString(0, -101.5 * mm, "The sky around the pole, as seen from Skerravoe")
    canvas.save()


def _spoke(canvas: Canvas, hour: int) -> None:
    canvas.saveState()
    canvas.rotate(90 - hour * 15)
    canvas.line(4 * mm, 0, 80 * mm, 0)
    canvas.setFillColor(FAINT)
    canvas.setFont("Times-Roman", 8)
    canvas.drawString(81.5 * mm, -1 * mm, f"{hour}h")
    canvas.restoreState()


def _rim(canvas: Canvas) -> None:
    canvas.setFillColor(PAPER)
    canvas.setFont("Times-Italic", 12)
    for number, name in enumerate(CONSTELLATIONS):
        canvas.saveState()
        canvas.rotate(-number * 30 - 15)
        canvas.drawCentredString(0, 90 * mm, name)
        canvas.restoreState()


def _stars(canvas: Canvas) -> None:
    pick = seeded(90)
    canvas.setFillColor(PAPER)
    canvas.circle(1.2 * mm, 0.8 * mm, 1.1 * mm, stroke=0, fill=1)
    canvas.setFont("Times-Roman", 8)
    canvas.drawString(3 * mm, 1.6 * mm, "Polaris")
    for _ in range(320):
        radius, angle = 78 * mm * math.sqrt(pick.random()), pick.uniform(0, 2 * math.pi)
        size = min(0.12 * pick.paretovariate(1.7), 1.2) * mm
        canvas.circle(radius * math.cos(angle), radius * math.sin(angle), size, stroke=0, fill=1)


def harbour_map(path: Path) -> None:
    """Write a map on a large sheet that is cropped: what lies outside the crop is not shown."""
    sheet = (300 * mm, 240 * mm)
    left, bottom, right, top = 55 * mm, 35 * mm, 265 * mm, 190 * mm
    canvas = open_canvas(path, "Harbour and Observatory", sheet)
    canvas.setCropBox((left, bottom, right, top))
    canvas.setFillColor(SEA)
    canvas.rect(0, 0, *sheet, stroke=0, fill=1)
    canvas.setFillColor(INK)
    canvas.setFont("Times-BoldItalic", 22)
    canvas.drawString(left + 8 * mm, top - 14 * mm, "Skerravoe: Harbour and Observatory")
    canvas.setFont("Times-Italic", 10)
    canvas.drawString(left + 8 * mm, bottom + 8 * mm, "Surveyed 1926. Soundings in fathoms.")
    _coast(canvas)
    canvas.setFillColor(INK)
    canvas.setFont("Helvetica", 8)
    for x, y, name in _PLACES:
        canvas.circle(x * mm, y * mm, 1.1 * mm, stroke=0, fill=1)
        canvas.drawString((x + 2.5) * mm, (y - 1) * mm, name)
    _soundings(canvas)
    canvas.setFillColor(FAINT)
    canvas.drawString(20 * mm, 15 * mm, "Printer's margin: trim here")
    canvas.save()


_PLACES = (
    (158, 113, "Observatory"),
    (167, 105, "Plate store"),
    (224, 111, "Harbour office (time ball)"),
    (231, 95, "Mail boat"),
    (95, 103, "Lighthouse"),
    (140, 80, "School"),
    (177, 138, "Peat road"),
)


def _coast(canvas: Canvas) -> None:
    """Draw the island with contour lines."""
    pick = seeded(7)
    waves = [(n, pick.uniform(0, 0.16) / n, pick.uniform(0, 6.3)) for n in range(2, 15)]
    canvas.setStrokeColor(BRASS)
    for step, scale in enumerate((1, 0.8, 0.58, 0.36)):
        outline = canvas.beginPath()
        for number in range(240):
            angle = number / 240 * 2 * math.pi
            reach = scale * (1 + sum(size * math.sin(n * angle + at) for n, size, at in waves))
            x, y = (
                (155 + 66 * reach * math.cos(angle)) * mm,
                (108 + 46 * reach * math.sin(angle)) * mm,
            )
            (outline.lineTo if number else outline.moveTo)(x, y)
        outline.close()
        canvas.setFillColor(LAND)
        canvas.setLineWidth(1.2 if step == 0 else 0.3)
        canvas.drawPath(outline, fill=int(step == 0), stroke=1)


def _soundings(canvas: Canvas) -> None:
    pick = seeded(17)
    canvas.setFillColor(FAINT)
    canvas.setFont("Helvetica", 8)
    for _ in range(150):
        x, y = pick.uniform(10, 290), pick.uniform(10, 230)
        if math.hypot((x - 155) / 84, (y - 108) / 60) > 1 and 50 < y < 168:
            canvas.drawString(x * mm, y * mm, str(pick.randrange(3, 40)))
