"""Functions that do to a parser process what bad documents do."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

from docnats.errors import ErrorType, ParseError
from docnats.parsing.bookmark import Watch, bookmark


def segfault() -> None:
    ctypes.string_at(0)


def hang_in_native_code() -> None:
    """Hold the interpreter's lock, as the parser does, so that no Python code can run."""
    ctypes.PyDLL(None).sleep(3600)


def touch_and_hang(path: str) -> None:
    """Write this process's id into a file, then hang."""
    temporary = Path(path).with_suffix(".part")
    temporary.write_text(str(os.getpid()))
    temporary.rename(path)
    hang_in_native_code()


def allocate(size: int) -> int:
    return len(bytearray(size))


def complain_and_abort() -> None:
    os.write(2, b"terminate called after throwing an instance of 'std::out_of_range'\n")
    os.abort()


def give_back_a_lambda() -> object:
    return lambda: None


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def is_loaded(module: str) -> bool:
    return module in sys.modules


def initial_environment() -> dict[str, str]:
    """Return the environment this process was started with, which /proc shows for ever."""
    entries = Path("/proc/self/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def core_limit() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_CORE)


def read_stdin() -> bytes:
    return os.read(0, 1)


def refuse(message: str) -> None:
    raise ParseError(ErrorType.MALFORMED, message)


def kill_self() -> None:
    """Die as the kernel's out-of-memory killer makes a process die."""
    os.kill(os.getpid(), signal.SIGKILL)


def spend(seconds: float) -> None:
    """Set a limit of processor time and exceed it, holding the interpreter's lock."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    sum(range(10**12))


def die_on_first_page(watch: Watch, page_count: int) -> None:
    """Open a document, turn to its first page, and be killed from outside."""
    with bookmark(watch) as mark:
        mark.opened(page_count)
        mark.turn_to(1)
        kill_self()


_kept: list[bytearray] = []


def keep(size: int) -> None:
    """Use memory and never give it back."""
    _kept.append(bytearray(b"x") * size)
