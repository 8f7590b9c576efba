"""The annual report: a multi-page document with a title page, a chart and two tables."""

from __future__ import annotations

from pathlib import Path

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib.units import mm
from reportlab.platypus import (
    Flowable,
    KeepTogether,
    PageBreak,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from tests.make_samples.style import (
    BRASS,
    CENTRED,
    FAINT,
    HEADING,
    INK,
    SMALL,
    TITLE,
    build,
    paragraphs,
    running_head,
)

__all__ = ["annual_report"]

BOOK = (165 * mm, 225 * mm)
CLEAR_NIGHTS = (9, 11, 14, 17, 15, 8, 6, 10, 16, 13, 10, 7)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

YEAR = """
The year under report was a good one for the island and a memorable one for the sky. The dome
was open on one hundred and thirty-six nights, eleven more than the mean of the last decade,
and on only two of them was the work broken off by the wind. September alone gave sixteen clear
nights, among them a run of nine without a cloud, which none of us had seen before and which
Mr Reyle, who has kept the night log since 1919, does not expect to see again.

We took 412 photographic plates, measured 96 double stars, and timed 31 occultations by the
moon. The time service to the harbour was interrupted once, on 4 February, when a gull nested
in the mechanism of the time ball.
"""

INSTRUMENTS = """
The 28 cm refractor was cleaned and its driving clock rebuilt in May. The clock, which used to
lose four seconds an hour in cold weather, now keeps the stars on the wire for forty minutes
without correction. The old iron weights were given to the fishermen's co-operative, where they
serve as an anchor.

The astrographic camera received a new plate holder that takes glass of 16 by 16 centimetres.
The transit instrument remains what it has been since 1889: slow, exact, and cold to the touch.
"""

NEW_STAR = """
On the night of 17 March Miss Marwick, comparing a fresh plate with one of the previous winter,
found a star of the seventh magnitude where there had been none. It was confirmed at the eye
end of the refractor within the hour, and a telegram left the island with the morning boat.
The new star reached magnitude 4.6 on 21 March and could be seen from the kitchen window.

A separate paper describes the light curve. We note here only that the discovery was made
possible by a complete archive: without last winter's plate, properly labelled and in its place
on the shelf, the new star would have been one more point among eleven thousand.
"""

PEOPLE = """
Miss Edith Marwick was appointed First Computer on 1 April. Mr Tomas Reyle continues as night
assistant, and Mrs Halla Sund as housekeeper and keeper of the weather register. The
observatory cat, Parallax, has for the third year kept the plate room free of mice.

We received 218 visitors on the open evenings, most of them from the mainland and eleven from
overseas. A school from Leith stayed for three nights and saw the rings of Saturn, a lunar
eclipse, and a great deal of fog.
"""

ARCHIVE = """
The catalogue of plates has been copied onto cards, one card a plate, and the cards are filed
by right ascension. Anybody may now find every plate of any region of the sky within a minute.
It took Mr Reyle and two cousins the whole of the winter. The Director would like to record that
nothing we have bought in ten years, the driving clock included, has done more for the work of
this observatory than those nine wooden drawers.
"""

PLATES = (
    ("Instrument", "Nights", "Plates", "Mean exposure", "Rejected"),
    ("28 cm refractor", "88", "164", "22 min", "9"),
    ("Astrographic camera", "71", "203", "41 min", "14"),
    ("Comet seeker", "19", "37", "8 min", "2"),
    ("Meteor cameras", "6", "8", "3 h 10 min", "1"),
)

ACCOUNTS = (
    ("Income", "£", "Expenditure", "£"),
    ("Grant of the county", "640", "Salaries", "588"),
    ("Time service, harbour office", "120", "Plates and chemicals", "117"),
    ("Open evenings", "43", "Coal and lamp oil", "61"),
    ("Sale of almanacs", "28", "Repairs to the dome", "49"),
    ("", "", "Fish (for the cat)", "3"),
    ("Total", "831", "Total", "818"),
)


def annual_report(path: Path) -> None:
    """Write a title page and three pages of prose under headings, a bar chart, two tables."""
    story = [
        *_title_page(),
        Paragraph("1. The year", HEADING),
        *paragraphs(YEAR),
        _clear_nights(),
        Paragraph("Figure 1. Clear nights in each month of 1931.", SMALL),
        Paragraph("2. Instruments", HEADING),
        *paragraphs(INSTRUMENTS),
        KeepTogether(
            [
                _ruled(PLATES, (38 * mm, 16 * mm, 16 * mm, 28 * mm, 19 * mm)),
                Paragraph("Table 1. Photographic work of the year.", SMALL),
            ]
        ),
        Paragraph("3. The new star in Lynx", HEADING),
        *paragraphs(NEW_STAR),
        Paragraph("4. People and visitors", HEADING),
        *paragraphs(PEOPLE),
        Paragraph("5. The archive", HEADING),
        *paragraphs(ARCHIVE),
        Paragraph("6. Accounts", HEADING),
        _ruled(ACCOUNTS, (47 * mm, 12 * mm, 44 * mm, 12 * mm)),
        Paragraph("Table 2. The balance of £13 was carried forward.", SMALL),
        Spacer(0, 10 * mm),
        Paragraph("<i>Ingrid Aldous, Director. Skerravoe, 6 January 1932.</i>", CENTRED),
    ]
    head = running_head("Skerravoe Observatory: Annual Report 1931")
    build(path, "Forty-seventh Annual Report, 1931", story, size=BOOK, on_page=head)


def _title_page() -> list[Flowable]:
    return [
        Spacer(0, 40 * mm),
        Paragraph("Skerravoe Observatory", TITLE),
        Spacer(0, 4 * mm),
        Paragraph("Forty-seventh Annual Report<br/>of the Director", CENTRED),
        Paragraph("for the year 1931", CENTRED),
        Spacer(0, 14 * mm),
        Paragraph("<i>A clear night is a gift; a labelled plate is a promise kept.</i>", CENTRED),
        Spacer(0, 55 * mm),
        Paragraph("Printed for the Trustees, 1932", CENTRED),
        PageBreak(),
    ]


def _clear_nights() -> Drawing:
    drawing = Drawing(330, 150)
    chart = VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 25, 22, 300, 115
    chart.data = [CLEAR_NIGHTS]
    chart.categoryAxis.categoryNames = list(MONTHS)
    chart.categoryAxis.labels.fontName = "Times-Roman"
    chart.valueAxis.labels.fontName = "Times-Roman"
    chart.valueAxis.valueMin, chart.valueAxis.valueMax, chart.valueAxis.valueStep = 0, 20, 5
    chart.bars[0].fillColor = BRASS
    chart.bars[0].strokeColor = None
    chart.groupSpacing = 8
    drawing.add(chart)
    return drawing


def _ruled(rows: tuple[tuple[str, ...], ...], widths: tuple[float, ...]) -> Table:
    table = Table(rows, colWidths=widths, spaceBefore=6, spaceAfter=4)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Times-Roman", 10),
                ("FONT", (0, 0), (-1, 0), "Times-Bold", 10),
                ("TEXTCOLOR", (0, 0), (-1, 0), INK),
                ("LINEABOVE", (0, 0), (-1, 0), 1, INK),
                ("LINEBELOW", (0, 0), (-1, 0), 0.5, INK),
                ("LINEBELOW", (0, -1), (-1, -1), 1, INK),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [None, FAINT.clone(alpha=0.12)]),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return table
