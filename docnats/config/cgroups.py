"""What Linux's control groups allow this process: a container's share of its machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["cpu_quota", "memory_limit"]

UNIFIED = ""
"""What /proc/self/cgroup calls the hierarchy of version 2."""

_V2_MEMORY = ("memory.max", "memory.high")


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many cores' time the groups of this process may use; None if it is not limited.

    Parameters
    ----------
    root : Path
        Where ``proc`` is, and the file systems that it names.
    """
    written = [_words(folder / "cpu.max") for folder in _groups(root, UNIFIED)]
    for folder in _groups(root, "cpu"):
        quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
        written.append((*quota, *period))
    quotas = map(_ratio, written)
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the bytes that the groups of this process may hold; None if they are not limited.

    What is over ``memory.high`` is not killed but slowed down until it is of no use.
    """
    files = [
        *(folder / name for folder in _groups(root, UNIFIED) for name in _V2_MEMORY),
        *(folder / "memory.limit_in_bytes" for folder in _groups(root, "memory")),
    ]
    limits = (int(word) for file in files for word in _words(file) if word.isdigit())
    return min((limit for limit in limits if limit > 0), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Find the folder of this process's group and of those around it: each may have a limit."""
    group = _group(root, controller)
    for mounted, point in _mounts(root, controller):
        below = PurePosixPath()
        # Else it is outside of what a container sees: what is mounted then is its own group.
        if group is not None and group.is_relative_to(mounted) and ".." not in group.parts:
            below = group.relative_to(mounted)
        folder = root / point.relative_to("/")
        yield folder
        for name in below.parts:
            folder /= name
            yield folder


def _group(root: Path, controller: str) -> PurePosixPath | None:
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return PurePosixPath(path)
    return None


def _mounts(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Find which part of a hierarchy is mounted, and where; see proc_pid_mountinfo(5)."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        unified = kind == "cgroup2" and controller == UNIFIED
        if unified or (kind == "cgroup" and controller in options.split(",")):
            part, point = mount.split(" ")[3:5]
            yield PurePosixPath(part), PurePosixPath(point)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # not on Linux, not mounted, or no such controller here
        return []


def _words(file: Path) -> tuple[str, ...]:
    return tuple(word for line in _lines(file) for word in line.split())


def _ratio(words: tuple[str, ...]) -> float | None:
    """Return a quota as a number of cores; None where it says "max", -1 or nothing."""
    if len(words) != 2 or not all(word.isdigit() and int(word) for word in words):
        return None
    quota, period = map(int, words)
    return quota / period
