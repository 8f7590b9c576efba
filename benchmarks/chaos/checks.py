"""What must hold once every job has ended, asked of the servers and the system themselves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import nats
import psutil
from nats.js.api import ConsumerInfo

from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.reading import read_result
from benchmarks.chaos.report import Violation
from docnats.config import S3Config
from docnats.errors import DocnatsError
from docnats.models import JobRecord, JobState
from docnats.names import PAGES, RESULT_PARTS, WORDS, Names, result_part
from docnats.service import S3DocumentService
from docnats.stack import LocalStack

__all__ = [
    "check_leftovers",
    "check_logs",
    "check_objects",
    "check_results",
    "check_stack",
    "check_streams",
]

READ_AT_A_TIME = 8


async def check_results(
    service: S3DocumentService, ledger: Ledger, rows: Sequence[JobRecord]
) -> list[Violation]:
    """Read the result of every done row and compare it."""
    slots = asyncio.Semaphore(READ_AT_A_TIME)

    async def check(row: JobRecord) -> list[Violation]:
        async with slots:
            try:
                parts = (result_part(row.job_id, part) for part in (PAGES, WORDS))
                found = await asyncio.gather(*map(service.storage.get_bytes, parts))
                reading = await asyncio.to_thread(read_result, *found)
            except (DocnatsError, OSError, ValueError, KeyError) as error:
                return [Violation("done rows have results", f"{row.job_id}: {error}")]
        return list(ledger.check_reading(row, reading))

    done = [row for row in rows if row.state is JobState.DONE]
    return [violation for found in await asyncio.gather(*map(check, done)) for violation in found]


async def check_streams(stack: LocalStack, rows: int) -> list[Violation]:
    """Look for messages that nobody will take any more, with a client of our own."""
    names = Names(stack.nats.namespace)
    expected = {names.states_stream: rows}
    # Who lives, what is known; and advisories stay for an operator: their consumer must be idle.
    kept = {names.workers_stream, names.results_stream, names.advisories_stream}
    left = "no message is left"
    violations = []
    client = await nats.connect(stack.environment["NATS_URL"], allow_reconnect=False)
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            name, held = str(stream.config.name), stream.state.messages
            if name not in kept and held != expected.get(name, 0):
                violations.append(Violation(left, f"{name}: {held}, not {expected.get(name, 0)}"))
            for consumer in await jetstream.consumers_info(name):
                violations += _not_idle(consumer)
    finally:
        await client.close()
    return violations


def _not_idle(consumer: ConsumerInfo) -> Iterator[Violation]:
    waiting, leased = consumer.num_pending, consumer.num_ack_pending
    if consumer.config.durable_name and (waiting or leased):
        what = f"{consumer.stream_name}.{consumer.name}: {waiting} pending, {leased} leased"
        yield Violation("consumers are idle", what)


def check_objects(s3: S3Config, rows: Sequence[JobRecord]) -> list[Violation]:
    """Compare the bucket with what the rows refer to, with a client of our own."""
    secret = s3.aws_secret_access_key
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=s3.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket_name)
    found = {item["Key"] for page in pages for item in page.get("Contents", [])}
    expected = set()
    for row in rows:
        expected.add(row.s3_key)
        if row.state is JobState.DONE:
            expected.update(result_part(row.job_id, part) for part in RESULT_PARTS)
    # MinIO lists the uploads of a key only when it is named.
    keys = ["", *(row.s3_key for row in rows if (row.bytes or 0) >= s3.multipart_chunksize)]
    answers = [client.list_multipart_uploads(Bucket=s3.bucket_name, Prefix=key) for key in keys]
    uploads = {upload["Key"] for answer in answers for upload in answer.get("Uploads", [])}
    client.close()
    return [
        *(Violation("no object is orphaned", key) for key in sorted(found - expected)),
        *(Violation("no object is missing", key) for key in sorted(expected - found)),
        *(Violation("no upload is left half done", key) for key in sorted(uploads)),
    ]


async def check_stack(
    stack: LocalStack, service: S3DocumentService, workers: int
) -> list[Violation]:
    """See that everything that was killed runs again and does its work."""
    ended = [process.name for process in stack.processes() if not process.running]
    unwell = [part for part in (await service.health_check()).parts if not part.healthy]
    found = len(await service.bus.workers()) if not unwell else 0
    what = [
        *(f"{name} does not run" for name in ended),
        *(f"{part.name}: {part.detail}" for part in unwell),
        *([f"{found} of {workers} workers announce themselves"] if found < workers else []),
    ]
    return [Violation("what was killed is started again", text) for text in what]


def check_leftovers(folder: Path) -> Iterator[Violation]:
    """Look for processes and files that outlived the stack; all of them knew the folder."""
    for process in psutil.process_iter():
        if process.pid != psutil.Process().pid and _knows(process, str(folder)):
            words = " ".join(process.cmdline())[:200]
            yield Violation("no process is left", f"{process.pid}: {words}")
    for path in sorted((folder / "tmp").iterdir()):
        yield Violation("no temporary file is left", str(path))


_FORESEEN = re.compile(
    # What Python says of a process whose fork server is killed.
    r'multiprocessing/forkserver\.py", line'
    # aiohttp 3.14 leaves it to nobody that the headers of a request which waits for leave to send
    # its body (Expect: 100-continue) found the connection closed. The request fails by itself.
    r'|ClientRequest\.write_bytes\(\)|aiohttp/client_reqrep\.py", line \d+, in write_bytes'
)


def check_logs(folder: Path) -> Iterator[Violation]:
    """Look for faults that nobody foresaw: those come with a traceback."""
    for path in (folder / "client.log", *sorted((folder / "home" / "logs").glob("worker-*"))):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, (line, after) in enumerate(zip(lines, [*lines[1:], ""], strict=True)):
            if _FORESEEN.search(after if line.startswith("Traceback") else line):
                continue
            if line.startswith("Traceback") or " ERROR " in line:
                yield Violation("nothing unforeseen is logged", f"{path.name}:{number + 1}: {line}")


def _knows(process: psutil.Process, word: str) -> bool:
    """Tell whether a process works in a folder, or was told of it when it was started."""
    looks: tuple[Callable[[], object], ...] = (process.cmdline, process.environ, process.cwd)
    for look in looks:
        try:
            if word in str(look()):
                return True
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return False
