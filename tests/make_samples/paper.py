"""The two-column paper, with a figure, a table and references."""

from __future__ import annotations

import math
from pathlib import Path

from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, String
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    NextPageTemplate,
    PageTemplate,
    Paragraph,
    Table,
    TableStyle,
)

from tests.make_samples.style import (
    AUTHOR,
    BODY,
    BRASS,
    CENTRED,
    HEADING,
    INK,
    SMALL,
    TITLE,
    paragraphs,
)

__all__ = ["two_column_paper"]

COLUMN = ParagraphStyle("column", BODY, fontSize=9.5, leading=12, spaceAfter=4, firstLineIndent=9)
SECTION = ParagraphStyle("section", HEADING, fontSize=11, leading=14, spaceBefore=6, spaceAfter=3)

ABSTRACT = """
<b>Abstract.</b> A new star was found in Lynx on 1931 March 17 on plates of the Skerravoe
astrographic camera. We describe its light curve over 120 days from 63 photographic and 41
visual magnitudes. The star rose to magnitude 4.6 within four days, declined by three
magnitudes in 38 days, and showed two minor brightenings on the way. On a plate of the previous
winter there is at its place an object of magnitude 14.8, which we believe to be the star
before its outburst.
"""

INTRODUCTION = """
New stars are found by accident, but the accident has to be prepared. Since 1902 every field
of the northern sky between declinations +40 and +60 degrees has been photographed from this
station at least once each winter, with the same lens, on plates of the same maker, and exposed
for the same forty minutes. The plates are kept in order and are easy to find. The discovery
described here took four minutes, of which three were spent on the stairs.

The place of the star for the equinox 1900.0 is 8 hours 2 minutes 17 seconds, +47 degrees 51
minutes. There is no star of the older catalogues within one minute of arc.
"""

OBSERVATIONS = """
Photographic magnitudes were measured on 63 plates by comparison with a sequence of eighteen
stars, labelled a to s in Table 1 of the plate catalogue. Each plate was measured twice, on
different days and by different computers, who were not told the result of the other. The mean
difference of two measures is 0.06 magnitude; where it exceeded 0.2 a third was made.

Visual estimates were made at the finder of the refractor by the method of steps. They agree
with the photographic magnitudes after a constant correction of 0.41, which is the colour of
the star, and which grew to 0.7 during the decline as the star became redder.
"""

CURVE = """
Figure 1 shows the light curve. The rise was seen only in part: on March 16 the field was
photographed through thin cloud and the star, if present, was fainter than the eleventh
magnitude. On the 17th it was at 7.0, and on the 21st at 4.6, its greatest brightness. From
then on the decline was at first slow, then steady, and may be represented from the fifth day
by a straight line against the logarithm of time.

Two minor brightenings, of 0.5 and 0.3 magnitude, came on the 19th and on the 46th day. Both
lasted less than three nights. It is tempting to see in them a period of 27 days; the third
term of the series, on the 73rd day, was lost to rain.
"""

PROGENITOR = """
On plate A 2207, taken on 1930 December 11, there is a faint image within two seconds of arc of
the place of the new star. Its magnitude is 14.8, near the limit of the plate. The image is
round, and of the same blackness as that of its neighbours. The chance that an unrelated star
of this brightness should lie so close is about one in nine hundred.

If the two are the same, the star brightened in its outburst by more than ten magnitudes, that
is by a factor of about twelve thousand. We know of nothing on earth that does so and remains.
"""

COLOUR = """
With an objective prism of ten degrees we obtained five plates of the spectrum, the first on
March 19 and the last on April 30. The first shows a blue continuum crossed by broad, hazy
bands. On March 26 bright lines had appeared at the red edge of each band, as if the star were
wearing a torn coat. By the end of April little was left but the bright lines, and the star in
the finder was the colour of a ripe rowan berry.

Mr Reyle asks us to record that the last of these plates was exposed for three hours and fifty
minutes, by hand, because the weights of the driving clock were at the harbour.
"""

SEARCH = """
Encouraged by the find we compared all plates of the winter with those of the winter before,
2,118 pairs in all. The work was shared between four people and two lenses and took until
October. It gave no second new star. It gave 31 variable stars, of which 22 seem to be unknown;
three minor planets; one comet, seen eleven days too late; a great number of scratches; and, on
plate A 1984, the distinct print of a paw.

We mention this because the labour was nearly all in the finding, turning and holding of glass.
To look at a pair takes nine seconds; to bring it to the light and to put it back takes four
minutes. An archive is used as much as it is easy to use, and no more.
"""

CONCLUSION = """
The light curve is that of a fast nova. We urge observers with instruments larger than ours to
follow the star as it fades, and observers with archives larger than ours to look at their
shelves: a star that has done this once may have done it before.

It is a pleasure to thank the crew of the mail boat, who carried the plates to the mainland
upright and dry, and Mrs Sund, who heated the measuring room.
"""

REFERENCES = """
Aldous, I., 1931. <i>Annual Report of Skerravoe Observatory</i>, 47.

Marwick, E., 1929. On the personal equation of tired observers. <i>Skerravoe Circular</i>, 12.

Reyle, T., 1928. <i>Night Log of the 28 cm Refractor</i>, volume 9 (manuscript).

Sund, H., 1931. The weather register, 1902 to 1930. <i>Skerravoe Circular</i>, 15.
"""

MAGNITUDES = (
    ("Day", "Plate", "Photogr.", "Visual"),
    ("0", "A 2291", "7.0", "6.6"),
    ("4", "A 2298", "4.6", "4.2"),
    ("9", "A 2306", "5.7", "5.3"),
    ("19", "A 2317", "6.2", "5.7"),
    ("38", "A 2340", "7.6", "7.0"),
    ("46", "A 2352", "7.5", "6.9"),
    ("80", "A 2391", "8.6", "7.9"),
    ("120", "A 2430", "9.1", "8.4"),
)


def two_column_paper(path: Path) -> None:
    """Write two pages in two columns under a title that spans both."""
    document = BaseDocTemplate(
        str(path), title="The New Star of 1931 in Lynx", author=AUTHOR, invariant=1
    )
    document.addPageTemplates(
        [_first_page(), PageTemplate("later", _columns(height=112 * mm, bottom=165 * mm))]
    )
    document.build(
        [
            NextPageTemplate("later"),
            Paragraph("The New Star of 1931 in Lynx", TITLE),
            Paragraph("Edith Marwick and Ingrid Aldous", CENTRED),
            Paragraph("<i>Skerravoe Observatory Circular No. 16</i>", CENTRED),
            *paragraphs(ABSTRACT, SMALL),
            FrameBreak(),
            *_section("1. Introduction", INTRODUCTION),
            *_section("2. Observations", OBSERVATIONS),
            *_section("3. The light curve", CURVE),
            _light_curve(),
            Paragraph("<b>Figure 1.</b> Photographic magnitudes, days after March 17.", SMALL),
            *_section("4. The star before its outburst", PROGENITOR),
            _magnitudes(),
            Paragraph("<b>Table 1.</b> Selected magnitudes.", SMALL),
            *_section("5. Colour and spectrum", COLOUR),
            *_section("6. A search of the whole archive", SEARCH),
            *_section("7. Conclusion", CONCLUSION),
            Paragraph("References", SECTION),
            *paragraphs(REFERENCES, SMALL),
        ]
    )


def _section(heading: str, text: str) -> list[Flowable]:
    return [Paragraph(heading, SECTION), *paragraphs(text, COLUMN)]


def _first_page() -> PageTemplate:
    width, height = A4
    title = Frame(22 * mm, height - 74 * mm, width - 44 * mm, 56 * mm, 0, 0, 0, 0)
    return PageTemplate("first", [title, *_columns(height=200 * mm)])


def _columns(height: float, bottom: float = 20 * mm) -> list[Frame]:
    return [Frame(x * mm, bottom, 79 * mm, height, 0, 0, 0, 0) for x in (22, 109)]


def _light_curve() -> Drawing:
    """Draw a fast rise and a logarithmic decline with two minor brightenings."""
    drawing = Drawing(79 * mm, 50 * mm)
    left, bottom, width, height = 24, 20, 190, 112
    days = [-1, 0, 1, 2, 3, 4, *range(6, 121, 3)]
    points = [
        (left + (day + 1) / 121 * width, bottom + (11 - _magnitude(day)) / 7 * height)
        for day in days
    ]
    drawing.add(Line(left, bottom, left + width, bottom, strokeColor=INK))
    drawing.add(Line(left, bottom, left, bottom + height, strokeColor=INK))
    drawing.add(PolyLine(points, strokeColor=BRASS, strokeWidth=0.7))
    for x, y in points:
        drawing.add(Circle(x, y, 1.3, fillColor=INK, strokeColor=None))
    for magnitude in range(4, 12, 2):
        y = bottom + (11 - magnitude) / 7 * height
        drawing.add(String(left - 14, y - 3, str(magnitude), fontName="Times-Roman", fontSize=8))
    for day in range(0, 121, 40):
        x = left + (day + 1) / 121 * width
        drawing.add(String(x - 4, bottom - 11, str(day), fontName="Times-Roman", fontSize=8))
    return drawing


def _magnitude(day: int) -> float:
    if day < 4:
        return {-1: 11.0, 0: 7.0, 1: 6.1, 2: 5.3, 3: 4.8}[day]
    decline = 4.6 + 3.07 * math.log10(1 + (day - 4) / 4)
    bumps = 0.5 * math.exp(-((day - 19) ** 2) / 4) + 0.3 * math.exp(-((day - 46) ** 2) / 4)
    return decline - bumps


def _magnitudes() -> Table:
    table = Table(MAGNITUDES, colWidths=[14 * mm, 22 * mm, 20 * mm, 18 * mm], spaceBefore=4)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Times-Roman", 9),
                ("FONT", (0, 0), (-1, 0), "Times-Bold", 9),
                ("LINEABOVE", (0, 0), (-1, 0), 0.8, INK),
                ("LINEBELOW", (0, 0), (-1, 0), 0.4, INK),
                ("LINEBELOW", (0, -1), (-1, -1), 0.8, INK),
                ("TOPPADDING", (0, 0), (-1, -1), 1),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ]
        )
    )
    return table
