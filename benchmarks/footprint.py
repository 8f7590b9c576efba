"""What a job weighs at nats-server: ``python -m benchmarks.footprint``."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import psutil

from benchmarks.measure import MIB, arguments, finish, print_table
from benchmarks.table import NOT_USED, done_records
from docnats.bus import NatsBus, StateEntry
from docnats.errors import BusError
from docnats.models import JobRecord, KnownResult
from docnats.names import Names, poison_key
from docnats.stack import LocalStack

WRITES = 4
"""Of a job's record in its life: uploading, queued, running, done."""

START_LIMIT = 600


@dataclass(frozen=True, slots=True)
class Weight:
    """What some entries of one kind weigh, in bytes.

    Attributes
    ----------
    stream : int
        As the server counts them.
    disk, memory : int
        By how much its files and its resident memory are larger than before.
    """

    what: str
    entries: int
    stream: int
    disk: int
    memory: int


@dataclass(frozen=True, slots=True)
class Start:
    """How long a killed server took to be back with what it had."""

    jobs: int
    seconds: float


def main() -> int:
    """Fill the streams of a fresh server for each number of jobs; print what each weighs."""
    options = _options()
    weights: list[Weight] = []
    starts: list[Start] = []
    for jobs in options.jobs:
        with LocalStack(workers=0, s3=NOT_USED) as stack:
            weights += asyncio.run(fill(stack, jobs))
            starts.append(Start(jobs, asyncio.run(restart(stack))))
    report(weights, starts)
    finish(options.json, {"weights": weights, "starts": starts})
    return 0


def _options() -> Any:
    parser = arguments("footprint", __doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[10_000, 100_000])
    return parser.parse_args()


async def fill(stack: LocalStack, jobs: int) -> list[Weight]:
    """Let some jobs wait, then write their records as often as happens, then note results."""
    names = Names(stack.nats.namespace)
    records = list(done_records(f"jobs-{jobs}", jobs))
    scales = Scales(stack)
    async with NatsBus(stack.nats) as bus:
        await bus.ensure()
        await scales.look()
        await bus.publish(record.message() for record in records)
        waiting = await scales.weigh("job message, waiting", names.jobs_stream)
        revisions = [0] * jobs
        for _ in range(WRITES):
            entries = zip(records, revisions, strict=True)
            written = await bus.update_states([StateEntry(*entry) for entry in entries])
            revisions = [revision for revision in written if revision is not None]
        states = await scales.weigh("record of the job table", names.states_stream)
        await bus.put_results(known(records))
        results = await scales.weigh("known result", names.results_stream)
        return [waiting, states, results]


class Scales:
    """Tells what has been added to a server since the last look."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._server = psutil.Process(server_pid(stack))
        self._disk = self._memory = 0

    async def look(self) -> tuple[int, int]:
        """Return by how many bytes files and memory have grown since the last look."""
        disk, memory = disk_usage(self._stack.home / "nats"), self._server.memory_info().rss
        grown = disk - self._disk, memory - self._memory
        self._disk, self._memory = disk, memory
        return grown

    async def weigh(self, what: str, stream: str) -> Weight:
        """Return what one stream weighs, and what it has added."""
        connection = await nats.connect(self._stack.environment["NATS_URL"])
        try:
            state = (await connection.jsm().stream_info(stream)).state
        finally:
            await connection.close()
        return Weight(what, state.messages, state.bytes, *await self.look())


async def restart(stack: LocalStack) -> float:
    """Kill the server and return the seconds until it works again, started by the stack."""
    stack.kill("nats")
    began = time.perf_counter()
    async with asyncio.timeout(START_LIMIT):
        while not await works(stack):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def works(stack: LocalStack) -> bool:
    """Tell whether JetStream has its streams."""
    try:
        async with NatsBus(stack.nats) as bus:
            await bus.round_trip()
            await bus.backlog()
    except BusError:
        return False
    return True


def known(records: Sequence[JobRecord]) -> dict[str, KnownResult]:
    """Make the index entries of some results."""
    return {
        poison_key(hashlib.sha256(record.job_id.encode()).hexdigest(), "docling-parse", "1", {}): (
            KnownResult(
                job_id=record.job_id,
                batch=record.batch,
                s3_bucket=record.s3_bucket,
                s3_key=record.s3_key,
                result_key=record.result_key or "",
                bytes=record.bytes or 0,
                pages=record.pages or 0,
            )
        )
        for record in records
    }


def server_pid(stack: LocalStack) -> int:
    """Return the process id of nats-server."""
    return next(process.pid for process in stack.processes() if process.name == "nats")


def disk_usage(folder: Path) -> int:
    """Return the bytes that the files below a folder take on disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def report(weights: Sequence[Weight], starts: Sequence[Start]) -> None:
    """Print the tables."""
    rows = [
        [
            w.what,
            f"{w.entries:,}",
            *(f"{part / w.entries:,.0f}" for part in (w.stream, w.disk, w.memory)),
            f"{w.memory / MIB:,.0f}",
        ]
        for w in weights
    ]
    header = ["bytes each", "entries", "stream", "disk", "memory", "memory, MiB in all"]
    print_table(header, rows)
    print()
    rows = [[f"{start.jobs:,}", f"{start.seconds:.1f}"] for start in starts]
    print_table(["jobs", "seconds until a killed server works again"], rows)


if __name__ == "__main__":
    sys.exit(main())
