"""What is read from a document: of a result, and of an undisturbed run to compare it with.

``python -m benchmarks.chaos.reading`` is that undisturbed run, in a process of its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measure import cores
from docnats.names import PAGES, WORDS
from docnats.parsing import ParseOptions, parse_range

__all__ = ["Reading", "read_result", "undisturbed"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Digests of the text of each page and of all words, in their order."""

    pages: tuple[str, ...]
    words: str

    def difference(self, other: Reading) -> str | None:
        """Say how another reading differs, if it does."""
        if len(self.pages) != len(other.pages):
            return f"{len(other.pages)} pages instead of {len(self.pages)}"
        pairs = enumerate(zip(self.pages, other.pages, strict=True), start=1)
        different = [number for number, (one, two) in pairs if one != two]
        if different:
            return f"other text on pages {different[:10]}, {len(different)} in all"
        return "other words" if self.words != other.words else None


def read_result(pages: bytes, words: bytes) -> Reading:
    """Read the two tables of a document's result.

    Raises
    ------
    pyarrow.ArrowInvalid, KeyError
        They are not what docnats writes.
    """
    page_rows = pq.read_table(io.BytesIO(pages), columns=["page_no", "text", "error"]).to_pylist()
    word_table = pq.read_table(io.BytesIO(words), columns=["page_no", "text"])
    every_word = "\n".join(word_table.column("text").to_pylist())
    return Reading(tuple(_digest(json.dumps(row)) for row in page_rows), _digest(every_word))


def undisturbed(paths: Sequence[Path]) -> list[Reading]:
    """Parse documents with docnats's parser alone, before anything goes wrong."""
    command = [sys.executable, "-m", "benchmarks.chaos.reading"]
    asked = json.dumps([str(path) for path in paths])
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)
    return [Reading(tuple(found["pages"]), found["words"]) for found in json.loads(done.stdout)]


def _parse(path: str) -> Reading:
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
        parse_range(path, folder, 1, sys.maxsize, ParseOptions())
        return read_result(Path(folder, PAGES).read_bytes(), Path(folder, WORDS).read_bytes())


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _main() -> None:
    paths = json.load(sys.stdin)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), mp_context=context) as pool:
        readings = list(pool.map(_parse, paths, chunksize=4))
    json.dump([asdict(reading) for reading in readings], sys.stdout)


if __name__ == "__main__":
    _main()
