"""Which process this is, and whether another one on the same machine is still there."""

from __future__ import annotations

import os
import platform
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

from docnats.models import SenderInfo, utc_now

__all__ = ["is_gone", "this_sender"]

_PROC = Path("/proc")

_BORN = 19
"""Place of the start time in /proc/PID/stat, counted behind the name; see proc(5)."""


def this_sender(batch: str) -> SenderInfo:
    """Return this process as the sender of a batch."""
    return SenderInfo(
        batch=batch,
        host=platform.node(),
        pid=os.getpid(),
        machine=_machine(),
        born=_born(os.getpid()) or "",
        started_at=utc_now(),
    )


def is_gone(sender: SenderInfo) -> bool:
    """Tell whether a sender's process is known to have ended; of other machines nothing is."""
    if not sender.machine or sender.machine != _machine():
        return False
    try:
        os.kill(sender.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's; its times may be hidden from us
        return False
    return bool(sender.born) and _born(sender.pid) != sender.born


@cache
def _machine() -> str:
    """Return what two processes share exactly if a process id means the same to both."""
    with suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    return f"{platform.node()} {uuid.getnode():012x}"


def _born(pid: int) -> str | None:
    """Return when a process was started, in ticks since boot; None if it is gone or dead."""
    try:
        words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else words[_BORN]
