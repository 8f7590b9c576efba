"""One long PDF on all cores, against one process: ``python -m benchmarks.big_file [PATH]``."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.documents import Document, write_long_file
from benchmarks.measure import Target, arguments, cores, finish
from benchmarks.rounds import faster, print_rounds, run_rounds
from benchmarks.sides import bare_parser, end_to_end, single_process
from docnats.parsing import ParseOptions, parse_range

SINGLE, BARE, OURS = "one process", "bare parser pool", "docnats"
SIDES = {SINGLE: single_process, BARE: bare_parser, OURS: end_to_end}
TIMES_SINGLE = 1.7
WARM_UP_PAGES = 100


def main() -> int:
    """Let the sides parse the same document in turn, compare."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder, ExitStack() as stack:
        document = _document(options, Path(folder))
        warm_up = [write_long_file(Path(folder), min(WARM_UP_PAGES, document.pages))]
        sides = {
            name: stack.enter_context(start(options.processes)) for name, start in SIDES.items()
        }
        results = run_rounds(sides, [document], document.pages, options.rounds, warm_up=warm_up)
    print_rounds(results, "page", OURS)
    times = faster(results, OURS, SINGLE)
    target = Target("times one process", times, TIMES_SINGLE, at_least=True)
    finish(options.json, {"pages": document.pages, "results": results}, targets=[target])
    return 0


def _options() -> Any:
    parser = arguments("big_file", __doc__, rounds=3)
    parser.add_argument("path", nargs="?", type=Path, help="a PDF of your own; default: made up")
    parser.add_argument("--pages", type=int, default=1000, help="of the one that is made up")
    parser.add_argument("--processes", type=int, default=cores())
    return parser.parse_args()


def _document(options: Any, folder: Path) -> Document:
    if options.path is None:
        return write_long_file(folder, options.pages)
    pages = parse_range(str(options.path), str(folder), 1, 0, ParseOptions()).page_count
    return Document(options.path, pages)


if __name__ == "__main__":
    sys.exit(main())
