"""What is made of a page's text: its quality, the lines of words, the metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docnats.parsing.metadata import read_metadata
from docnats.parsing.pages import lines_by_count, lines_by_place
from docnats.parsing.quality import text_quality
from tests.viewer import A4, SCATTERED, parse, pdf_of

XMP = """<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/'>
 <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
  <rdf:Description rdf:about='' xmlns:pdf='http://ns.adobe.com/pdf/1.3/' pdf:Producer='Press 2'>
   <pdf:Keywords>stars, noise</pdf:Keywords></rdf:Description>
  <rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/'>
   <dc:title><rdf:Alt><rdf:li xml:lang='x-default'>On Stars</rdf:li>
    <rdf:li xml:lang='fr'>Des étoiles</rdf:li></rdf:Alt></dc:title>
   <dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bo</rdf:li></rdf:Seq></dc:creator>
  </rdf:Description>
 </rdf:RDF></x:xmpmeta><?xpacket end='w'?>"""


def test_metadata_comes_from_the_xmp_packet(tmp_path: Path) -> None:
    parsed = parse(pdf_of((A4, SCATTERED), metadata=XMP.encode()), tmp_path)
    assert parsed.result.metadata == {
        "title": "On Stars",
        "author": "Ann; Bo",
        "keywords": "stars, noise",
        "producer": "Press 2",
    }


@pytest.mark.parametrize("packet", [b"", b"<rdf:RDF", XMP.encode("utf-16"), b"\xff\xfe\x80" * 9])
def test_broken_metadata_costs_nothing_but_itself(packet: bytes, tmp_path: Path) -> None:
    parsed = parse(pdf_of((A4, SCATTERED), metadata=packet), tmp_path)
    assert parsed.result.metadata == {}
    assert len(parsed.words) == 7


def test_entities_in_metadata_are_not_expanded() -> None:
    bomb = "<!DOCTYPE a [<!ENTITY b 'boom'>]>" + XMP.replace("On Stars", "&b;")
    assert read_metadata(bomb) == {}


@pytest.mark.parametrize(
    "text",
    [
        "An ordinary page, with a number 2026 and a price of 1,299.00 €.",
        "ISBN 9780306406157, +49 30 1234567, 0123456789",
        "Ünïcödé 数学 עברית العربية 🙂",
        "http://example.org/g12 and a/c22 b, see /Item1",
    ],
)
def test_text_has_full_quality(text: str) -> None:
    assert text_quality(text) == 1.0


@pytest.mark.parametrize(
    ("text", "quality"),
    [
        ("\ufffd\ufffd\ufffd\ufffd", 0.0),
        ("\ue001\ue002 ab", 0.5),
        ("\x01\x02 good", 4 / 6),
        ("/g12/g7 /g45", 0.0),
        ("(cid:31)(cid:2) abcdef", 6 / 21),
        ("87104105108101 97108108111119", 0.0),
        ("87104105108101 is", 2 / 16),
    ],
)
def test_garbage_lowers_the_quality(text: str, quality: float) -> None:
    assert text_quality(text) == pytest.approx(quality)


def cell(text: str, x: float, y: float) -> tuple[Any, ...]:
    """Return a cell of 10 by 10 points, as it is read of the parser."""
    return (text, x, x + 10, x + 10, x, y, y, y + 10, y + 10, "F", True)


def test_counting_gives_words_their_lines() -> None:
    words = [cell(text, 0, 0) for text in ("one", "two", "שלום", "three")]
    assert lines_by_count(words, ["one two", "שלום", "three"]) == [1, 1, 2, 3]
    assert lines_by_count([], []) == []


def test_a_line_may_hold_spaces_that_are_no_words() -> None:
    words = [cell(text, 0, 0) for text in ("one", "two", "three")]
    assert lines_by_count(words, ["one \u00a0 two", "three"]) == [1, 1, 2]


def test_counting_does_not_guess() -> None:
    words = [cell(text, 0, 0) for text in ("one", "two", "three")]
    assert lines_by_count(words, ["one tw", "three"]) is None
    assert lines_by_count(words, ["one two"]) is None
    assert lines_by_count(words, []) is None


def test_where_counting_fails_the_nearest_line_is_taken() -> None:
    class Line:
        def __init__(self, y: float) -> None:
            values = cell("", 0, y)
            (self.text, self.r_x0, self.r_x1, self.r_x2, self.r_x3) = values[:5]
            (self.r_y0, self.r_y1, self.r_y2, self.r_y3) = values[5:9]
            (self.font_name, self.left_to_right) = values[9:]

    lines = [Line(80), Line(60), Line(40)]
    words = [cell("a", 0, 81), cell("b", 30, 58), cell("c", 5, 41), cell("d", 0, 10)]
    assert lines_by_place(words, lines) == [1, 2, 3, 3]
    assert lines_by_place(words, []) == [1, 1, 1, 1]
