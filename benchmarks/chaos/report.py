"""What a run found: figures, faults, violations."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import Inflicted
from benchmarks.chaos.schedule import FaultKind
from docnats.models import JobRecord

__all__ = ["Report", "Violation"]

SHOWN = 8
"""Violations of one promise that are printed; the evidence has them all."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and by what."""

    promise: str
    what: str


@dataclass
class Report:
    """The outcome of a run.

    Attributes
    ----------
    kept : Path or None
        Folder of the evidence, if there are violations.
    """

    seed: int
    jobs: int
    least: int
    figures: dict[str, str] = field(default_factory=dict)
    faults: list[Inflicted] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    rows: list[JobRecord] = field(default_factory=list)
    kept: Path | None = None

    def broken(self, promise: str, what: object) -> None:
        """Note a violation."""
        self.violations.append(Violation(promise, str(what)))

    def count_faults(self) -> None:
        """Note kinds of fault that did not happen often enough to prove anything."""
        for kind, count in self.fault_counts.items():
            if count < self.least:
                self.broken("every kind of fault happens", f"{kind}: {count} times")

    @property
    def fault_counts(self) -> dict[str, int]:
        """How often each kind of fault happened."""
        counts = Counter(fault.kind for fault in self.faults)
        return {str(kind): counts[kind] for kind in FaultKind}

    def count_rows(self, rows: Iterable[JobRecord]) -> None:
        """Keep the job table and count it."""
        self.rows = sorted(rows, key=lambda row: (row.batch, row.position))
        ends = Counter(f"{row.state}/{row.error_type or ''}".strip("/") for row in self.rows)
        self.figures["rows"] = f"{len(self.rows):,}"
        self.figures |= {f"  {end}": f"{count:,}" for end, count in sorted(ends.items())}
        self.figures["pages"] = f"{sum(row.pages or 0 for row in self.rows):,}"
        self.figures["begun more than once"] = str(sum(row.attempt > 1 for row in self.rows))
        self.figures["most attempts of a job"] = str(max((r.attempt for r in self.rows), default=0))

    def text(self) -> str:
        """Return the report for people."""
        lines = [f"chaos: {self.jobs:,} jobs, seed {self.seed}", ""]
        lines += [f"  {name:<42} {value:>12}" for name, value in self.figures.items()]
        lines += [f"  {name:<42} {count:>12}" for name, count in self.fault_counts.items()]
        promises: dict[str, list[str]] = defaultdict(list)
        for violation in self.violations:
            promises[violation.promise].append(violation.what)
        for promise, found in promises.items():
            lines += ["", f"BROKEN, {len(found)} times: {promise}"]
            lines += [f"  {what}" for what in found[:SHOWN]]
        lines += ["", f"evidence: {self.kept}" if self.kept else "clean: every promise was kept"]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows as plain data."""
        return {
            "seed": self.seed,
            "jobs": self.jobs,
            "figures": self.figures,
            "fault_counts": self.fault_counts,
            "faults": [asdict(fault) for fault in self.faults],
            "violations": [asdict(violation) for violation in self.violations],
        }

    def keep(self, folder: Path) -> None:
        """Write the evidence beside the logs."""
        self.kept = folder
        text = json.dumps(self.to_dict(), indent=1)
        (folder / "report.json").write_text(text, encoding="utf-8")
        rows = b"".join(row.to_json() + b"\n" for row in self.rows)
        (folder / "rows.jsonl").write_bytes(rows)
