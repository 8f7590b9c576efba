"""Samples made of tables: an invoice, a long catalogue and a register of numbers."""

from __future__ import annotations

import math
from datetime import date
from itertools import pairwise
from pathlib import Path

from reportlab.lib.colors import white
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, Table, TableStyle

from tests.make_samples.style import (
    BRASS,
    FAINT,
    INK,
    PAPER,
    SMALL,
    TITLE,
    build,
    open_canvas,
    running_head,
    seeded,
)

__all__ = ["invoice", "plate_catalogue", "weather_register"]

ITEMS = (
    ("Photographic plates 16 x 16 cm, blue-sensitive, box of 12", 24, 6.50),
    ("Photographic plates 9 x 12 cm, panchromatic, box of 12", 10, 4.25),
    ("Developer, stock solution, carboy of 5 litres", 3, 11.80),
    ("Fixing salt, sack of 10 kg", 2, 7.40),
    ("Plate envelopes, acid-free, per hundred", 6, 1.95),
    ("Packing in straw and carriage by mail boat", 1, 14.00),
)

TERMS = (
    "Please pay to our account at the Harbour Bank, quoting the number of this invoice.",
    "Plates should be kept cool, dry and upright. Broken ones are replaced without",
    "question; only send us the pieces, they make excellent microscope slides.",
)
FIELDS = (
    ("Auriga", "06h 10m", "+45° 00'"),
    ("Perseus", "03h 20m", "+49° 30'"),
    ("Cassiopeia", "01h 05m", "+58° 15'"),
    ("Cygnus", "20h 35m", "+45° 15'"),
    ("Lyra", "18h 50m", "+40° 30'"),
    ("Draco", "17h 40m", "+55° 00'"),
    ("Ursa Major", "11h 00m", "+56° 45'"),
)
LYNX = ("Lynx", "08h 02m", "+47° 45'")
LYNX_PLATES = {
    2207: (date(1930, 12, 11), "good"),
    2291: (date(1931, 3, 17), "NEW STAR, magnitude 7.0"),
    2298: (date(1931, 3, 21), "the new star at 4.6"),
    2306: (date(1931, 3, 26), "the new star at 5.7"),
    2317: (date(1931, 4, 5), "the new star at 6.2"),
    2340: (date(1931, 4, 24), "the new star at 7.6"),
    2352: (date(1931, 5, 2), "the new star at 7.5"),
    2366: (date(1931, 5, 14), "the new star at 7.9"),
}
REMARKS = (
    "good",
    "good",
    "good",
    "thin cloud at the end",
    "guiding star lost for 2 min",
    "edge fogged",
    "wind; images slightly long",
    "excellent; faintest stars 15.1",
    "moonlight after 23h",
    "hair of the cat, lower left",
)


def invoice(path: Path) -> None:
    """Write one page: addresses, a table of items with sums, terms of payment."""
    canvas = open_canvas(path, "Invoice 1931-0417")
    height = A4[1]
    _letterhead(canvas)
    order = ("Date: 17 April 1931", "Order: of 2 April, by telegram", "Terms: 30 days")
    to = ("To:", "Skerravoe Observatory", "The Director, Dr Ingrid Aldous", "Isle of Skerravoe")
    _lines(canvas, 22 * mm, height - 55 * mm, to)
    _lines(canvas, 125 * mm, height - 55 * mm, order)
    table = Table(_invoice_rows(), colWidths=[98 * mm, 18 * mm, 25 * mm, 25 * mm])
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Helvetica", 9.5),
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9.5),
                ("FONT", (0, -1), (-1, -1), "Helvetica-Bold", 11),
                ("BACKGROUND", (0, 0), (-1, 0), BRASS),
                ("TEXTCOLOR", (0, 0), (-1, 0), white),
                ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
                ("LINEBELOW", (0, 1), (-1, -4), 0.3, FAINT),
                ("LINEABOVE", (2, -1), (-1, -1), 1, INK),
                ("TOPPADDING", (0, 0), (-1, -1), 5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
            ]
        )
    )
    _, table_height = table.wrapOn(canvas, *A4)
    table.drawOn(canvas, 22 * mm, height - 88 * mm - table_height)
    _lines(canvas, 22 * mm, 45 * mm, TERMS)
    canvas.save()


def _letterhead(canvas: Canvas) -> None:
    width, height = A4
    canvas.setFillColor(INK)
    canvas.rect(0, height - 38 * mm, width, 38 * mm, stroke=0, fill=1)
    canvas.setFillColor(PAPER)
    canvas.setFont("Helvetica-Bold", 20)
    canvas.drawString(22 * mm, height - 20 * mm, "Harrow & Lisle")
    canvas.setFont("Helvetica", 9.5)
    canvas.drawString(22 * mm, height - 27 * mm, "Makers of photographic plates, Leith")
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawRightString(width - 22 * mm, height - 20 * mm, "INVOICE 1931-0417")


def _lines(canvas: Canvas, x: float, y: float, lines: tuple[str, ...]) -> None:
    canvas.setFillColor(INK)
    canvas.setFont("Helvetica", 9.5)
    for number, line in enumerate(lines):
        canvas.drawString(x, y - number * 13, line)


def _invoice_rows() -> list[tuple[str, str, str, str]]:
    items = [
        (name, str(count), f"{price:.2f}", f"{count * price:.2f}") for name, count, price in ITEMS
    ]
    net = sum(count * price for _, count, price in ITEMS)
    discount = round(net * 0.05, 2)
    return [
        ("Item", "Quantity", "Price", "Amount"),
        *items,
        ("", "", "Net", f"{net:.2f}"),
        ("", "", "Discount 5 %", f"-{discount:.2f}"),
        ("", "", "Total", f"£ {net - discount:.2f}"),
    ]


def plate_catalogue(path: Path) -> None:
    """Write a landscape table of 160 rows over several pages, its header on each."""
    rows: list[tuple[str, ...]] = [
        ("Plate", "Date", "Field", "Right asc.", "Decl.", "Start", "Exposure", "Remarks")
    ]
    rows += [_plate(number) for number in range(2207, 2367)]
    widths = [20, 28, 34, 28, 26, 24, 27, 62]
    table = Table(rows, colWidths=[width * mm for width in widths], repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Helvetica", 9),
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9),
                ("TEXTCOLOR", (0, 0), (-1, 0), white),
                ("BACKGROUND", (0, 0), (-1, 0), INK),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [None, PAPER]),
                ("TOPPADDING", (0, 0), (-1, -1), 1.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
            ]
        )
    )
    build(
        path,
        "Catalogue of Plates, A 2207 to A 2366",
        [
            Paragraph("Catalogue of Plates, A 2207 to A 2366", TITLE),
            Paragraph(
                "Astrographic camera, plates of 16 by 16 cm. Places are for the equinox 1900.0 "
                "and the middle of the plate; times are those of Greenwich.",
                SMALL,
            ),
            table,
        ],
        size=landscape(A4),
        on_page=running_head("Skerravoe Observatory: Catalogue of Plates"),
    )


def _plate(number: int) -> tuple[str, ...]:
    """Return one row; the plates of the new star are those of the paper on it."""
    pick = seeded(number)
    if number in LYNX_PLATES:
        night, remark = LYNX_PLATES[number]
        field, exposure = LYNX, 40
    else:
        night, remark = _night(number), pick.choice(REMARKS)
        field, exposure = pick.choice(FIELDS), pick.choice((20, 40, 40, 40, 60))
    start = f"{pick.choice((20, 21, 22, 23, 0, 1, 2)):02}:{pick.randrange(60):02}"
    return (f"A {number}", night.isoformat(), *field, start, f"{exposure} min", remark)


def _night(number: int) -> date:
    """Return the night of a plate: evenly spread between the nights that are known."""
    before, after = next(pair for pair in pairwise(LYNX_PLATES) if pair[0] < number < pair[1])
    first, last = LYNX_PLATES[before][0], LYNX_PLATES[after][0]
    return first + (last - first) * (number - before) / (after - before)


def weather_register(path: Path) -> None:
    """Write a ruled grid of numbers: the temperature at noon of every day of 1931."""
    size = landscape(A4)
    canvas = open_canvas(path, "Weather Register 1931", size)
    canvas.setFillColor(INK)
    canvas.setFont("Times-Bold", 17)
    canvas.drawString(18 * mm, size[1] - 18 * mm, "Weather Register 1931")
    canvas.setFont("Times-Italic", 10)
    canvas.drawRightString(
        size[0] - 18 * mm, size[1] - 18 * mm, "Temperature at noon, degrees Celsius. H. Sund"
    )
    months = ("J", "F", "M", "A", "M", "J", "J", "A", "S", "O", "N", "D")
    columns = [_temperatures(month) for month in range(12)]
    means = [f"{sum(column) / len(column):.1f}" for column in columns]
    rows = [["Day", *months]]
    for day in range(31):
        cells = [f"{column[day]:.1f}" if day < len(column) else "" for column in columns]
        rows.append([str(day + 1), *cells])
    rows.append(["Mean", *means])
    table = Table(rows, colWidths=[16 * mm] + [20.2 * mm] * 12, rowHeights=[5.15 * mm] * 33)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Courier", 8),
                ("FONT", (0, 0), (-1, 0), "Courier-Bold", 9),
                ("FONT", (0, -1), (-1, -1), "Courier-Bold", 9),
                ("ALIGN", (0, 0), (-1, -1), "RIGHT"),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("GRID", (0, 0), (-1, -1), 0.3, FAINT),
                ("BOX", (0, 0), (-1, -1), 1, INK),
                ("BACKGROUND", (0, 0), (-1, 0), PAPER),
                ("BACKGROUND", (0, -1), (-1, -1), PAPER),
            ]
        )
    )
    table.wrapOn(canvas, *size)
    table.drawOn(canvas, 18 * mm, 12 * mm)
    canvas.save()


def _temperatures(month: int) -> list[float]:
    days = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month]
    pick = seeded(month)
    season = 8.5 - 6.5 * math.cos((month - 0.8) / 12 * 2 * math.pi)
    return [round(season + pick.gauss(0, 2.2), 1) for _ in range(days)]
