"""What results weigh and what writing them costs: ``python -m benchmarks.size [PATHS]``."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.documents import Document, find_files
from benchmarks.measure import Target, arguments, cores, finish, print_table
from benchmarks.screening import screen
from benchmarks.sides import parse_bare, parse_public
from docnats.parsing.native import open_document

OF_JSON, OF_DECODE = 0.02, 0.15


def main() -> int:
    """Write the results of the same documents in each way; compare bytes and CPU time."""
    options = _options()
    documents, _ = screen(find_files(options.paths), options.sample, cores())
    pages = sum(document.pages for document in documents)
    decoded: list[float] = []
    written: list[float] = []
    for _ in range(options.rounds):
        decoded.append(cpu_of(documents, decode))
        written.append(cpu_of(documents, parse_bare))
    ours, json = bytes_of(documents, parse_bare), bytes_of(documents, parse_public)
    pdf = sum(document.path.stat().st_size for document in documents)
    sizes = {"PDFs": pdf, "default JSON of docling-parse": json, "result of docnats": ours}
    report(sizes, pages, median(decoded), median(written))
    more = median(after / before - 1 for before, after in zip(decoded, written, strict=True))
    targets = [
        Target("result bytes ÷ JSON bytes", ours / json, OF_JSON),
        Target("CPU, writing the result ÷ decoding", more, OF_DECODE),
    ]
    measured = {"pages": pages, "bytes": sizes, "decode": decoded, "decode_and_write": written}
    finish(options.json, measured, targets=targets)
    return 0


def _options() -> Any:
    parser = arguments("size", __doc__, rounds=5)
    parser.add_argument("paths", nargs="*", type=Path, help="PDFs or folders; default: samples")
    parser.add_argument("--sample", type=int, default=300, help="pages at most")
    return parser.parse_args()


def decode(path: Path, _: Path) -> int:
    """Decode every page with the native parser and look at nothing."""
    with open_document(os.fspath(path)) as document:
        for page_no in range(1, document.page_count + 1):
            with document.page(page_no):
                pass
        return document.page_count


def cpu_of(documents: Sequence[Document], parse: Callable[[Path, Path], int]) -> float:
    """Return the CPU-seconds of parsing documents in this process."""
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
        started = time.process_time()
        for document in documents:
            parse(document.path, Path(folder))
        return time.process_time() - started


def bytes_of(documents: Sequence[Document], parse: Callable[[Path, Path], int]) -> int:
    """Return the bytes of the files that parsing documents gives."""
    total = 0
    for document in documents:
        with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
            parse(document.path, Path(folder))
            total += sum(file.stat().st_size for file in Path(folder).iterdir())
    return total


def report(sizes: dict[str, int], pages: int, decoded: float, written: float) -> None:
    """Print the tables."""
    json = sizes["default JSON of docling-parse"]
    rows = [
        [name, f"{size:,}", f"{size / pages:,.0f}", f"{size / json:.4f}"]
        for name, size in sizes.items()
    ]
    print_table([f"{pages} pages", "bytes", "bytes/page", "÷ JSON"], rows)
    print()
    costs = {"native decoding": decoded, "decoding, Parquet written": written}
    rows = [
        [name, f"{1000 * seconds / pages:.2f}", f"{seconds / decoded:.3f}"]
        for name, seconds in costs.items()
    ]
    print_table(["", "CPU-ms/page", "÷ decoding"], rows)


if __name__ == "__main__":
    sys.exit(main())
