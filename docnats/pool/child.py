"""What runs inside a parser process, besides the function it is given."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

__all__ = ["OUT_OF_MEMORY", "call", "confine"]

OUT_OF_MEMORY = 77
"""Exit code of a process that ran into its memory limit; no signal and no usual code."""

_PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``."""


def confine(memory_limit: int, stderr: str) -> None:
    """Limit this process, and tie its life to that of the worker.

    Parameters
    ----------
    memory_limit : int
        Bytes of address space.
    stderr : str
        File for what it writes to stdout and stderr.
    """
    # Pebble's handler would have to wait for native code to return.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    _write_to(stderr)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS does not enforce it
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = memory_limit if hard == resource.RLIM_INFINITY else min(memory_limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def call(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, int]:
    """Call a function; return its result and the bytes this process then holds.

    A process that ran out of memory ends, because nothing in it can be relied on.
    """
    os.ftruncate(2, 0)
    try:
        return function(*args), _resident_bytes()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def _die_with_parent() -> None:
    """End when the worker ends, even in the middle of native code.

    The fork server ends as soon as nobody holds the other end of its pipe any more: the
    worker should be the only one to hold it. This process then ends with the fork server.
    """
    server: Any = forkserver._forkserver  # noqa: SLF001 - there is no public way
    if server._forkserver_alive_fd is not None:  # noqa: SLF001
        os.close(server._forkserver_alive_fd)  # noqa: SLF001
        server._forkserver_alive_fd = None  # noqa: SLF001
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _write_to(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _resident_bytes() -> int:
    """Return the memory this process holds; on systems without procfs, the most it held."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()
