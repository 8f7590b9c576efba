"""Files that were processed before, submitted again: ``python -m benchmarks.resubmit``."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import docnats
from benchmarks.documents import write_one_page_files
from benchmarks.measure import Target, arguments, cpu_seconds, finish, print_table
from docnats.names import RAW_PREFIX
from docnats.notebook import close_session
from docnats.notebook.session import current_session

MOST_CPU_MS = 1.0


def main() -> int:
    """Process files, then submit the same ones again and again."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
        write_one_page_files(Path(folder), options.files)
        with docnats.LocalStack(workers=1, embedded=True) as stack:
            os.environ.update(stack.environment)
            everybody = [os.getpid(), *(process.pid for process in stack.processes())]
            try:
                rounds = [submit(folder, everybody) for _ in range(options.rounds + 1)]
            finally:
                close_session()
    again = {what: median(taken[what] for taken in rounds[1:]) for what in rounds[0]}
    report({"the first time": rounds[0], "again": again}, options.files)
    targets = [
        Target("client CPU-ms a file", 1000 * again["client"] / options.files, MOST_CPU_MS),
        Target("uploads", again["uploads"], 0),
    ]
    finish(options.json, {"rounds": rounds}, targets=targets)
    return 0


def _options() -> Any:
    parser = arguments("resubmit", __doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1, help="times they are submitted again")
    return parser.parse_args()


def submit(folder: str, everybody: list[int]) -> dict[str, float]:
    """Submit a folder; return what that took."""
    uploads = count_uploads()
    client, all_of_them = cpu_seconds([os.getpid()]), cpu_seconds(everybody)
    started = time.perf_counter()
    jobs = docnats.submit_many(folder, progress="none")
    taken = {
        "seconds": time.perf_counter() - started,
        "client": cpu_seconds([os.getpid()]) - client,
        "all": cpu_seconds(everybody) - all_of_them,
        "uploads": count_uploads() - uploads,
    }
    assert (jobs.state == "done").all(), jobs[jobs.state != "done"]
    return taken


def count_uploads() -> int:
    """Return how many documents are in S3."""
    session = current_session()
    service = session.service()

    async def count() -> int:
        return len([key async for key in service.storage.list(RAW_PREFIX)])

    return session.run(count())


def report(taken: dict[str, dict[str, float]], files: int) -> None:
    """Print the table."""
    rows = []
    for name, values in taken.items():
        costs = (f"{1000 * values[who] / files:.2f}" for who in ("client", "all"))
        rows.append([name, f"{values['seconds']:.1f}", *costs, f"{values['uploads']:,.0f}"])
    header = [f"{files:,} files", "seconds", "client CPU-ms/file", "all CPU-ms/file", "uploads"]
    print_table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
