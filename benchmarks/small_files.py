"""Thousands of one-page PDFs, where overhead counts most: ``python -m benchmarks.small_files``."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.documents import write_one_page_files
from benchmarks.measure import Target, arguments, cores, finish
from benchmarks.rounds import faster, print_rounds, run_rounds
from benchmarks.sides import bare_parser, end_to_end

BARE, OURS = "a  bare parser", "c  docnats"
SIDES = {BARE: bare_parser, OURS: end_to_end}
OF_BARE = 0.6
WARM_UP = 20


def main() -> int:
    """Write the files, let both sides parse them in turn, compare."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder, ExitStack() as stack:
        documents = write_one_page_files(Path(folder), options.files)
        sides = {
            name: stack.enter_context(start(options.processes)) for name, start in SIDES.items()
        }
        results = run_rounds(
            sides, documents, options.files, options.rounds, warm_up=documents[:WARM_UP]
        )
    print_rounds(results, "file", OURS)
    target = Target("docnats ÷ bare parser", faster(results, OURS, BARE), OF_BARE, at_least=True)
    finish(options.json, {"results": results}, targets=[target])
    return 0


def _options() -> Any:
    parser = arguments("small_files", __doc__, rounds=3)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=cores(), help="parser processes a side")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
