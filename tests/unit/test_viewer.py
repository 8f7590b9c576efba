"""Page views: the boxes lie on the words, in HTML and in the picture, and nothing escapes."""

from __future__ import annotations

import base64
import io
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image, ImageChops

from docnats.errors import ConfigError, ErrorType, ParseError
from docnats.parsing.tables import WORDS_SCHEMA
from docnats.viewer import PageView, page_view, rendering, view
from docnats.viewer.boxes import word_boxes
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import text_pdf
from tests.viewer import A4, SCATTERED, Box, Row, parse, pdf_of, viewer_boxes

GEOMETRIES = [
    A4,
    f"{A4} /Rotate 90",
    f"{A4} /Rotate 180",
    f"{A4} /Rotate 270",
    "/MediaBox [0 0 595 842] /CropBox [40 60 560 800]",
    "/MediaBox [-100 -50 595 842] /CropBox [40 60 560 800] /Rotate 90",
]
NASTY = "<img src=x onerror=alert(1)>\n\x1b\u202e\udcff \"'&amp;$5.pdf"

TAGS = {"figure", "style", "div", "details", "summary", "strong", "bdi", "i", "img"}
SESAME = "open sesame"


def table(*rows: Row) -> pa.Table:
    word = {"page_no": 1, "line_no": 1, "text": "word", "font": "F1", "angle": 0.0}
    box = {"x0": 100.0, "y0": 200.0, "x1": 140.0, "y1": 212.0, "left_to_right": True}
    return pa.Table.from_pylist([word | box | row for row in rows], schema=WORDS_SCHEMA)


class Shown(HTMLParser):
    """The tags of a page view; each word with its box as shares of the page, before its turn."""

    def __init__(self, shown: PageView) -> None:
        super().__init__()
        self.html = bundle(shown)["text/html"]
        self.tags: list[str] = []
        self.words: dict[str, Box] = {}
        self.text = self.picture = self.alt = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = {name: value or "" for name, value in attrs}
        if tag == "i":
            shares = re.findall(r"(?:left|top|width|height):([-\d.]+)%", found["style"])
            left, top, width, height = (float(share) / 100 for share in shares)
            self.words[found["title"]] = (left, top, left + width, top + height)
        if tag == "img":
            self.picture, self.alt = found["src"], found["alt"]

    def handle_data(self, data: str) -> None:
        self.text += data


def bundle(shown: PageView) -> dict[str, str]:
    return shown._repr_mimebundle_()[0]


def picture(shown: PageView) -> Image.Image:
    (content,) = (data for kind, data in bundle(shown).items() if kind.startswith("image/"))
    return Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")


@pytest.mark.parametrize("entries", GEOMETRIES)
def test_boxes_lie_where_a_viewer_shows_the_words(entries: str, tmp_path: Path) -> None:
    pdf = pdf_of((entries, SCATTERED))
    parsed = parse(pdf, tmp_path)
    words = pa.Table.from_pylist(parsed.words, schema=WORDS_SCHEMA)
    shown = Shown(page_view(pdf, words))
    width, height = parsed.pages[0]["width"], parsed.pages[0]["height"]
    seen = viewer_boxes(pdf)
    assert {title.partition("\n")[0] for title in shown.words} == set(seen)
    for title, (left, top, right, bottom) in shown.words.items():
        x0, y0, x1, y1 = seen[title.partition("\n")[0]]
        assert (left + right) / 2 * width == pytest.approx((x0 + x1) / 2, abs=4), title
        assert (top + bottom) / 2 * height == pytest.approx((y0 + y1) / 2, abs=4), title


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
def test_the_static_picture_has_the_boxes_on_it(scale: float) -> None:
    pdf = pdf_of((A4, ""))
    plain, boxed = (picture(page_view(pdf, words, scale=scale)) for words in (table(), table({})))
    changed = ImageChops.difference(plain, boxed).getbbox()
    assert changed == pytest.approx([edge * scale for edge in (100, 200, 140, 212)], abs=2)


@pytest.mark.parametrize("angle", [0, 10, -30, 42, 60, 90, 105, 180, -170, -90])
def test_a_turned_box_just_fits_the_box_of_its_row(angle: float) -> None:
    """Its long side follows the text, also where it is shown without its turn."""
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    wide, high = 60 * cos + 12 * sin, 60 * sin + 12 * cos
    row = {"x0": 10.0, "y0": 20.0, "x1": 10 + wide, "y1": 20 + high, "angle": angle}
    (box,) = word_boxes(table(row), 1)
    assert sorted((box.width, box.height)) == pytest.approx([12, 60], abs=0.01)
    assert (box.width > box.height) == (cos > sin)
    xs, ys = zip(*box.corners, strict=True)
    assert (min(xs), min(ys)) == pytest.approx((10, 20), abs=0.01)
    assert (max(xs), max(ys)) == pytest.approx((10 + wide, 20 + high), abs=0.01)
    (x0, y0), (x1, y1) = box.corners[:2]
    turn = math.degrees(math.atan2(y0 - y1, x1 - x0))
    assert (turn - angle + 45) % 90 == pytest.approx(45, abs=0.01)


@pytest.mark.parametrize("angle", [45, -135, 20])
def test_a_box_whose_sides_cannot_be_told_stays_upright(angle: float) -> None:
    """At 45 degrees every rectangle fits a square; at 20 none fits a box this flat."""
    (box,) = word_boxes(table({"angle": angle, "y1": 200.0 + (2 if angle == 20 else 40)}), 1)
    assert box.turn == 0
    assert box.width == 40


def test_nothing_is_drawn_until_it_is_displayed_and_then_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    draw = view.draw_page
    monkeypatch.setattr(view, "draw_page", lambda *args: drawn.append(args) or draw(*args))
    shown = page_view(text_pdf(2), table(), page=2)
    assert repr(shown) == "page 2 of 2, no words"
    assert drawn == []
    assert bundle(shown) == bundle(shown)
    assert len(drawn) == 1


def test_every_frontend_gets_what_it_can_show() -> None:
    words = table({}, {"text": "next", "font": None}, {"page_no": 2})
    shown = page_view(text_pdf(3), words, filename="report.pdf")
    html = Shown(shown)
    assert bundle(shown)["text/plain"] == html.alt == "page 1 of report.pdf, 2 words"
    assert html.text.endswith("report.pdf · page 1 of 3 · 2 words in boxes")
    assert set(html.words) == {"word\nF1", "next\n"}
    assert html.picture.startswith("data:image/png;base64,")
    assert picture(shown).size == (893, 1263)


def test_a_page_without_words_has_its_picture_and_no_switch() -> None:
    html = Shown(page_view(text_pdf(1), table()))
    assert html.text.endswith("page 1 of 1 · no words")
    assert "details" not in html.tags
    assert html.picture


def test_names_and_words_are_text_whatever_they_hold() -> None:
    words = table({"text": "</i><script>alert(1)</script>\"'&lt;\u202e"})
    html = Shown(page_view(text_pdf(1), words, filename=NASTY))
    assert list(html.words) == ["</i><script>alert(1)</script>\"'&lt;\u202e\nF1"]
    assert set(html.tags) <= TAGS
    assert "<img src=x onerror=alert(1)>\ufffd\ufffd\ufffd\ufffd \"'&amp;$5.pdf" in html.text
    assert html.html.encode()
    assert 'mathjax_ignore"' in html.html


def test_nothing_is_loaded_from_anywhere() -> None:
    html = bundle(page_view(text_pdf(1), table({})))["text/html"]
    assert re.findall(r'(?:src|href)="(.{5})', html) == ["data:"]
    assert "url(" not in html
    assert "@import" not in html


def test_a_frame_shows_the_same_as_a_table() -> None:
    words = table({}, {"line_no": 2, "angle": 30.0}, {"page_no": 2})
    pdf = text_pdf(1)
    assert bundle(page_view(pdf, words.to_pandas())) == bundle(page_view(pdf, words))


def test_a_page_of_3000_words_stays_small() -> None:
    rows = [{"line_no": n // 20, "x0": 20.0 * (n % 20), "y0": n / 4} for n in range(3000)]
    html = Shown(page_view(text_pdf(1), table(*rows))).html
    assert html.count("<i ") == 3000
    assert len(html) < 3000 * 150


def test_a_huge_page_is_drawn_with_2000_pixels() -> None:
    words = table({"x0": 7000.0, "y0": 3000.0, "x1": 8000.0, "y1": 3500.0})
    shown = page_view(pdf_of(("/MediaBox [0 0 14400 7200]", "")), words, scale=4)
    assert picture(shown).size == (2000, 1000)
    corners = Shown(shown).words["word\nF1"]
    assert corners == pytest.approx((0.4861, 0.4167, 0.5556, 0.4861), abs=1e-4)


def test_photographs_are_stored_in_formats_for_photographs() -> None:
    """A fraction of their size as PNG; pages of text are smaller as PNG."""
    noise = Image.effect_noise((600, 800), 60)
    scan = io.BytesIO()
    noise.save(scan, "PDF")
    for pdf, kinds in ((scan.getvalue(), ("webp", "jpeg")), (text_pdf(1), ("png", "png"))):
        shown = page_view(pdf, table())
        assert Shown(shown).picture.startswith(f"data:image/{kinds[0]};base64,")
        assert list(bundle(shown)) == ["text/plain", "text/html", f"image/{kinds[1]}"]


def test_form_fields_are_drawn() -> None:
    form = files("docnats").joinpath("samples", "visitor-form.pdf").read_bytes()
    without = form.replace(b"/AcroForm", b"/AcroNone")
    assert without != form
    assert picture(page_view(form, table())) != picture(page_view(without, table()))


@pytest.mark.parametrize("page", [0, -1, 4])
def test_a_page_that_is_not_there_is_told_with_how_many_there_are(page: int) -> None:
    with pytest.raises(ConfigError, match=rf"page={page}: a\.pdf has 3 pages, counted from 1"):
        page_view(text_pdf(3), table(), page=page, filename="a.pdf")


def test_a_scale_must_be_above_zero() -> None:
    with pytest.raises(ConfigError, match="scale=0: it must be above 0"):
        page_view(text_pdf(1), table(), scale=0)


@pytest.mark.parametrize(
    ("password", "says"), [(None, "it needs a password"), ("wrong", "does not open it")]
)
def test_an_encrypted_document_needs_its_password(password: str | None, says: str) -> None:
    pdf = encrypted_pdf(SESAME)
    with pytest.raises(ParseError, match=says) as failure:
        page_view(pdf, table(), password=password)
    assert failure.value.error_type is ErrorType.ENCRYPTED
    opened = page_view(pdf, table(), password=SESAME)
    assert picture(opened) == picture(page_view(text_pdf(1), table()))
    assert SESAME not in repr(opened)


def test_what_is_no_pdf_is_told() -> None:
    with pytest.raises(ParseError, match="the PDF is damaged") as failure:
        page_view(b"%PDF-1.7\n", table())
    assert failure.value.error_type is ErrorType.MALFORMED


def test_pdfium_is_locked_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not bear two threads; the kernel may have more that display."""
    locked = []
    render = rendering.pdfium.PdfPage.render

    def note_the_lock(*args: object, **options: object) -> object:
        locked.append(rendering._PDFIUM.locked())
        return render(*args, **options)

    monkeypatch.setattr(rendering.pdfium.PdfPage, "render", note_the_lock)
    assert picture(page_view(text_pdf(1), table()))
    with pytest.raises(ParseError):
        page_view(b"", table())
    assert locked == [True]
    assert not rendering._PDFIUM.locked()


def test_importing_the_viewer_loads_no_pandas() -> None:
    program = "import sys, docnats.viewer; print('pandas' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout == "False\n"
