"""How fast a job table is rebuilt from its bucket: ``python -m benchmarks.table``."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import aclosing
from datetime import timedelta
from statistics import median
from typing import Any

from benchmarks.measure import arguments, finish, print_table
from docnats.bus import NatsBus, StateEntry
from docnats.config import NatsConfig, S3Config
from docnats.models import JobRecord, JobState, utc_now
from docnats.names import new_job_id, raw_key, result_key
from docnats.stack import LocalStack
from docnats.table import JobTable

NOT_USED = S3Config(endpoint_url="http://127.0.0.1:9")

Moment = tuple[float, float]
Times = dict[str, Moment]


def main() -> None:
    """Fill a bucket of the embedded nats-server, rebuild tables from it, print what that took."""
    options = _options()
    with LocalStack(workers=0, s3=NOT_USED) as stack:
        rows = [row for jobs in options.jobs for row in asyncio.run(measure(stack.nats, jobs))]
    print_table(("jobs, step", "seconds", "µs a job", "CPU µs"), rows)
    finish(options.json, {"rows": rows})


def _options() -> Any:
    parser = arguments("table", __doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    return parser.parse_args()


async def measure(config: NatsConfig, jobs: int) -> list[tuple[str, ...]]:
    """Return the rows of one size; medians of three rounds."""
    batch = f"jobs-{jobs}"
    async with NatsBus(config) as bus:
        await bus.ensure()
        # As workers write them: JetStream keeps the header of the compare-and-set.
        await bus.update_states([StateEntry(job, 0) for job in done_records(batch, jobs)])
        rounds = [{**await rebuild(bus, batch, jobs), **await follow(bus, batch)} for _ in range(3)]
    return [_row(jobs, step, [times[step] for times in rounds]) for step in rounds[0]]


def _row(jobs: int, step: str, times: list[Moment]) -> tuple[str, ...]:
    seconds, cpu_seconds = (median(column) for column in zip(*times, strict=True))
    each = (f"{1e6 * total / jobs:.1f}" for total in (seconds, cpu_seconds))
    return f"{jobs:>7,} {step}", f"{seconds:.3f}", *each


def done_records(batch: str, jobs: int) -> Iterator[JobRecord]:
    """Make records as a worker leaves them."""
    chance = random.Random(1)  # noqa: S311 - sizes, not secrets
    start = utc_now()
    for position in range(jobs):
        job_id = new_job_id()
        took = timedelta(seconds=chance.uniform(0.05, 5))
        queued = start + timedelta(milliseconds=position)
        yield JobRecord(
            job_id=job_id,
            batch=batch,
            position=position,
            filename=f"quarterly-report-{position:06}.pdf",
            state=JobState.DONE,
            s3_bucket="documents",
            s3_key=raw_key(job_id),
            bytes=chance.randrange(20_000, 5_000_000),
            sha256=hashlib.sha256(job_id.encode()).hexdigest(),
            pages=chance.randrange(1, 80),
            pages_failed=0,
            attempt=1,
            worker="worker-7c9f2e",
            submitted_at=start,
            queued_at=queued,
            started_at=queued + took,
            finished_at=queued + 2 * took,
            result_key=result_key(job_id),
        )


async def rebuild(bus: NatsBus, batch: str, jobs: int) -> Times:
    """Time what ``docnats.attach`` does: read, fold, make the frame."""
    gc.collect()
    began = now()
    entries = await bus.states(batch)
    read = now()
    table = JobTable(batch)
    for entry in entries:
        table.apply(entry.record, entry.revision)
    folded = now()
    frame = table.frame()
    ended = now()
    if len(frame) != jobs:
        raise SystemExit(f"{len(frame)} of {jobs} jobs were read")
    return {
        "read: bus.states()": since(began, read),
        "fold: JobTable.apply()": since(read, folded),
        "JobTable.frame()": since(folded, ended),
        "the three": since(began, ended),
    }


async def follow(bus: NatsBus, batch: str) -> Times:
    """Time a record's way from the message into the table, through ``bus.watch()``."""
    gc.collect()
    table = JobTable(batch)
    began = now()
    async with aclosing(bus.watch(batch)) as entries:
        async for entry in entries:
            if entry is None:
                break
            table.apply(entry.record, entry.revision)
    return {"watch and fold": since(began, now())}


def now() -> Moment:
    """Return the time by the clock, and the CPU time of this process."""
    return time.perf_counter(), time.process_time()


def since(start: Moment, end: Moment) -> Moment:
    """Return the two differences."""
    return end[0] - start[0], end[1] - start[1]


if __name__ == "__main__":
    main()
