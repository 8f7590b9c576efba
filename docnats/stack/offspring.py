"""The processes below a process, and which of them is at work."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Offspring", "grandchildren"]

_PS = ("/bin/ps", "-A", "-o", "pid=,ppid=,stat=,pcpu=")
"""How a system without procfs (macOS) tells of its processes."""


@dataclass(frozen=True, slots=True)
class Offspring:
    """A process.

    Attributes
    ----------
    running : bool
        Whether it is on a core, or waits for one, at this moment.
    used : float
        How much it has worked, to compare with others.
    """

    pid: int
    parent: int
    running: bool
    used: float


def grandchildren(pid: int) -> list[Offspring]:
    """Return the children of the children of a process, the busiest first.

    Those of a worker are its parsers; between them is the server that forks them.
    """
    everybody = _from_procfs() if sys.platform == "linux" else _from_ps()
    children = {one.pid for one in everybody if one.parent == pid}
    found = [one for one in everybody if one.parent in children]
    return sorted(found, key=lambda one: (one.running, one.used), reverse=True)


def _from_procfs() -> list[Offspring]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        # proc(5): the name, in parentheses, may hold anything; state and ppid follow it.
        fields = text.rpartition(")")[2].split()
        used = float(fields[11]) + float(fields[12])
        found.append(Offspring(int(path.parent.name), int(fields[1]), fields[0] == "R", used))
    return found


def _from_ps() -> list[Offspring]:
    listing = subprocess.run(_PS, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - a fixed command
    rows = (line.split() for line in listing.stdout.splitlines())
    return [
        Offspring(int(pid), int(parent), state.startswith("R"), float(share.replace(",", ".")))
        for pid, parent, state, share in rows
    ]
