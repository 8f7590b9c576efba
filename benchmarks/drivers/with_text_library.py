"""pdfplumber, pypdf or pypdfium2: reads the text of PDFs in a process pool."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from serving import serve


def pdfplumber_words(path: str) -> int:
    """Read words with boxes and fonts, page by page."""
    import pdfplumber

    with pdfplumber.open(path) as document:
        words = 0
        for page in document.pages:
            words += len(page.extract_words(extra_attrs=["fontname", "size"]))
            page.close()
        return words


def pypdf_text(path: str) -> int:
    """Read the text only."""
    from pypdf import PdfReader

    return sum(len(page.extract_text().split()) for page in PdfReader(path).pages)


def pypdfium2_text(path: str) -> int:
    """Read the text only."""
    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    try:
        return sum(len(page.get_textpage().get_text_bounded().split()) for page in document)
    finally:
        document.close()


READERS: dict[str, Callable[[str], int]] = {
    "pdfplumber": pdfplumber_words,
    "pypdf": pypdf_text,
    "pypdfium2": pypdfium2_text,
}


def words_or_none(task: tuple[str, str]) -> int | None:
    """Count the words of a document; None if the library cannot read it."""
    package, path = task
    try:
        return READERS[package](path)
    except Exception as error:  # whatever a library raises: the others' documents count
        print(f"{path}: {error!r}", file=sys.stderr)
        return None


def main() -> None:
    """Start the pool and serve: each piece of work is a list of paths."""
    package = sys.argv[1]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(int(sys.argv[2]), mp_context=context) as pool:

        def run(paths: list[str]) -> dict[str, Any]:
            words = list(pool.map(words_or_none, [(package, path) for path in paths]))
            return {"words": sum(filter(None, words)), "failed": words.count(None)}

        serve(run, package)


if __name__ == "__main__":
    main()
