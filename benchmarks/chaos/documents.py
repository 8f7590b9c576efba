"""What is submitted: samples, made-up documents, large ones and bad ones, by a seed."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import docnats
from docnats.errors import ErrorType
from tests.bad_pdfs import bad_inputs
from tests.pdfs import text_pdf

__all__ = ["Document", "make_documents"]

SHARES = {"bad": 0.1, "sample": 0.2}
"""Parts of all documents; the others are made up."""

EVERY_LARGE = 200
"""One document in so many goes to S3 in parts."""

MOST_PAGES = 120
LINES = 40

LARGE = 12 * 1024 * 1024
"""Bytes: three parts of the size the run is configured with."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file to submit; ``error_type`` is set if it cannot end as ``done``."""

    path: Path
    sha256: str
    size: int
    error_type: ErrorType | None = None

    @property
    def name(self) -> str:
        """Its file name, which no other document has."""
        return self.path.name


def make_documents(folder: Path, count: int, *, seed: int) -> list[Document]:
    """Write so many files into a folder; the same ones for the same seed."""
    folder.mkdir()
    rng = random.Random(f"documents {seed}")  # noqa: S311 - must be repeatable
    samples = docnats.sample_paths()
    bad = bad_inputs()
    documents = []
    for number in range(count):
        kind = _kind(number, rng)
        error_type = None
        if kind == "sample":
            path = rng.choice(samples)
            name, data = path.name, path.read_bytes()
        elif kind == "bad":
            name = rng.choice(sorted(bad))
            data, error_type = bad[name]
        else:
            # Each text is its own, so that no result can be taken for another's.
            pages = round(MOST_PAGES ** rng.random())
            padding = LARGE if kind == "large" else 0
            name = f"{kind}-{pages}.pdf"
            data = text_pdf(pages, lines=LINES, padding=padding, subject=f"folder {number}")
        path = folder / f"{number:05}-{name}"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        documents.append(Document(path, digest, len(data), error_type))
    return documents


def _kind(number: int, rng: random.Random) -> str:
    kinds = [*SHARES, "made"]
    weights = [*SHARES.values(), 1 - sum(SHARES.values())]
    (kind,) = rng.choices(kinds, weights)
    return "large" if number % EVERY_LARGE == EVERY_LARGE // 2 else kind
