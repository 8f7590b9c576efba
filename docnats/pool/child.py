"""What runs inside a parser process, besides the function it is given."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from docnats.errors import ErrorType, ParseError
from docnats.pool import limits, sandbox
from docnats.pool.sandbox import Protections

__all__ = ["OUT_OF_MEMORY", "Confinement", "call", "confine", "protections"]

OUT_OF_MEMORY = 77
"""Exit code of a process that ran into its memory limit; no signal and no usual code."""

_PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process may use.

    Parameters
    ----------
    memory_limit, most_memory : int
        Bytes of address space, as a rule and for tasks that ask for more.
    stderr : str
        File for what it writes to stdout and stderr.
    temporary : str
        Folder of its own for temporary files; made by the process.
    readable, writable : tuple of str
        Files and folders, besides those.
    sandboxed : bool
        Whether it gives up its rights to all else.
    """

    memory_limit: int
    most_memory: int
    stderr: str
    temporary: str
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    sandboxed: bool


_protections = Protections()


def confine(confinement: Confinement) -> None:
    """Limit this process, and tie its life to that of the worker."""
    # Pebble's handler would have to wait for native code to return.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    _use_terminal_no_more(confinement.stderr)
    _close_descriptors()
    Path(confinement.temporary).mkdir(mode=0o700)
    os.environ["TMPDIR"] = tempfile.tempdir = confinement.temporary
    limits.set_limits(confinement.memory_limit, confinement.most_memory)
    if confinement.sandboxed:
        global _protections  # noqa: PLW0603 - they are the process's
        _protections = sandbox.confine(
            confinement.readable, (confinement.temporary, *confinement.writable)
        )


def protections() -> Protections:
    """Return which protections of the kernel this process has."""
    return _protections


def call(
    function: Callable[..., Any], args: tuple[Any, ...], processor_seconds: float, memory: int
) -> tuple[Any, int]:
    """Call a function; return its result and the bytes this process then holds.

    A process that ran out of memory ends, because nothing in it can be relied on.

    Parameters
    ----------
    processor_seconds : float
        What it may use before the kernel ends the process.
    memory : int
        Bytes of address space that it needs at least.
    """
    os.ftruncate(2, 0)
    limits.allow_processor_time(processor_seconds)
    limits.allow_memory(memory)
    try:
        return function(*args), _resident_bytes()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        msg = f"a result file is larger than the limit of {limits.FILE_SIZE >> 30} GiB"
        raise ParseError(ErrorType.TOO_LARGE, msg) from error


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


def _use_terminal_no_more(stderr: str) -> None:
    output = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - stays open
    os.close(output)
    os.close(nothing)


def _close_descriptors() -> None:
    """Close what else was inherited: all but the three above and the pipes to the worker."""
    tracker: Any = resource_tracker._resource_tracker  # noqa: SLF001
    inherited = {tracker._fd}  # noqa: SLF001 - a pipe too, to a process of the worker's
    tracker._fd = None  # noqa: SLF001
    listing = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    for descriptor in [int(entry.name) for entry in listing.iterdir()]:
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:  # the one by which the list was read
            continue
        if descriptor in inherited or (descriptor > 2 and not stat.S_ISFIFO(mode)):
            os.close(descriptor)


def _resident_bytes() -> int:
    """Return the memory this process holds; on systems without procfs, the most it held."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()
