"""Refuse this process system calls that no parser needs, by a seccomp filter (Linux).

A filter of a dozen comparisons is written here rather than by libseccomp, which is not
everywhere, and whose binding on PyPI is no longer maintained. See seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass

__all__ = ["confine"]

_SET_MODE_FILTER = 1
_SPEC_ALLOW = 1 << 2
"""Without it, kernels before 5.16 slow the process down to guard it against Spectre."""

_PR_SET_NO_NEW_PRIVS = 38

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

# linux/bpf_common.h: load a word, jump if equal, greater or equal, or if bits are set; return.
_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

# struct seccomp_data
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

_CLONE_THREAD = 0x00010000


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kind of processor: how system calls are numbered there.

    Attributes
    ----------
    audit : int
        Its number in ``linux/audit.h``.
    refused : tuple of int
        Calls that open sockets (``socket``, and ``io_uring_setup``, which can do the same),
        look into other processes (``ptrace``, ``process_vm_readv``, ``process_vm_writev``,
        ``pidfd_getfd``), signal one by a descriptor (``pidfd_send_signal``), or start one
        (``fork``, ``vfork``): the limits of this one would not count in it.
    signals : tuple of int
        Calls whose first argument is the process to send a signal to: ``kill``, ``tgkill``,
        ``tkill``, ``rt_sigqueueinfo``, ``rt_tgsigqueueinfo``.
    foreign : int
        Numbers from here on belong to another calling convention; 0 if there is none.
    """

    audit: int
    seccomp: int
    clone: int
    refused: tuple[int, ...]
    signals: tuple[int, ...]
    foreign: int = 0


_CLONE3 = 435

_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        seccomp=317,
        clone=56,
        refused=(41, 425, 101, 310, 311, 438, 424, 57, 58),
        signals=(62, 234, 200, 129, 297),
        foreign=0x40000000,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        seccomp=277,
        clone=220,
        refused=(198, 425, 117, 270, 271, 438, 424),
        signals=(129, 131, 130, 138, 240),
    ),
}


_libc = ctypes.CDLL(None, use_errno=True)


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def confine() -> None:
    """Refuse this process sockets, child processes, and what harms other processes, for good.

    Refused calls fail with EPERM: ``PermissionError`` in Python. New threads are allowed.

    Raises
    ------
    OSError
        The kernel refuses, or the processor is of an unknown kind.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no filter is written for {platform.machine()}")
    steps = _filter(machine)
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    program = _Program(len(steps), instructions)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.syscall(
        ctypes.c_long(machine.seccomp),
        ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(_SPEC_ALLOW),
        ctypes.byref(program),
    ):
        code = ctypes.get_errno()
        raise OSError(code, f"the kernel refuses a seccomp filter: {os.strerror(code)}")


def _filter(machine: _Machine) -> list[tuple[int, int, int, int]]:
    """Return the program: code, steps to jump if true and if false, and a number."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_JEQ, 1, 0, machine.audit), refuse]
    steps.append((_LOAD, 0, 0, _NUMBER))
    if machine.foreign:
        steps += [(_JGE, 0, 1, machine.foreign), refuse]
    for number in machine.refused:
        steps += [(_JEQ, 0, 1, number), refuse]
    for number in machine.signals:
        steps += [(_JEQ, 0, 4, number), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
        steps += [(_JEQ, 0, 1, os.getpid()), allow, refuse]
    # The flags of clone3 are out of a filter's sight; the C library then falls back to clone.
    steps += [(_JEQ, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    steps += [(_JEQ, 0, 3, machine.clone), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    steps += [(_JSET, 1, 0, _CLONE_THREAD), refuse]
    return [*steps, allow]
