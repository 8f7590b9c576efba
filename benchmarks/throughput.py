"""How much of the bare parser's speed is left: ``python -m benchmarks.throughput [PATHS]``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pebble import ProcessExpired, ProcessPool

import docnats
from benchmarks.measure import cores, cpu_seconds, environment, print_table
from benchmarks.sides import (
    Document,
    bare_parser,
    end_to_end,
    parse_bare,
    parse_public,
    public_api,
)

SIDES = {"a  bare parser": bare_parser, "b  public API": public_api, "c  docnats": end_to_end}

SCREENED_AT_A_TIME = 32
SCREEN_SECONDS = 300
SCREEN_MEMORY = 2 * 1024**3
"""As docnats limits its own parser processes."""

SAMPLE_PAGES = 1200
"""Ends in about ten minutes on two cores: the public API makes some 8 pages a CPU-second."""

WARM_UP = 4
"""Documents parsed by each side before the first round."""


@dataclass
class Result:
    """What one side did, a number a round."""

    pages: int
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Pages a second of each round."""
        return [self.pages / seconds for seconds in self.seconds]

    @property
    def cpu_per_page(self) -> float:
        """Median CPU-milliseconds a page, over all processes of the side."""
        return 1000 * median(self.cpu_seconds) / self.pages


def main() -> None:
    """Choose documents that all sides can parse, run the rounds, print the comparison."""
    options = _options()
    documents, excluded = screen(find_files(options.paths), options.sample, options.processes)
    if not documents:
        raise SystemExit("none of the files can be parsed")
    for path, reason in excluded.items():
        print(f"excluded on all sides: {path}: {reason}")
    pages = sum(document.pages for document in documents)
    print(f"\n{len(documents)} documents, {pages} pages, {options.rounds} rounds\n", flush=True)
    results = run_rounds(documents, options.rounds, options.processes)
    report(results)
    facts = environment()
    print()
    for name, value in facts.items():
        print(f"{name:<16} {value}")
    if options.json:
        found = {name: asdict(result) for name, result in results.items()}
        chosen = {os.fspath(document.path): document.pages for document in documents}
        content = {"environment": facts, "documents": chosen, "results": found}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="PDFs or folders; default: samples")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=cores(), help="parser processes a side")
    parser.add_argument("--sample", type=int, default=SAMPLE_PAGES, help="pages at most")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    return parser.parse_args()


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the PDFs under the given paths in an order that is mixed but always the same."""
    given = paths or docnats.sample_paths()
    files = {
        file.resolve()
        for path in given
        for file in (path.rglob("*.pdf") if path.is_dir() else [path])
    }
    ordered = sorted(files)
    random.Random(0).shuffle(ordered)  # noqa: S311 - a sample, not a secret
    return ordered


def screen(
    files: Sequence[Path], most_pages: int, processes: int
) -> tuple[list[Document], dict[str, str]]:
    """Return documents that both parsers can read, longest first, and why others cannot be."""
    documents: list[Document] = []
    excluded: dict[str, str] = {}
    left = most_pages
    context = multiprocessing.get_context("spawn")
    with ProcessPool(
        processes, initializer=_limit_memory, initargs=[SCREEN_MEMORY], context=context
    ) as pool:
        for start in range(0, len(files), SCREENED_AT_A_TIME):
            chunk = files[start : start + SCREENED_AT_A_TIME]
            for document in _readable(pool, parse_bare, chunk, excluded):
                if document.pages <= left:
                    documents.append(document)
                    left -= document.pages
            if left <= 0:
                break
    with ProcessPool(processes, context=context) as pool:
        chosen = [document.path for document in documents]
        documents = _readable(pool, parse_public, chosen, excluded)
    return sorted(documents, key=lambda document: -document.pages), excluded


def _limit_memory(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _readable(
    pool: ProcessPool,
    parse: Callable[[Path, Path], int],
    files: Sequence[Path],
    excluded: dict[str, str],
) -> list[Document]:
    documents = []
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
        tasks = []
        for number, file in enumerate(files):
            out = Path(folder, str(number))
            out.mkdir()
            tasks.append(pool.schedule(parse, args=(file, out), timeout=SCREEN_SECONDS))
        for file, task in zip(files, tasks, strict=True):
            try:
                documents.append(Document(file, task.result()))
            except TimeoutError:
                excluded[os.fspath(file)] = f"took more than {SCREEN_SECONDS} s"
            except ProcessExpired as error:
                excluded[os.fspath(file)] = f"crashed with exit code {error.exitcode}"
            except Exception as error:  # whatever a parser raises is a reason to leave it out
                excluded[os.fspath(file)] = f"{type(error).__name__}: {str(error)[:120]}"
    return documents


def run_rounds(documents: Sequence[Document], rounds: int, processes: int) -> dict[str, Result]:
    """Run every side once a round, in turn, on the same documents."""
    pages = sum(document.pages for document in documents)
    results = {name: Result(pages) for name in SIDES}
    with ExitStack() as stack:
        sides = {name: stack.enter_context(start(processes)) for name, start in SIDES.items()}
        for side in sides.values():
            side.run(documents[-WARM_UP:])
        for number in range(1, rounds + 1):
            for name, side in sides.items():
                used, started = cpu_seconds(side.elsewhere), time.perf_counter()
                side.run(documents)
                result = results[name]
                result.seconds.append(time.perf_counter() - started)
                result.cpu_seconds.append(cpu_seconds(side.elsewhere) - used)
                print(f"round {number}  {name:<14} {result.rates[-1]:8.1f} pages/s", flush=True)
    return results


def report(results: dict[str, Result]) -> None:
    """Print the table and the ratios."""
    rows = [
        [
            name,
            *(f"{statistic(result.rates):.1f}" for statistic in (median, min, max)),
            f"{result.cpu_per_page:.1f}",
        ]
        for name, result in results.items()
    ]
    print()
    print_table(["", "pages/s", "min", "max", "CPU-ms/page"], rows)
    rates = {name[0]: median(result.rates) for name, result in results.items()}
    costs = {name[0]: result.cpu_per_page for name, result in results.items()}
    print(
        f"\npages/s:        c/a {rates['c'] / rates['a']:.2f}   c/b {rates['c'] / rates['b']:.2f}"
    )
    print(f"pages/CPU-s:    c/a {costs['a'] / costs['c']:.2f}   c/b {costs['b'] / costs['c']:.2f}")


if __name__ == "__main__":
    main()
