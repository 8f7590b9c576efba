"""A fork server whose environment holds no credentials, and children without a main module."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType
from typing import Any

from docnats.pool.answers import AnswerReader

__all__ = ["clean_context", "ensure_server"]

KEPT = frozenset(
    {
        "DOCLING_ARTIFACTS_PATH",
        "DOCLING_CACHE_DIR",
        "DYLD_LIBRARY_PATH",
        "HF_HOME",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "TMPDIR",
        "TZ",
        "VIRTUAL_ENV",
    }
)
"""What a process needs to find Python, its modules, models, and a place for temporary files."""

ADDED = {
    # A process that forks must have one thread only.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Arrow's default allocator reserves 1 GiB of address space, which is what is limited.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}

_LOCK = threading.Lock()


class _Process(ForkServerProcess):
    """A process that gets neither the environment nor the main module of its parent."""

    def start(self) -> None:
        ensure_server()
        with _LOCK, _without_main():
            super().start()


class _Context(ForkServerContext):
    Process = _Process

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802 - multiprocessing's
        """Return a pipe that may lead from a process that is not to be trusted."""
        reader, writer = super().Pipe(duplex)
        if duplex:
            return reader, writer
        return AnswerReader(os.dup(reader.fileno()), writable=False), writer


def clean_context(preload: Sequence[str]) -> ForkServerContext:
    """Return a context for processes that are forked from a server with modules loaded.

    All contexts of a process share one fork server; the first one decides what it preloads.
    """
    context = _Context()
    context.set_forkserver_preload(list(preload))
    return context


def ensure_server() -> None:
    """Start the fork server unless it runs; and the resource tracker, which comes with it."""
    with _LOCK:
        if not _is_running():
            with _scrubbed_environment():
                forkserver.ensure_running()


def _is_running() -> bool:
    server: Any = forkserver._forkserver  # noqa: SLF001 - there is no public way
    pid = server._forkserver_pid  # noqa: SLF001
    if pid is None or not hasattr(os, "waitid"):  # macOS has it since Python 3.13
        return pid is not None
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


@contextmanager
def _scrubbed_environment() -> Iterator[None]:
    """Hide most of the environment: /proc shows for ever what a process was started with."""
    saved = dict(os.environ)
    for name in saved.keys() - KEPT:
        del os.environ[name]
    os.environ.update(ADDED)
    try:
        yield
    finally:
        for name in ADDED:
            del os.environ[name]
        os.environ.update(saved)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module, which the child would import: the whole CLI, or a notebook's."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
