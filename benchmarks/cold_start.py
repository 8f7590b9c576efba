"""From nothing to the first result: ``python -m benchmarks.cold_start``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any

from benchmarks.measure import Target, arguments, finish, print_table

FIRST_RESULT = """
import docnats
jobs = docnats.submit_many(docnats.sample_paths()[:1], progress="none")
assert jobs.state.tolist() == ["done"], jobs
print("done", flush=True)
"""
STEPS = {
    "python": "print('done', flush=True)",
    "import docnats": "import docnats; print('done', flush=True)",
    "docnats.submit_many": "import docnats; docnats.submit_many; print('done', flush=True)",
    "first result": FIRST_RESULT,
}
"""Programs that say when they are there; each begins where the one before it does."""

MOST_IMPORT, MOST_START = 0.2, 5.0


def main() -> int:
    """Start each program in turn, the last one with a new home for its servers."""
    options = _options()
    seconds: dict[str, list[float]] = {name: [] for name in STEPS}
    for _ in range(options.rounds):
        for name, program in STEPS.items():
            seconds[name].append(time_to_done(program))
    found = {name: median(times) for name, times in seconds.items()}
    rows = [
        [name, *(f"{value:.3f}" for value in (found[name], min(times), max(times)))]
        for name, times in seconds.items()
    ]
    print_table(["seconds from the start of a process", "median", "min", "max"], rows)
    imported = found["import docnats"] - found["python"]
    targets = [
        Target("import docnats, s", imported, MOST_IMPORT),
        Target("cold start to the first result, s", found["first result"], MOST_START),
    ]
    finish(options.json, {"seconds": seconds}, targets=targets)
    return 0


def _options() -> Any:
    return arguments("cold_start", __doc__, rounds=5).parse_args()


def time_to_done(program: str) -> float:
    """Return the seconds from the start of a program to its word that it is done."""
    variables = {k: v for k, v in os.environ.items() if k not in ("NATS_URL", "S3_ENDPOINT_URL")}
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as home:
        variables["DOCNATS_HOME"] = home
        started = time.perf_counter()
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE) as process:
            assert process.stdout
            line = process.stdout.readline()
            seconds = time.perf_counter() - started
        assert line == b"done\n", f"exit status {process.returncode}"
    return seconds


if __name__ == "__main__":
    sys.exit(main())
