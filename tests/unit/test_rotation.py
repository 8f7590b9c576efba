"""How pages are turned."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from docnats.parsing.rotation import Turns, turns_in
from tests.pdfs import text_pdf


@pytest.mark.parametrize(
    ("entry", "turns"),
    [
        (b"", Turns.NONE),
        (b"/Rotate 0", Turns.NONE),
        (b"/Rotate 90", Turns.RIGHT_ANGLES),
        (b"/Rotate -270", Turns.RIGHT_ANGLES),
        (b"/Rotate 0 /Rotate 180", Turns.RIGHT_ANGLES),
        (b"/Rotate 45", Turns.ANY),
        (b"/Rotate 90 /Rotate 37", Turns.ANY),
        (b"/Rotate 90 0 R", Turns.ANY),
        (b"/Rotate 900000000000000000000000000001", Turns.ANY),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_a_file_says_of_its_pages(
    tmp_path: Path, entry: bytes, turns: Turns, packed: bool
) -> None:
    stream = b"/ObjStm >>\nstream\n" + zlib.compress(entry) + b"\nendstream"
    source = tmp_path / "document.pdf"
    source.write_bytes(text_pdf() + (stream if packed else entry))
    assert turns_in(str(source)) is turns


def test_a_stream_that_cannot_be_read_may_hold_any(tmp_path: Path) -> None:
    source = tmp_path / "document.pdf"
    source.write_bytes(text_pdf() + b"/ObjStm >>\nstream\nno deflated bytes\nendstream")
    assert turns_in(str(source)) is Turns.ANY
