"""What a parser process may not do, and which of it the kernel sees to.

A document that takes a parser process over finds there no credentials, no network, no files
but Python's and those of its own worker's jobs, and no other process to turn to.
"""

from __future__ import annotations

import ctypes
import mimetypes
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from docnats.pool import landlock, seccomp

__all__ = ["Protections", "confine", "python_folders"]

_SYSTEM = (
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/proc",
    "/sys",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    *map(str, mimetypes.knownfiles),
)
"""What programs read; of ``/proc``, other processes' environment and memory stay closed."""

_WRITABLE = ("/dev/null",)

FILES = "no other files"
TRUNCATION = "no emptying of files"
NETWORK = "no network and no other processes"
PRIVILEGES = "no privileges of root"
MEMORY = "memory closed to others"

_CAPABILITY_VERSION = 0x20080522
_FILE_CAPABILITIES = 0b110
"""From ``linux/capability.h``: ``CAP_DAC_OVERRIDE`` and ``CAP_DAC_READ_SEARCH``. Without them
root may not see its own Python, in another user's folder for example."""

_PR_SET_DUMPABLE = 4
"""From ``linux/prctl.h``."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Protections:
    """Which protections of the kernel a process has.

    Attributes
    ----------
    active : tuple of str
        In words.
    missing : tuple of str
        The others, each with the reason.
    """

    active: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def confine(readable: Iterable[str], writable: Iterable[str]) -> Protections:
    """Give up, for good, whatever of this process's rights the kernel lets it give up.

    Parameters
    ----------
    readable, writable : iterable of str
        Folders, besides the system's.
    """
    steps: dict[str, Callable[[], None]] = {
        FILES: lambda: landlock.confine([*_SYSTEM, *readable], [*_WRITABLE, *writable]),
        TRUNCATION: _look_for_truncation,
        NETWORK: seccomp.confine,
        PRIVILEGES: _drop_privileges,
        MEMORY: _close_memory,
    }
    active, missing = [], []
    for name, step in steps.items():
        try:
            _on_linux(step)
        except OSError as error:
            missing.append(f"{name} ({error.strerror})")
        else:
            active.append(name)
    return Protections(tuple(active), tuple(missing))


def python_folders() -> tuple[str, ...]:
    """Return the folders from which this Python loads modules and libraries.

    Without the current one, unless docnats is in it: it may be anybody's, and is among them
    only by the way the program was started. Without those around the user's home as well.
    """
    ours = Path(__file__).parents[2]
    places = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix), ours}
    places.update(Path(entry) for entry in sys.path if entry and Path(entry) != Path.cwd())
    home = Path.home()
    return tuple(sorted(os.fspath(path) for path in places if not home.is_relative_to(path)))


def _on_linux(step: Callable[[], None]) -> None:
    if sys.platform != "linux":
        raise OSError(0, "this system has no such thing")
    step()


def _look_for_truncation() -> None:
    known = landlock.version()
    if known < landlock.TRUNCATION_SINCE:
        raise OSError(0, f"the kernel's Landlock is version {known}; Linux 6.2 has version 3")


def _drop_privileges() -> None:
    """Keep root's way to files only.

    Else it might raise its limits, and ``CAP_PERFMON`` lets it read any process's environment.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the same, higher ones
    if _libc.capget(header, held):
        raise OSError(ctypes.get_errno(), "capget is refused")
    kept = (ctypes.c_uint32 * 6)(held[0] & _FILE_CAPABILITIES, held[1] & _FILE_CAPABILITIES)
    if _libc.capset(header, kept):
        raise OSError(ctypes.get_errno(), "capset is refused")


def _close_memory() -> None:
    """Let nobody but root trace this process or read its memory."""
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) is refused")
