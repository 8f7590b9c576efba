"""Refuse this process system calls that no parser needs, by a seccomp filter (Linux).

A filter of comparisons is written here rather than by libseccomp, which is not
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

# struct seccomp_data; arguments are looked at by their lower half, of 32 bits.
_NUMBER, _ARCHITECTURE = 0, 4
_FIRST, _SECOND = 16, 24

_CLONE_THREAD = 0x00010000
_SET_OWNER = (8, 15)  # F_SETOWN, F_SETOWN_EX

_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # call: its number on x86_64 and on aarch64, which lacks some old ones
    # Sockets; io_uring can do the same, and one of a pair may send to anybody.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "io_uring_setup": (425, 425),
    # Other processes: to look into them, or to signal them by a descriptor.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # New ones, in which the limits of this one would not count, and other programs.
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # A namespace of users, in which this process would be root.
    "unshare": (272, 97),
    "setns": (308, 268),
    # What Landlock knows nothing of: a file's mode, owner, attributes and times.
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    # What all processes of a user share: memory, semaphores, queues, and keys, Kerberos' too.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}


def _refused(column: int) -> tuple[int, ...]:
    return tuple(number for row in _REFUSED.values() if (number := row[column]) is not None)


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kind of processor: how system calls are numbered there.

    Attributes
    ----------
    audit : int
        Its number in ``linux/audit.h``.
    refused : tuple of int
        Calls that are refused whatever they are given.
    signals : tuple of int
        Calls whose first argument is the process to send a signal to: ``kill``, ``tgkill``,
        ``tkill``, ``rt_sigqueueinfo``, ``rt_tgsigqueueinfo``.
    own : tuple of int
        Calls whose first argument is a process, 0 for this one: ``prlimit64``,
        ``sched_setaffinity``, ``sched_setscheduler``, ``sched_setparam``, ``sched_setattr``.
    fcntl : int
        By which the kernel may be told to send a signal to anybody.
    foreign : int
        Numbers from here on belong to another calling convention; 0 if there is none.
    """

    audit: int
    seccomp: int
    clone: int
    refused: tuple[int, ...]
    signals: tuple[int, ...]
    own: tuple[int, ...]
    fcntl: int
    foreign: int = 0


_Step = tuple[int, int, int, int]
"""Of a program: code, steps to jump if true and if false, and a number."""

_CLONE3 = 435

_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        seccomp=317,
        clone=56,
        refused=_refused(0),
        signals=(62, 234, 200, 129, 297),
        own=(302, 203, 144, 142, 314),
        fcntl=72,
        foreign=0x40000000,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        seccomp=277,
        clone=220,
        refused=_refused(1),
        signals=(129, 131, 130, 138, 240),
        own=(261, 122, 119, 118, 274),
        fcntl=25,
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
    """Refuse this process sockets, child processes, and what harms others or their files, for good.

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


def _filter(machine: _Machine) -> list[_Step]:
    """Return the program."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)

    def compare(call: int, argument: int, values: tuple[int, ...], *ends: _Step) -> list[_Step]:
        """Return the steps of a call: the first end if the argument is one of these values."""
        tests = [(_JEQ, len(values) - i, i == len(values), v) for i, v in enumerate(values, 1)]
        steps = [(_LOAD, 0, 0, argument), *tests, *ends]
        return [(_JEQ, 0, len(steps), call), *steps]

    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_JEQ, 1, 0, machine.audit), refuse]
    steps.append((_LOAD, 0, 0, _NUMBER))
    if machine.foreign:
        steps += [(_JGE, 0, 1, machine.foreign), refuse]
    for number in machine.refused:
        steps += [(_JEQ, 0, 1, number), refuse]
    for number in machine.signals:
        steps += compare(number, _FIRST, (os.getpid(),), allow, refuse)
    for number in machine.own:
        steps += compare(number, _FIRST, (0, os.getpid()), allow, refuse)
    steps += compare(machine.fcntl, _SECOND, _SET_OWNER, refuse, allow)
    # The flags of clone3 are out of a filter's sight; the C library then falls back to clone.
    steps += [(_JEQ, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    steps += [(_JEQ, 0, 3, machine.clone), (_LOAD, 0, 0, _FIRST)]
    steps += [(_JSET, 1, 0, _CLONE_THREAD), refuse]
    return [*steps, allow]
