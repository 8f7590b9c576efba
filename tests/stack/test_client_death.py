"""Clients that die while they send: nothing acknowledged is lost, and every row tells the truth."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from operator import not_
from pathlib import Path

import pytest

from docnats.config import StackConfig
from docnats.errors import ConfigError, ErrorType
from docnats.models import JobRecord, JobState
from docnats.names import RAW_PREFIX, RESULT_PREFIX, owner, raw_key
from docnats.reconcile import settle_unsent
from docnats.service import LeftoverKind, S3DocumentService
from docnats.stack import LocalStack
from docnats.stack.binaries import S3Binary
from tests.kernels import Kernel
from tests.pdfs import text_pdf
from tests.waiting import until

FILES = 500
MOMENTS = 3
NOW = timedelta(0)


@pytest.fixture
def own_stack(
    start_stack: Callable[..., LocalStack], s3_binary: S3Binary, monkeypatch: pytest.MonkeyPatch
) -> LocalStack:
    """Servers of the test's own, which the environment names and kernels do not own."""
    config = StackConfig(s3_server=s3_binary.path)
    stack = start_stack(config=config, embedded=True, workers=0)
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return stack


async def acknowledged(stack: LocalStack, batch: str, count: int) -> set[str]:
    """Wait until so many jobs of a batch are queued, and return those that are."""
    queued: set[str] = set()
    async with (
        asyncio.timeout(90),
        S3DocumentService(stack.s3, stack.nats) as service,
        aclosing(service.bus.watch(batch)) as entries,
    ):
        async for entry in entries:
            if entry is not None and entry.record.state is not JobState.UPLOADING:
                queued.add(entry.record.job_id)
            if len(queued) >= count:
                break
    return queued


def outcome(job: JobRecord) -> str:
    return job.error_type or job.state


async def keys(service: S3DocumentService, prefix: str) -> set[str]:
    return {stored.key async for stored in service.storage.list(prefix)}


@pytest.mark.timeout(400)
def test_a_kernel_killed_at_any_moment_loses_nothing_that_was_acknowledged(
    own_stack: LocalStack, start_kernel: Callable[[], Kernel]
) -> None:
    """SIGKILL while it submits 500 files, at seeded moments; with and without a worker."""
    moments = random.Random(5)  # noqa: S311 - test data
    queued: dict[str, set[str]] = {}
    for number in range(MOMENTS):
        batch = f"batch-{number}"
        kernel = start_kernel()
        kernel.begin(
            "import docnats, tests.pdfs\n"
            f"files = {{f'{{i}}.pdf': tests.pdfs.text_pdf() for i in range({FILES})}}\n"
            f"docnats.submit_many(files, batch={batch!r}, wait=False, progress='none')"
        )
        count = moments.randrange(1, FILES - 50)
        queued[batch] = asyncio.run(acknowledged(own_stack, batch, count))
        kernel.kill()
        asyncio.run(rows_are_true(own_stack, batch, queued[batch]))
        if number == 1:
            own_stack.add_worker()
    asyncio.run(all_ends_well(own_stack, queued))


async def rows_are_true(stack: LocalStack, batch: str, acked: set[str]) -> None:
    """Every row says at once what is so: queued with its document in S3, or never sent."""
    async with S3DocumentService(stack.s3, stack.nats) as service:
        seen = {job.job_id: job for job in (await service.attach(batch)).table.records()}
        stored = await keys(service, RAW_PREFIX)
    assert len(seen) == FILES
    for job in seen.values():
        assert outcome(job) in {"queued", "running", "done", "not_sent"}
        assert job.error_type is ErrorType.NOT_SENT or job.s3_key in stored
    assert {outcome(seen[job_id]) for job_id in acked} <= {"queued", "running", "done"}


async def all_ends_well(stack: LocalStack, queued: dict[str, set[str]]) -> None:
    """What was acknowledged is done; the bucket holds what the table says, once gc has run."""
    done: set[str] = set()
    async with S3DocumentService(stack.s3, stack.nats) as service:
        for batch, acked in queued.items():
            jobs = (await (await service.attach(batch)).follow(timeout=120)).records()
            assert {outcome(job) for job in jobs} <= {"done", "not_sent"}
            ended_well = {job.job_id for job in jobs if job.state is JobState.DONE}
            assert ended_well >= acked
            done |= ended_well
        await until(service.bus.queued, not_, within=30)  # acks come after the states
        assert await service.bus.senders() == []
        documents = {raw_key(job_id) for job_id in done}
        orphans = await keys(service, RAW_PREFIX) - documents
        assert {one.key for one in await service.gc(older_than=NOW)} == orphans
        await service.gc(delete=True, older_than=NOW)
        assert await keys(service, RAW_PREFIX) == documents
        assert {owner(key) for key in await keys(service, RESULT_PREFIX)} == done
        assert await service.gc(older_than=NOW) == []


DIES = """
import asyncio, os, signal, sys
from docnats.bus import NatsBus
from docnats.config import S3Config
from docnats.service import S3DocumentClient
from docnats.storage import S3Storage

batch, moment, path = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying(kind, name, *, after):
    method = getattr(kind, name)
    async def dies(*arguments, **options):
        if after:
            await method(*arguments, **options)
        die()
    setattr(kind, name, dies)

match moment:
    case "registered": dying(S3Storage, "put_file", after=False)
    case "uploaded": dying(NatsBus, "publish", after=False)
    case "published": dying(NatsBus, "publish", after=True)
    case "queued": dying(NatsBus, "delist", after=False)

async def main():
    async with S3DocumentClient() as client:
        await client.submit([path] * 5, batch=batch)
        await asyncio.gather(*client._sending)

asyncio.run(main())
"""


async def dead_client(batch: str, moment: str, path: Path) -> None:
    """Let a process submit a file five times and die at some moment."""
    command = (sys.executable, "-c", DIES, batch, moment, str(path))
    child = await asyncio.create_subprocess_exec(
        *command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    _, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == -signal.SIGKILL, errors.decode()


@pytest.mark.usefixtures("on_the_stack")
@pytest.mark.parametrize(
    ("moment", "ends", "orphaned"),
    [
        ("registered", {"not_sent"}, False),
        ("uploaded", {"not_sent"}, True),
        ("published", {"done", "not_sent"}, True),
        ("queued", {"done"}, False),
    ],
)
async def test_wherever_a_client_dies_its_rows_end_and_its_orphans_are_found(
    service: S3DocumentService, tmp_path: Path, moment: str, ends: set[str], orphaned: bool
) -> None:
    """One case for each step of the table in docs/architecture.md."""
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    batch = f"dies-when-{moment}-{random.randbytes(4).hex()}"  # noqa: S311 - a name
    await dead_client(batch, moment, tmp_path / "a.pdf")
    jobs = (await (await service.attach(batch)).follow(timeout=60)).records()
    assert {outcome(job) for job in jobs} <= ends
    assert len(jobs) == 5
    if moment == "published":
        assert "done" in {outcome(job) for job in jobs}
    assert batch not in {entry.sender.batch for entry in await service.bus.senders()}
    unsent = {raw_key(job.job_id) for job in jobs if job.error_type is ErrorType.NOT_SENT}
    orphans = unsent & await keys(service, RAW_PREFIX)
    assert bool(orphans) == (orphaned and bool(unsent))
    found = {one.key for one in await service.gc(older_than=NOW)}
    assert {key for key in found if owner(key) in {job.job_id for job in jobs}} == orphans
    if unsent:
        with pytest.raises(ConfigError, match=f"Of its 5 files {len(unsent)} were never sent"):
            await service.submit(tmp_path / "a.pdf", batch=batch)


STALLS = """
import asyncio, os, signal, sys
from docnats.service import S3DocumentClient
from docnats.storage import S3Storage

put = S3Storage.put_file

async def stall(*arguments):
    os.kill(os.getpid(), signal.SIGSTOP)
    return await put(*arguments)

S3Storage.put_file = stall

async def main():
    async with S3DocumentClient() as client:
        client.config = client.config.but(max_uploads=1)
        await client.submit([sys.argv[2]] * 3, batch=sys.argv[1])
        await asyncio.gather(*client._sending)

asyncio.run(main())
"""


@pytest.mark.usefixtures("on_the_stack")
async def test_a_client_that_was_stopped_for_long_does_not_undo_what_was_settled(
    service: S3DocumentService, tmp_path: Path
) -> None:
    """SIGSTOP, taken for dead, SIGCONT: it takes back what it sends, and ends well."""
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    batch = f"stalls-{random.randbytes(4).hex()}"  # noqa: S311 - a name
    command = (sys.executable, "-c", STALLS, batch, str(tmp_path / "a.pdf"))
    child = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    try:
        await asyncio.to_thread(os.waitid, os.P_PID, child.pid, os.WSTOPPED)
        (sender,) = [e.sender for e in await service.bus.senders() if e.sender.batch == batch]
        await settle_unsent(service.bus, sender)
        continuing = asyncio.create_task(_continue(child))
        _, errors = await asyncio.wait_for(child.communicate(), 60)
        continuing.cancel()
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0, errors.decode()
    jobs = await service.jobs(batch)
    assert [outcome(job) for job in jobs] == ["not_sent"] * 3
    assert await service.bus.queued(batch) == set()
    assert {raw_key(job.job_id) for job in jobs} & await keys(service, RAW_PREFIX) == set()


async def _continue(child: asyncio.subprocess.Process) -> None:
    """Let a process go on each time it stops."""
    while True:
        child.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.05)


UPLOADS = """
import os, signal, sys
from docnats.config import S3Config
from docnats.service import S3DocumentClient
from docnats.storage import multipart
import asyncio

send, sent = multipart.MultipartUpload._send_one, []

async def dies(upload, upload_id):
    if sent:
        os.kill(os.getpid(), signal.SIGKILL)
    sent.append(await send(upload, upload_id))
    return True

multipart.MultipartUpload._send_one = dies

async def main():
    size = 5 * 1024 * 1024
    config = S3Config(multipart_threshold=size, multipart_chunksize=size)
    async with S3DocumentClient(config) as client:
        await client.submit(("big.pdf", bytes(4 * size)), batch=sys.argv[1])
        await asyncio.gather(*client._sending)

asyncio.run(main())
"""


@pytest.mark.usefixtures("on_the_stack")
async def test_an_upload_in_parts_that_was_interrupted_is_found_and_aborted(
    service: S3DocumentService,
) -> None:
    batch = f"uploads-{random.randbytes(4).hex()}"  # noqa: S311 - a name
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", UPLOADS, batch)
    assert await asyncio.wait_for(child.wait(), 60) == -signal.SIGKILL
    (job,) = await service.jobs(batch)
    assert outcome(job) == "not_sent"
    (left,) = [one for one in await service.gc(older_than=NOW) if one.key == job.s3_key]
    assert (left.kind, left.why) == (LeftoverKind.UPLOAD, "its job has ended: failed")
    assert left.bytes >= 5 * 1024 * 1024
    assert job.s3_key not in {one.key for one in await service.gc(delete=True)}  # too young
    await service.gc(delete=True, older_than=NOW)
    assert job.s3_key not in {upload.key async for upload in service.storage.unfinished()}


def test_a_restarted_kernel_on_the_embedded_stack_sees_at_once_what_was_not_sent(
    start_kernel: Callable[[], Kernel], tmp_path: Path
) -> None:
    first = start_kernel()
    cell = first.begin(
        "import docnats, tests.pdfs\n"
        f"files = {{f'{{i}}.pdf': tests.pdfs.text_pdf() for i in range({FILES})}}\n"
        "jobs = docnats.submit_many(files, batch='b', wait=False, progress='none')\n"
        "import time\n"
        "while set(docnats.jobs('b').state) == {'uploading'}: time.sleep(0.001)\n"
        "print('begun')\n"
        "time.sleep(60)"
    )
    first.hear(cell, "begun")
    first.kill()
    reply = start_kernel().run(
        "import docnats\n"
        "jobs = docnats.attach('b', wait=True, progress='none')\n"
        "print(len(jobs), set(jobs.error_type.fillna(jobs.state.astype(str))) - {'done'})"
    )
    assert reply.error == ""
    assert reply.printed in (f"{FILES} {{'not_sent'}}\n", f"{FILES} set()\n")
