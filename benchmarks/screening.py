"""Finds out which documents every side of a comparison can parse."""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from benchmarks.documents import Document
from benchmarks.sides import parse_bare, parse_public

__all__ = ["screen"]

SCREENED_AT_A_TIME = 32
SCREEN_SECONDS = 300
SCREEN_MEMORY = 2 * 1024**3
"""As docnats limits its own parser processes."""


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
