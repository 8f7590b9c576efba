"""Whether a job costs the same in a batch of any size: ``python -m benchmarks.scale``."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.measure import MIB, Target, arguments, finish, print_table
from benchmarks.outside import driven

SIZES = (100, 1_000, 10_000)
FLAT = 1.2
CLIENT_MIB, NATS_MIB = 600, 1024
"""For 100,000 jobs."""

LEAST_JOBS = 1_000
"""A smaller batch is submitted so often that there are as many jobs: CPU time is counted in
hundredths of a second."""

ROLES = ("client", "worker-1", "nats")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a size took: milliseconds a job, and bytes at most."""

    wall: float
    cpu: dict[str, float]
    peak: dict[str, int]

    @property
    def total(self) -> float:
        """CPU-milliseconds a job of all processes."""
        return sum(self.cpu.values())


def main() -> int:
    """Put batches of no-op jobs of each size through a fresh stack, in turn."""
    options = _options()
    costs: dict[int, list[Cost]] = {jobs: [] for jobs in options.jobs}
    for number in range(1, options.rounds + 1):
        for jobs, found in costs.items():
            found.append(run(jobs))
            print(f"round {number}  {jobs:>7,} jobs {found[-1].total:8.2f} CPU-ms/job", flush=True)
    report(costs)
    finish(options.json, {"costs": costs}, targets=_targets(costs))
    return 0


def _options() -> Any:
    parser = arguments("scale", __doc__, rounds=3)
    parser.add_argument("--jobs", type=int, nargs="+", default=SIZES, help="sizes of batches")
    return parser.parse_args()


def run(jobs: int) -> Cost:
    """Run jobs of one size on a stack of their own."""
    command = [sys.executable, "-m", "benchmarks.drivers.with_docnats", "2", "--no-processes"]
    times = max(1, LEAST_JOBS // jobs)
    cpu = dict.fromkeys(ROLES, 0.0)
    with driven(command) as driver:
        started = time.perf_counter()
        for _ in range(times):
            told = driver.run(jobs)
            cpu = {who: cpu[who] + told["cpu_seconds"][who] for who in ROLES}
        seconds = time.perf_counter() - started
    each = 1000 / (times * jobs)
    return Cost(seconds * each, {who: cpu[who] * each for who in ROLES}, told["peak_bytes"])


def report(costs: dict[int, list[Cost]]) -> None:
    """Print the table; medians of the rounds, of memory the largest."""
    smallest = median(cost.total for cost in next(iter(costs.values())))
    rows = []
    for jobs, found in costs.items():
        total = median(cost.total for cost in found)
        each = [median(cost.wall for cost in found), total]
        each += [median(cost.cpu[who] for cost in found) for who in ROLES]
        peaks = [f"{_peak(found, who):.0f}" for who in ("client", "nats")]
        rows.append([f"{jobs:,}", *(f"{ms:.2f}" for ms in each), *peaks, f"{total / smallest:.2f}"])
    header = ["jobs", "ms", "CPU-ms", *ROLES, "client MiB", "nats MiB", "CPU ÷ first"]
    print()
    print_table(header, rows)


def _peak(found: list[Cost], who: str) -> float:
    return max(cost.peak[who] for cost in found) / MIB


def _targets(costs: dict[int, list[Cost]]) -> list[Target]:
    totals = [median(cost.total for cost in found) for found in costs.values()]
    largest = costs[max(costs)]
    return [
        Target("dearest size ÷ cheapest", max(totals) / min(totals), FLAT),
        Target("client, MiB", _peak(largest, "client"), CLIENT_MIB),
        Target("nats-server, MiB", _peak(largest, "nats"), NATS_MIB),
    ]


if __name__ == "__main__":
    sys.exit(main())
