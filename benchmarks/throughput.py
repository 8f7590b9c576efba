"""How much of the bare parser's speed is left: ``python -m benchmarks.throughput [PATHS]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from benchmarks.documents import find_files
from benchmarks.measure import Target, arguments, cores, finish
from benchmarks.outside import Missing
from benchmarks.rounds import Rounds, Side, faster, print_rounds, run_rounds
from benchmarks.screening import screen
from benchmarks.sides import bare_parser, end_to_end, public_api, text_library

BARE, PUBLIC, OURS = "a  bare parser", "b  public API", "c  docnats"
SIDES: dict[str, Callable[[int], AbstractContextManager[Side]]] = {
    BARE: bare_parser,
    PUBLIC: public_api,
    OURS: end_to_end,
}
REFERENCES = ("pdfplumber", "pypdf", "pypdfium2")

OF_BARE = 0.9
TIMES_PUBLIC = 5.0

SAMPLE_PAGES = 1200
"""Ends in about ten minutes on two cores: the public API makes some 8 pages a CPU-second."""

WARM_UP = 4
"""Documents parsed by each side before the first round."""


def main() -> int:
    """Choose documents that all sides can parse, run the rounds, print the comparison."""
    options = _options()
    documents, excluded = screen(find_files(options.paths), options.sample, options.processes)
    if not documents:
        raise SystemExit("none of the files can be parsed")
    for path, reason in excluded.items():
        print(f"excluded on all sides: {path}: {reason}")
    pages = sum(document.pages for document in documents)
    print(f"\n{len(documents)} documents, {pages} pages, {options.rounds} rounds\n", flush=True)
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(start(options.processes)) for name, start in SIDES.items()
        }
        for package in options.references:
            try:
                side, found = stack.enter_context(text_library(package, options.processes))
            except Missing as reason:
                print(f"skipped: {reason}")
            else:
                sides[package] = side
                versions |= found
        results = run_rounds(sides, documents, pages, options.rounds, warm_up=documents[-WARM_UP:])
    print_rounds(results, "page", OURS)
    chosen = {os.fspath(document.path): document.pages for document in documents}
    measured = {"documents": chosen, "excluded": excluded, "results": results}
    finish(options.json, measured, targets=_targets(results), versions=versions)
    return 0


def _options() -> Any:
    parser = arguments("throughput", __doc__, rounds=3)
    parser.add_argument("paths", nargs="*", type=Path, help="PDFs or folders; default: samples")
    parser.add_argument("--processes", type=int, default=cores(), help="parser processes a side")
    parser.add_argument("--sample", type=int, default=SAMPLE_PAGES, help="pages at most")
    parser.add_argument(
        "--references", nargs="*", choices=REFERENCES, default=REFERENCES, metavar="PACKAGE"
    )
    return parser.parse_args()


def _targets(results: dict[str, Rounds]) -> list[Target]:
    return [
        Target("docnats ÷ bare parser", faster(results, OURS, BARE), OF_BARE, at_least=True),
        Target("docnats ÷ public API", faster(results, OURS, PUBLIC), TIMES_PUBLIC, at_least=True),
    ]


if __name__ == "__main__":
    sys.exit(main())
