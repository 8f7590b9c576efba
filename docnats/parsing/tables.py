"""The two result tables, ``pages.parquet`` and ``words.parquet``, and their merge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from docnats.parsing.pages import CELL_FIELDS, Cell, PageContent

__all__ = [
    "PAGES_SCHEMA",
    "TABLES",
    "WORDS_SCHEMA",
    "RangeTables",
    "merge_parts",
    "read_table",
    "read_texts",
]

PAGES_SCHEMA = pa.schema(
    [
        ("page_no", pa.int32()),
        ("width", pa.float32()),
        ("height", pa.float32()),
        ("rotation", pa.int16()),
        ("text", pa.string()),
        ("n_words", pa.int32()),
        ("n_lines", pa.int32()),
        ("quality", pa.float32()),
        ("error", pa.string()),
    ]
)
"""One row a page. A page that failed has an ``error``, 0 words and lines, and nulls otherwise;
``quality`` is null also for a page without text."""

WORDS_SCHEMA = pa.schema(
    [
        ("page_no", pa.int32()),
        ("line_no", pa.int32()),
        ("text", pa.string()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("angle", pa.float32()),
        ("font", pa.dictionary(pa.int32(), pa.string())),
        ("left_to_right", pa.bool_()),
    ]
)
"""One row a word. ``page_no`` and ``line_no`` count from 1, lines anew on each page. Boxes are
in points from the page's top-left corner as a viewer shows it, whatever the direction of the
text; ``angle`` is that of the baseline, in degrees anticlockwise, above -180 and up to 180."""

TABLES = {"pages": PAGES_SCHEMA, "words": WORDS_SCHEMA}


class RangeTables:
    """Collects the pages of one range, then writes both tables."""

    def __init__(self) -> None:
        self._pages: list[dict[str, Any]] = []
        self._cells: list[Cell] = []
        self._page_numbers: list[int] = []
        self._line_numbers: list[int] = []
        self._heights: list[float] = []

    @property
    def words(self) -> int:
        """Words collected so far."""
        return len(self._cells)

    def add(self, page_no: int, page: PageContent) -> None:
        """Take in a page."""
        n_words = len(page.words)
        self._cells.extend(page.words)
        self._page_numbers.extend(repeat(page_no, n_words))
        self._line_numbers.extend(page.line_numbers)
        self._heights.extend(repeat(page.height, n_words))
        self._pages.append(
            {
                "page_no": page_no,
                "width": page.width,
                "height": page.height,
                "rotation": page.rotation,
                "text": page.text,
                "n_words": n_words if page.n_words is None else page.n_words,
                "n_lines": page.n_lines,
                "quality": page.quality,
            }
        )

    def add_failed(self, page_no: int, error: str) -> None:
        """Take in a page that could not be read."""
        self._pages.append({"page_no": page_no, "n_words": 0, "n_lines": 0, "error": error})

    def write(self, folder: Path, part: str = "") -> None:
        """Write ``pages{part}.parquet`` and ``words{part}.parquet``."""
        pages = pa.Table.from_pylist(self._pages, schema=PAGES_SCHEMA)
        for name, table in (("pages", pages), ("words", self._words_table())):
            with _writer(folder, f"{name}{part}", table.schema) as writer:
                writer.write_table(table)

    def _words_table(self) -> pa.Table:
        if not self._cells:
            return WORDS_SCHEMA.empty_table()
        cell = dict(zip(CELL_FIELDS, zip(*self._cells, strict=True), strict=True))
        xs = [pa.array(cell[f"r_x{corner}"], pa.float64()) for corner in range(4)]
        ys = [pa.array(cell[f"r_y{corner}"], pa.float64()) for corner in range(4)]
        height = pa.array(self._heights, pa.float64())
        columns = {
            "page_no": pa.array(self._page_numbers, pa.int32()),
            "line_no": pa.array(self._line_numbers, pa.int32()),
            "text": pa.array(cell["text"], pa.string()),
            "x0": pc.min_element_wise(*xs),
            "y0": pc.subtract(height, pc.max_element_wise(*ys)),
            "x1": pc.max_element_wise(*xs),
            "y1": pc.subtract(height, pc.min_element_wise(*ys)),
            "angle": _baseline_angle(xs, ys),
            "font": pc.utf8_ltrim(pa.array(cell["font_name"]), "/").dictionary_encode(),
            "left_to_right": pa.array(cell["left_to_right"], pa.bool_()),
        }
        return pa.table(columns).cast(WORDS_SCHEMA)


def _baseline_angle(xs: Sequence[pa.Array], ys: Sequence[pa.Array]) -> pa.Array:
    radians = pc.atan2(pc.subtract(ys[1], ys[0]), pc.subtract(xs[1], xs[0]))
    # Rounded, so that the noise of turned coordinates does not tell -180 from 180.
    degrees = pc.round(pc.multiply(radians, 180 / math.pi), ndigits=2)
    return pc.add(pc.if_else(pc.equal(degrees, -180.0), 180.0, degrees), 0.0)


def _writer(folder: Path, name: str, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        folder / f"{name}.parquet",
        schema,
        compression="zstd",
        use_dictionary=["text", "angle", "font"],
        use_byte_stream_split=[name for name in ("x0", "y0", "x1", "y1") if name in schema.names],
    )


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file on this thread: a process that forks must have no other."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        return file.read(use_threads=False)


def read_texts(out_dir: str) -> list[str]:
    """Return the text of each page of a document that has some."""
    with pq.ParquetFile(Path(out_dir) / "pages.parquet", pre_buffer=False) as file:
        texts = file.read(["text"], use_threads=False).column("text").to_pylist()
    return [text for text in texts if text and not text.isspace()]


def merge_parts(folder: Path, name: str) -> None:
    """Join the parts of a table, one at a time in memory, into one file."""
    with _writer(folder, name, TABLES[name]) as writer:
        for part in sorted(folder.glob(f"{name}-*.parquet")):
            writer.write_table(read_table(part))
