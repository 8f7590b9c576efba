"""Servers that die, stall or refuse: work resumes by itself, or ends with a clear error."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import not_
from pathlib import Path
from typing import Any

import pytest

import docnats
from docnats.config import ProcessingConfig, S3Config, StackConfig
from docnats.errors import BusError, ErrorType
from docnats.models import JobRecord, JobState, Progress
from docnats.notebook import close_session
from docnats.notebook.session import current_session
from docnats.service import Batch, S3DocumentService
from docnats.stack import LocalStack
from docnats.stack.binaries import S3Binary
from docnats.storage import connection
from tests.conftest import RestartableServer
from tests.fault_proxy import Fault, FaultProxy
from tests.pdfs import text_pdf
from tests.waiting import until

StartStack = Callable[..., LocalStack]

LIMIT = 150.0
"""Seconds; SeaweedFS alone may take 20 to be back after it was killed."""


PAGES, LINES = 70, 10
"""Of a document: all together are some seconds of work for one parser."""


def documents(count: int) -> dict[str, bytes]:
    """Return documents no two of which say the same."""
    return {f"{n:02}.pdf": text_pdf(PAGES + n, lines=LINES) for n in range(count)}


def expected_text(number: int) -> str:
    return "\f".join(
        "\n".join(f"Page {page + 1} line {line + 1} of the archive" for line in range(LINES))
        for page in range(PAGES + number)
    )


def kill(stack: LocalStack, names: Iterable[str]) -> None:
    """SIGKILL servers at once; the stack starts them again."""
    for name in names:
        stack.kill(name)


async def progressed(batch: Batch, far_enough: Callable[[Progress], bool]) -> None:
    await until(batch.table.progress, far_enough, within=LIMIT)


async def check_all_done(service: S3DocumentService, jobs: Iterable[JobRecord]) -> None:
    """Every row is done, every text is right, and nothing is left on the queue."""
    rows = list(jobs)
    assert {job.filename: job.error for job in rows if job.state is not JobState.DONE} == {}
    results = await asyncio.gather(*map(service.fetch_document, rows))
    assert [result.text for result in results] == [expected_text(n) for n in range(len(rows))]
    await until(service.bus.backlog, lambda found: found == (0, 0), within=LIMIT)


@pytest.mark.parametrize("names", [["nats"], ["s3"], ["nats", "s3"]], ids="+".join)
async def test_a_batch_survives_the_death_of_its_servers(
    start_stack: StartStack, s3_binary: S3Binary, names: list[str]
) -> None:
    """Twice: while the documents are sent, and while they are parsed."""
    count = 30
    config = StackConfig(s3_server=s3_binary.path)
    stack = start_stack(workers=1, parsers=1, config=config, ack_wait=10)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        kill(stack, names)
        batch = await service.submit(documents(count))
        following = asyncio.create_task(batch.follow(timeout=LIMIT))
        await progressed(batch, lambda now: now.counts[JobState.DONE] > count // 10)
        kill(stack, names)
        assert not batch.table.finished, "it was over before"
        table = await following
        await check_all_done(service, table.records())
    restarts = {process.name: process.restarts for process in stack.processes()}
    assert all(restarts[name] == 2 for name in names), restarts
    stack.check()


def test_a_waiting_cell_survives_the_death_of_the_embedded_servers() -> None:
    """No error of the stack reaches it while that starts them again."""
    try:
        jobs = docnats.submit_many(documents(20), wait=False, progress="none")
        stack = current_session()._stack
        assert stack is not None
        kill(stack, ["nats", "s3"])
        ended = docnats.attach(jobs["batch"][0], wait=True, progress="none")
        assert (ended["state"] == "done").all(), ended.to_string()
        assert list(ended.docnats.text()["text"]) == [expected_text(n) for n in range(20)]
        assert {p.name: p.restarts for p in stack.processes()}["nats"] == 1
    finally:
        close_session()


# --- S3 that answers badly


@pytest.fixture
async def proxy(s3_config: S3Config) -> AsyncIterator[FaultProxy]:
    """Yield a proxy in front of a real S3 server."""
    assert s3_config.endpoint_url is not None
    async with FaultProxy(s3_config.endpoint_url) as proxy:
        yield proxy


Started = Callable[..., AbstractAsyncContextManager[S3DocumentService]]


@pytest.fixture
def behind_the_proxy(start_stack: StartStack, s3_config: S3Config, proxy: FaultProxy) -> Started:
    """Return a function that starts a worker which, like the service, reaches S3 by the proxy."""

    @asynccontextmanager
    async def start(**processing: Any) -> AsyncIterator[S3DocumentService]:
        # Worker and proxy would wait for each other: the proxy runs on this loop.
        short = {"connect_timeout": 1.0, "read_timeout": 3.0, "max_attempts": 2}
        variables = {f"DOCNATS_{name.upper()}": str(value) for name, value in short.items()}
        s3 = s3_config.but(endpoint_url=proxy.url, **short)
        stack = await asyncio.to_thread(
            start_stack, workers=1, parsers=1, s3=s3, worker_environment=variables
        )
        config = ProcessingConfig(**processing)
        async with S3DocumentService(s3, stack.nats, config) as service:
            yield service

    return start


async def test_s3_that_answers_503_for_a_while_is_waited_for(
    behind_the_proxy: Started, proxy: FaultProxy
) -> None:
    async with behind_the_proxy() as service:
        proxy.set(Fault.REFUSE)
        batch = await service.submit(documents(20))
        seen: list[Progress] = []
        following = asyncio.create_task(batch.follow(seen.append, timeout=LIMIT))
        await until(lambda: any(progress.outages for progress in seen), within=LIMIT)
        proxy.set(None)
        await progressed(batch, lambda now: now.counts[JobState.DONE] > 1)
        proxy.set(Fault.REFUSE)
        met = proxy.hits
        await until(lambda: proxy.hits > met, within=LIMIT)
        proxy.set(None)
        await check_all_done(service, (await following).records())
        assert seen[-1].outages == ()
        assert {outage.server for progress in seen for outage in progress.outages} == {"S3"}


@pytest.mark.parametrize("fault", [Fault.TRICKLE, Fault.RESET], ids=lambda fault: fault.name)
async def test_documents_arrive_whole_over_a_bad_line(
    behind_the_proxy: Started, proxy: FaultProxy, fault: Fault
) -> None:
    """Slow, or cut in the middle of every download for a while; results are read over it, too."""
    sources = {f"{n}.pdf": text_pdf(2, padding=200_000) for n in range(4)}
    async with behind_the_proxy() as service:
        batch = await service.submit(sources)
        proxy.trickle = 100_000
        proxy.set(fault)
        following = asyncio.create_task(batch.follow(timeout=LIMIT))
        await until(lambda: proxy.hits > 3, within=LIMIT)
        if fault is Fault.RESET:
            proxy.set(None)
        jobs = (await following).records()
        assert [job.state for job in jobs] == [JobState.DONE] * 4, [job.error for job in jobs]
        proxy.reset_after = 500
        proxy.set(fault)
        reading = asyncio.gather(*map(service.fetch_document, jobs))
        if fault is Fault.RESET:
            await until(lambda: service.storage.outage is not None, within=LIMIT)
            proxy.set(None)
        assert {result.text for result in await reading} == {
            "\f".join(
                "\n".join(f"Page {page} line {line} of the archive" for line in (1, 2, 3))
                for page in (1, 2)
            )
        }


async def test_s3_that_never_answers_is_given_up_after_the_limit_in_the_rows(
    behind_the_proxy: Started, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for each file; what was sent before goes on."""
    monkeypatch.setattr(connection, "_BACKOFF", 0.0)
    async with behind_the_proxy(outage_limit=1) as service:
        first = await service.submit(("sent.pdf", text_pdf(1000, lines=20)))
        following = asyncio.create_task(first.follow(timeout=LIMIT))
        await progressed(first, lambda now: now.pages > 0)
        proxy.set(Fault.BLACK_HOLE)
        batch = await service.submit(documents(20))
        jobs = (await batch.follow(timeout=LIMIT)).records()
        assert {(job.state, job.error_type) for job in jobs} == {
            (JobState.FAILED, ErrorType.STORAGE)
        }
        assert all("did not answer in time" in str(job.error) for job in jobs)
        assert all("since" in str(job.error) for job in jobs)
        proxy.set(None)
        (job,) = (await following).records()
        assert job.state is JobState.DONE


# --- NATS that stays away


async def test_after_the_limit_following_ends_with_a_clear_error_and_attach_completes(
    nats_server: RestartableServer, local_stack: StartStack
) -> None:
    nats = nats_server.config.but(request_timeout=1, ack_wait=5)
    stack = await asyncio.to_thread(local_stack, workers=1, parsers=1, nats=nats)
    config = ProcessingConfig(outage_limit=2)
    async with S3DocumentService(stack.s3, nats, config) as service:
        batch = await service.submit(documents(20))
        following = asyncio.create_task(batch.follow(timeout=LIMIT))
        await progressed(batch, lambda now: now.counts[JobState.DONE] > 2)
        await progressed(batch, lambda now: now.counts[JobState.UPLOADING] == 0)
        await asyncio.to_thread(nats_server.kill)
        with pytest.raises(BusError) as caught:
            await following
        assert nats.servers[0] in str(caught.value)
        assert "UTC and not back within" in str(caught.value)
        assert f"docnats.attach({batch.id!r})" in str(caught.value)
        await asyncio.to_thread(nats_server.restart)
        await until(lambda: service.bus.outage is None, within=LIMIT)
        again = await service.attach(batch.id)
        await check_all_done(service, (await again.follow(timeout=LIMIT)).records())


# --- a worker whose disk is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk],
        check=False,
        capture_output=True,
        text=True,
    )
    if mount.returncode:
        pytest.skip(f"no small file system can be mounted here: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


async def test_a_document_that_finds_no_room_on_a_workers_disk_waits_alone_until_there_is_some(
    small_disk: Path, start_stack: StartStack
) -> None:
    """It is handed back and holds up no other; nothing of it stays on the disk meanwhile."""
    stack = start_stack(workers=1, parsers=1, worker_environment={"TMPDIR": str(small_disk)})
    sources = {"large.pdf": text_pdf(padding=8_000_000)}
    sources |= {f"{n}.pdf": text_pdf(2) for n in range(20)}
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(sources)
        following = asyncio.create_task(batch.follow(timeout=LIMIT))
        await progressed(batch, lambda now: now.ended == 20)
        large, *_ = await until(
            batch.table.records, lambda jobs: jobs[0].releases >= 2, within=LIMIT
        )
        assert not large.terminal
        remount = ["mount", "-o", "remount,size=64m", str(small_disk)]
        await asyncio.to_thread(subprocess.run, remount, check=True)
        jobs = (await following).records()
        assert {job.filename: job.error for job in jobs if job.state is not JobState.DONE} == {}
    await until(lambda: list(small_disk.rglob("docnats-job-*")), not_, within=LIMIT)
