"""Take this process's view of the file system down to a few folders, by Linux's Landlock.

Direct system calls, because no library on PyPI for this has had a final release and is
maintained. Numbers and structures are those of ``linux/landlock.h``, the same on all
architectures; what is asked for is cut to what the kernel knows.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable

__all__ = ["TRUNCATION_SINCE", "confine", "version"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REMOVE_DIR = 1 << 4
_REMOVE_FILE = 1 << 5
_MAKE_DIR = 1 << 7
_MAKE_REG = 1 << 8
_TRUNCATE = 1 << 14

_READ = _READ_FILE | _READ_DIR
_WRITE = _WRITE_FILE | _TRUNCATE | _MAKE_REG | _MAKE_DIR | _REMOVE_FILE | _REMOVE_DIR
"""Neither links, which would have the worker send another file as the result, nor named pipes,
which would have it wait for ever."""

_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
"""What a rule about a file may hold; the other rights are a folder's."""

_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""The rights to refuse, by the version that brought new ones."""

TRUNCATION_SINCE = 3
"""The first version, of Linux 6.2, that keeps a process from emptying files it may only read."""


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """Return the kernel's version of Landlock.

    Raises
    ------
    OSError
        It has none, or does not let this process use it.
    """
    try:
        return _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    except OSError as error:
        told = {
            errno.ENOSYS: "the kernel has no Landlock (Linux 5.13 and newer do), or the "
            "container's seccomp profile hides it",
            errno.EOPNOTSUPP: "Landlock is not among the kernel's security modules (lsm=)",
        }
        raise OSError(error.errno, told.get(error.errno or 0, error.strerror)) from error


def confine(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Refuse this process all files but these, for good, and to run programs.

    The kernel then also keeps it from looking into other processes by ``ptrace`` and through
    ``/proc``, at their environment for example. Files that are open stay open.

    Parameters
    ----------
    readable, writable : iterable of str
        Folders with all that is in them, and files; those that do not exist are left out.
        What is writable is readable too.

    Raises
    ------
    OSError
        The kernel refuses; nothing is confined.
    """
    known = version()
    handled = _ALL[max(since for since in _ALL if since <= known)]
    rules = _Ruleset(handled)
    ruleset = _syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)))
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        for path in writable:
            _allow(ruleset, path, (_READ | _WRITE) & handled)
        _no_new_privileges()
        _syscall(_RESTRICT_SELF, ruleset)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, place)
        _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule))
    finally:
        os.close(place)


def _no_new_privileges() -> None:
    """Give up what a set-user-id program would give; the kernel asks for it."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) is refused")


def _syscall(number: int, *args: object) -> int:
    padded = (*args, *(0,) * (4 - len(args)))
    words = (ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in padded)
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
