"""Ways to parse the same documents, to be compared.

Each is a context manager that starts its processes and gives a :class:`Side`, whose work is a
sequence of :class:`Document`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import docnats
from benchmarks.documents import Document
from benchmarks.outside import outside
from benchmarks.rounds import Side
from docnats.parsing import ParseOptions, RangeResult, merge_ranges, parse_range

__all__ = [
    "bare_parser",
    "end_to_end",
    "parse_bare",
    "parse_public",
    "public_api",
    "single_process",
    "text_library",
]

PAGES_PER_RANGE: int = docnats.ProcessingConfig.model_fields["pages_per_range"].default


@contextmanager
def bare_parser(processes: int) -> Iterator[Side]:
    """Start the parser alone: docnats's own ranges and Parquet files, on local disk."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["docnats.parsing.preload"])
    with ProcessPoolExecutor(processes, mp_context=context) as pool:

        def run(documents: Sequence[Document]) -> None:
            with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
                _run_bare(pool, documents, Path(folder))

        yield Side(run, (os.getpid(),))


def _run_bare(pool: ProcessPoolExecutor, documents: Sequence[Document], folder: Path) -> None:
    def submit(path: Path, out: Path, first: int) -> Future[RangeResult]:
        options = ParseOptions()
        return pool.submit(parse_range, str(path), str(out), first, PAGES_PER_RANGE, options)

    ranges: dict[Path, list[Future[RangeResult]]] = {}
    for number, document in enumerate(documents):
        out = _new_folder(folder, number)
        firsts = range(1, document.pages + 1, PAGES_PER_RANGE)
        ranges[out] = [submit(document.path, out, first) for first in firsts]
    merges = []
    for out, parts in ranges.items():
        for part in parts:
            part.result()
        if len(parts) > 1:
            merges.append(pool.submit(merge_ranges, str(out)))
    for merge in merges:
        merge.result()


@contextmanager
def public_api(processes: int) -> Iterator[Side]:
    """Start docling-parse's public Python API with its defaults, writing JSON to local disk."""
    # Not with the fork server of the bare parser: its processes do without pandas.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:

        def run(documents: Sequence[Document]) -> None:
            with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
                paths = [document.path for document in documents]
                folders = [_new_folder(Path(folder), number) for number in range(len(paths))]
                for _ in pool.map(parse_public, paths, folders):
                    pass

        yield Side(run, (os.getpid(),))


@contextmanager
def end_to_end(processes: int) -> Iterator[Side]:
    """Start docnats with its servers on the same cores; a run ends with the last terminal row."""
    with docnats.LocalStack(workers=1, parsers=processes, embedded=True) as stack:
        os.environ.update(stack.environment)

        def run(documents: Sequence[Document]) -> None:
            paths = [document.path for document in documents]
            jobs = docnats.submit_many(paths, progress="none", force=True)  # not the last result
            bad = jobs[(jobs.state != "done") | (jobs.pages_failed != 0)]
            if len(bad):
                columns = ["filename", "state", "error_type", "error", "pages_failed"]
                raise RuntimeError(f"docnats failed on:\n{bad[columns].to_string()}")

        try:
            yield Side(run, (os.getpid(), *(process.pid for process in stack.processes())))
        finally:
            from docnats.notebook.session import close_session

            close_session()


@contextmanager
def single_process(_: int) -> Iterator[Side]:
    """Parse in this one process, all pages of a document in one go, with docnats's own code."""

    def run(documents: Sequence[Document]) -> None:
        with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
            for number, document in enumerate(documents):
                parse_bare(document.path, _new_folder(Path(folder), number))

    yield Side(run, (os.getpid(),))


@contextmanager
def text_library(package: str, processes: int) -> Iterator[tuple[Side, dict[str, str]]]:
    """Start another library that reads text from PDFs, for reference; it has one round.

    Raises
    ------
    Missing
        It cannot be installed.
    """
    with outside("with_text_library", [package], package, processes) as (side, versions):

        def run(documents: Sequence[Document]) -> None:
            side.run([os.fspath(document.path) for document in documents])

        yield Side(run, side.processes, once=True), versions


def parse_bare(path: Path, folder: Path) -> int:
    """Parse a document as docnats does; return its pages, or raise when any of them fails."""
    result = parse_range(str(path), str(folder), 1, sys.maxsize, ParseOptions())
    if result.page_errors:
        raise ValueError(f"page {result.page_errors[0].page_no}: {result.page_errors[0].error}")
    return result.page_count


def parse_public(path: Path, folder: Path) -> int:
    """Parse a document with docling-parse's public API as it comes; write a JSON a page."""
    from docling_parse.pdf_parser import DoclingPdfParser

    document = DoclingPdfParser().load(path)
    for number, page in document.iterate_pages():
        (folder / f"{number}.json").write_text(page.model_dump_json(), encoding="utf-8")
    pages: int = document.number_of_pages()
    document.unload()
    return pages


def _new_folder(parent: Path, number: int) -> Path:
    folder = parent / str(number)
    folder.mkdir()
    return folder
