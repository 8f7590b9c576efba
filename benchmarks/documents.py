"""The documents that benchmarks parse: found on disk, or made up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import docnats
from tests.pdfs import text_pdf

__all__ = ["Document", "find_files", "write_long_file", "write_one_page_files"]

LINES = 55
"""Of seven words each: with fewer than 435 words a page, what real ones have on average."""


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF that every side can parse."""

    path: Path
    pages: int


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


def write_one_page_files(folder: Path, count: int) -> list[Document]:
    """Write PDFs of a page of text, no two the same."""
    page = text_pdf(lines=LINES)
    documents = []
    for number in range(count):
        path = folder / f"{number:06}.pdf"
        path.write_bytes(page + b"%% document %d\n" % number)
        documents.append(Document(path, 1))
    return documents


def write_long_file(folder: Path, pages: int) -> Document:
    """Write one PDF of many pages of text."""
    path = folder / f"{pages}-pages.pdf"
    path.write_bytes(text_pdf(pages, lines=LINES))
    return Document(path, pages)
