"""Parse PDFs with docling-parse into Parquet files; runs inside parser processes.

Importing this package loads docling-parse's native module and pyarrow, nothing else: no
pandas, no pydantic, nothing that knows a credential.
"""

from docnats.parsing.bookmark import Place, Watch, read_bookmark
from docnats.parsing.pages import CELL_FIELDS, PageContent
from docnats.parsing.probe import warm_up
from docnats.parsing.ranges import (
    PageError,
    ParseOptions,
    RangeResult,
    merge_ranges,
    parse_range,
)
from docnats.parsing.reader import Reader, WholeReader
from docnats.parsing.tables import read_texts

__all__ = [
    "CELL_FIELDS",
    "PageContent",
    "PageError",
    "ParseOptions",
    "Place",
    "RangeResult",
    "Reader",
    "Watch",
    "WholeReader",
    "merge_ranges",
    "parse_range",
    "read_bookmark",
    "read_texts",
    "warm_up",
]
