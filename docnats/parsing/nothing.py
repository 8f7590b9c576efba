"""A reader that does not read: what is left of a job is what docnats itself costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from docnats.parsing.pages import PageContent

__all__ = ["open_reader"]


class _Nothing:
    page_count = 1

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}

    def read_page(self, page_no: int) -> PageContent:
        """Return an empty page."""
        return PageContent.of_text("")


@contextmanager
def open_reader(source: str, options: Mapping[str, Any]) -> Iterator[_Nothing]:
    """Open any file at all as the processor ``noop`` does: as one empty page."""
    yield _Nothing()
