"""What of the machine a parser process may use, as the kernel enforces it."""

from __future__ import annotations

import math
import resource
import sys
import time

__all__ = ["FILE_SIZE", "OPEN_FILES", "allow_memory", "allow_processor_time", "set_limits"]

FILE_SIZE = 2 << 30
"""Bytes of one file: results are a sixth of their document's size, and that is up to 2 GiB."""

OPEN_FILES = 256
"""Ten are in use at a time."""


def set_limits(memory: int, most_memory: int) -> None:
    """Limit this process for good: address space, size and number of files, no core dumps.

    Parameters
    ----------
    memory, most_memory : int
        Bytes of address space, and those up to which :func:`allow_memory` goes.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, FILE_SIZE)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    if sys.platform == "linux":  # macOS does not enforce it
        _lower(resource.RLIMIT_AS, max(memory, most_memory))
        _set_soft(resource.RLIMIT_AS, memory)


def allow_memory(memory: int) -> None:
    """Give this process so many bytes of address space, unless it has more.

    It never takes any back: what a process has loaded would leave no room for the next task.
    """
    if sys.platform != "linux":
        return
    if resource.getrlimit(resource.RLIMIT_AS)[0] < memory:
        _set_soft(resource.RLIMIT_AS, memory)


def allow_processor_time(seconds: float) -> None:
    """Have the kernel end this process when it has worked for so much longer, in seconds.

    It holds even if nobody watches the process; in steps of whole seconds.
    """
    _set_soft(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds))


def _lower(kind: int, limit: int) -> None:
    limit = _within_hard(kind, limit)
    resource.setrlimit(kind, (limit, limit))


def _set_soft(kind: int, limit: int) -> None:
    """Set the limit that counts, which may be raised again up to the hard one."""
    resource.setrlimit(kind, (_within_hard(kind, limit), resource.getrlimit(kind)[1]))


def _within_hard(kind: int, limit: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)
