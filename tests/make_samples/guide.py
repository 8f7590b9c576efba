"""The guide to the archive: chapters with bookmarks, links and full metadata."""

from __future__ import annotations

from pathlib import Path

from reportlab.lib.pagesizes import A6
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, Spacer

from tests.make_samples.style import BODY, CENTRED, HEADING, SUBHEADING, TITLE, build, find_font

__all__ = ["archive_guide"]

CHAPTERS = (
    (
        "What is here",
        """
        The archive of Skerravoe Observatory fills three rooms and one corridor. It holds 24,318
        photographic plates, 61 volumes of night logs, the weather register from 1902 on, about
        nine thousand letters, and a shoe box of things that nobody could bring themselves to
        throw away.

        Everything has a number. If you find something without one, please do not put it down
        until you have told us.
        """,
    ),
    (
        "Finding a plate",
        """
        Look the region up in the nine wooden drawers, which are ordered by right ascension. Each
        card bears the plate's number, its date, the length of the exposure and a remark. The
        letter before the number names the instrument: A for the astrographic camera, R for the
        refractor, C for the comet seeker.

        Plates stand upright, film to the left. Take one at a time, by its edges, and leave the
        card in its place as a receipt.
        """,
    ),
    (
        "Reading the night logs",
        """
        The logs were written in the dark by people with cold hands. Times before 1925 count the
        astronomical day from noon, so that a whole night falls on one date; later ones count from
        midnight. Seeing is given from 1, boiling, to 5, perfect. A small drawing of a cat means
        that an exposure was spoiled.

        Volumes 1 to 8 are by J. Aldous, volume 9 onwards by T. Reyle, whose hand is the better.
        """,
    ),
    (
        "Letters",
        """
        Letters are filed by correspondent. They come from forty countries and in fourteen
        alphabets; translations, where we have them, are pinned to the back. The most frequent
        question put to the observatory in forty years is what a bright light in the west was.
        The most frequent answer is Venus.
        """,
    ),
    (
        "Copying and machines",
        """
        Since last year the letters and logs are being photographed page by page and read by
        machine. What the machine reads is kept beside the picture and never instead of it. It
        makes mistakes, but it makes them evenly, at any hour, and it does not lick its thumb.

        If you use its tables, say so, and look at one page in a hundred with your own eyes.
        """,
    ),
    (
        "House rules",
        """
        No ink, no food, no open flames. Pencils are provided. The cat may be moved from a volume
        but must be asked first. The room closes when the dome opens.
        """,
    ),
)


class _Chapter(Paragraph):
    """A heading that is the target of links and of an entry in the bookmarks."""

    def __init__(self, number: int, title: str) -> None:
        self.key, self.title = f"chapter-{number}", f"{number}. {title}"
        super().__init__(self.title, HEADING)

    def draw(self) -> None:
        self.canv.bookmarkHorizontal(self.key, 0, self.height)
        self.canv.addOutlineEntry(self.title, self.key, level=0)
        super().draw()


def archive_guide(path: Path) -> None:
    """Write a booklet: contents with links, a chapter a page, bookmarks, metadata."""
    for name in ("DejaVuSerif", "DejaVuSerif-Bold"):
        pdfmetrics.registerFont(TTFont(name, str(find_font(f"{name}.ttf"))))
    story: list[Flowable] = [
        Spacer(0, 12 * mm),
        Paragraph("A Guide to the Archive", TITLE),
        Paragraph("Skerravoe Observatory, second edition, 1934", CENTRED),
        Spacer(0, 8 * mm),
        Paragraph("Contents", SUBHEADING),
    ]
    body = BODY.clone("guide", fontName="DejaVuSerif", fontSize=9.5, leading=14.5)
    for number, (title, _) in enumerate(CHAPTERS, start=1):
        link = f'<a href="#chapter-{number}" color="#1b2a49">{number}. {title}</a>'
        story.append(Paragraph(link, body))
    for number, (title, text) in enumerate(CHAPTERS, start=1):
        story += [PageBreak(), _Chapter(number, title)]
        story += [Paragraph(" ".join(part.split()), body) for part in text.split("\n\n")]
    build(
        path,
        "A Guide to the Archive",
        story,
        size=A6,
        margin=14 * mm,
        on_page=_page_number,
        subject="How to find plates, logs and letters",
        keywords="archive, plates, night logs, letters",
        lang="en-GB",
    )


def _page_number(canvas: Canvas, document: object) -> None:
    if canvas.getPageNumber() == 1:
        return
    canvas.setFont("Times-Italic", 9)
    canvas.drawCentredString(A6[0] / 2, 7 * mm, str(canvas.getPageNumber()))
