"""The page a parser process is at, noted for whoever finds it dead, and its time limits.

A process in native code cannot be asked anything, and nothing in it runs when it dies. So it
notes every page before it begins it, and leaves it to the kernel to end it.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bookmark", "Place", "Watch", "bookmark", "read_bookmark"]

_PLACE = struct.Struct("<dii")


@dataclass(frozen=True, slots=True)
class Watch:
    """How a process that parses a range is watched.

    Parameters
    ----------
    bookmark : str
        File in which it notes the page it is at.
    open_seconds, page_seconds : float
        Processor time, in which the load of the machine does not count, that opening the
        document and each page may take; SIGPROF ends a process that needs more. 0 is no limit.
    """

    bookmark: str
    open_seconds: float
    page_seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process was when it last noted it.

    Attributes
    ----------
    began : float
        When it began, by :func:`time.monotonic`, which all processes of a machine share.
    page_count : int
        Pages of the document; 0 if it died while it opened the document.
    page_no : int
        The page it was at; 0 if it was at none: while it opens, and while it writes.
    """

    began: float
    page_count: int = 0
    page_no: int = 0


class Bookmark:
    """Notes where this process is; made by :func:`bookmark`."""

    def __init__(self, file: int, watch: Watch) -> None:
        self._file = file
        self._watch = watch
        self._began = time.monotonic()
        self._page_count = 0
        self._note(0, watch.open_seconds)

    def opened(self, page_count: int) -> None:
        """Note that the document is open."""
        self._page_count = page_count
        self._note(0, 0)

    def turn_to(self, page_no: int) -> None:
        """Note that a page begins."""
        self._note(page_no, self._watch.page_seconds)

    def close(self) -> None:
        """Note that the last page is over."""
        self._note(0, 0)

    def _note(self, page_no: int, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        os.pwrite(self._file, _PLACE.pack(self._began, self._page_count, page_no), 0)


@contextmanager
def bookmark(watch: Watch | None) -> Iterator[Bookmark]:
    """Give a bookmark; what it says when the block raises stays. None is for no watch."""
    if watch is None:
        watch = Watch(os.devnull, open_seconds=0, page_seconds=0)
    file = os.open(watch.bookmark, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield Bookmark(file, watch)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.close(file)


def read_bookmark(path: Path) -> Place | None:
    """Return what a process noted, or None if it never came to it."""
    try:
        with path.open("rb") as file:
            return Place(*_PLACE.unpack(file.read(_PLACE.size)))
    except (FileNotFoundError, struct.error):
        return None
