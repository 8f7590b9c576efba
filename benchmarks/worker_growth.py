"""What a worker holds after thousands of jobs: ``python -m benchmarks.worker_growth``."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.measure import MIB, Target, arguments, finish, print_table
from docnats.models import JobState
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from docnats.stack.offspring import grandchildren
from docnats.stack.workers import workers_of
from tests.pdfs import text_pdf

LIMIT = 1.1
"""What the worker may hold at the end, relative to its size after the first round."""


@dataclass(frozen=True)
class Sizes:
    """What the processes of a worker hold after a number of jobs, in resident bytes."""

    jobs: int
    seconds: float
    worker: int
    server: int
    parsers: tuple[int, ...]
    files: int
    """Open file descriptors of the worker."""


def main() -> int:
    """Run rounds of small documents through one worker; fail when it grows over the limit."""
    options = _options()
    with LocalStack(workers=1, parsers=options.parsers, embedded=True) as stack:
        found = asyncio.run(_run(stack, options.rounds, options.jobs))
        (worker,) = workers_of(stack.processes())
    print_sizes(found)
    growth = found[-1].worker / found[0].worker
    target = Target("worker at the end / after the first round", growth, LIMIT)
    finish(options.json, {"sizes": found, "restarts": worker.restarts}, targets=[target])
    return 0 if target.reached and worker.restarts == 0 else 1


def _options() -> Any:
    parser = arguments("worker_growth", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1000, help="documents of a round")
    parser.add_argument("--parsers", type=int, help="by default one a core")
    return parser.parse_args()


async def _run(stack: LocalStack, rounds: int, jobs: int) -> list[Sizes]:
    sources = {f"{number:06}.pdf": text_pdf(1 + number % 3) for number in range(jobs)}
    found = []
    async with S3DocumentService(stack.s3, stack.nats) as service:
        for number in range(1, rounds + 1):
            started = time.perf_counter()
            table = await (await service.submit(sources, force=True)).follow()
            records = table.records()
            assert {record.state for record in records} == {JobState.DONE}
            assert all(record.attempt for record in records), "some were known"
            found.append(_sizes(stack, number * jobs, time.perf_counter() - started))
    return found


def _sizes(stack: LocalStack, jobs: int, seconds: float) -> Sizes:
    (worker,) = (psutil.Process(process.pid) for process in workers_of(stack.processes()))
    parsers = [psutil.Process(parser.pid) for parser in grandchildren(worker.pid)]
    return Sizes(
        jobs=jobs,
        seconds=seconds,
        worker=worker.memory_info().rss,
        server=max(child.memory_info().rss for child in worker.children()),
        parsers=tuple(sorted(parser.memory_info().rss for parser in parsers)),
        files=worker.num_fds(),
    )


def print_sizes(found: list[Sizes]) -> None:
    """Print the table."""
    rows = [
        [
            f"{one.jobs:,}",
            f"{one.seconds:.0f}",
            f"{one.worker / MIB:.1f}",
            f"{one.server / MIB:.1f}",
            " ".join(f"{size / MIB:.1f}" for size in one.parsers),
            str(one.files),
        ]
        for one in found
    ]
    print_table(
        ["jobs", "seconds", "worker MiB", "fork server MiB", "parsers MiB", "open files"], rows
    )


if __name__ == "__main__":
    sys.exit(main())
