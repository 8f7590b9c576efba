"""What runs in a parser process; nothing else imports this module."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docnats.parsing import PageContent, Reader, pdfium


class Counting:
    """A document whose words are counted while its pages are read."""

    def __init__(self, document: Reader, options: Mapping[str, Any]) -> None:
        self._document = document
        self._options = options
        self._counts: Counter[str] = Counter()
        self.page_count = document.page_count
        self.metadata = document.metadata

    def read_page(self, page_no: int) -> PageContent:
        """Return the page as it goes into ``pages.parquet``."""
        page = self._document.read_page(page_no)
        text = page.text.lower() if self._options["ignore_case"] else page.text
        self._counts.update(text.split())
        return page

    def write_parts(self, folder: Path) -> None:
        """Write the result file that the processor promises; called when all pages are read."""
        counts = dict(self._counts.most_common(self._options["top"]))
        (folder / "word_counts.json").write_text(json.dumps(counts), encoding="utf-8")


@contextmanager
def open_reader(source: str, options: Mapping[str, Any]) -> Iterator[Counting]:
    """Open a document: the text comes from PDFium, as with the processor ``pypdfium2``."""
    with pdfium.open_reader(source, options) as document:
        yield Counting(document, options)
