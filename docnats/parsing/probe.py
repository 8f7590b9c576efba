"""A tiny PDF with a known content: warms the parser up and shows whether it fits."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

from docnats.errors import DocnatsError, ErrorType, ParseError
from docnats.parsing.ranges import ParseOptions, parse_range
from docnats.parsing.tables import read_table

__all__ = ["warm_up"]

_CONTENT = b"BT /F1 10 Tf 120 200 Td (Two words) Tj ET"

# Rotated and cropped: a viewer shows a page 150 points wide and 200 high.
_OBJECTS = (
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]/CropBox[100 100 300 250]/Rotate 90"
    b"/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R>>",
    b"<</Length %d>>stream\n%s\nendstream" % (len(_CONTENT), _CONTENT),
    b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
)

_EXPECTED = {
    "page": (150.0, 200.0, 90, "Two words", 2, 1, 1.0, None),
    "words": [
        (1, "Two", 20, -90.0, "Helvetica", True),
        (1, "words", 42, -90.0, "Helvetica", True),
    ],
}


def warm_up() -> None:
    """Parse a tiny PDF, and check that docling-parse gives what is expected of it.

    The first use of the parser, of a base-14 font and of pyarrow costs some 200 ms:
    processes forked from one that has called this start warm.

    Raises
    ------
    ParseError
        ``internal``: the installed release of docling-parse does not fit.
    """
    try:
        seen = _parse_probe()
    except (AttributeError, TypeError, LookupError, DocnatsError) as error:
        raise _misfit(str(error)) from error
    if seen != _EXPECTED:
        raise _misfit(f"it reads the probe as {seen}")


def _parse_probe() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="docnats-probe-") as folder:
        source = Path(folder) / "probe.pdf"
        source.write_bytes(_pdf(_OBJECTS))
        parse_range(str(source), folder, 1, 1, ParseOptions())
        (page,) = read_table(Path(folder) / "pages.parquet").to_pylist()
        words = read_table(Path(folder) / "words.parquet").to_pylist()
    del page["page_no"]
    shown = ("line_no", "text", "y0", "angle", "font", "left_to_right")
    for word in words:
        word["y0"] = round(word["y0"])
    return {
        "page": tuple(page.values()),
        "words": [tuple(word[name] for name in shown) for word in words],
    }


def _misfit(seen: str) -> ParseError:
    msg = (
        f"docling-parse {version('docling-parse')} does not fit docnats ({seen}): "
        "install docling-parse>=7.22.4,<8"
    )
    return ParseError(ErrorType.INTERNAL, msg)


def _pdf(objects: tuple[bytes, ...]) -> bytes:
    numbered = [b"%d 0 obj\n%s\nendobj\n" % (n, body) for n, body in enumerate(objects, 1)]
    header = b"%PDF-1.7\n"
    starts = list(accumulate(map(len, numbered), initial=len(header)))
    table = b"".join(b"%010d 00000 n \n" % start for start in starts[:-1])
    return b"".join(
        [
            header,
            *numbered,
            b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(starts), table),
            b"trailer\n<</Size %d/Root 1 0 R>>\n" % len(starts),
            b"startxref\n%d\n%%%%EOF\n" % starts[-1],
        ]
    )
