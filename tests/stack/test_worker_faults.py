"""Workers that die, stall or are told to stop: every job still ends, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest

from docnats.bus import NatsBus
from docnats.config import ProcessingConfig
from docnats.models import JobRecord, JobState
from docnats.names import RESULT_PARTS, result_part
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from tests.pdfs import text_pdf
from tests.waiting import until

StartStack = Callable[..., LocalStack]
LONG = 1500
"""Pages; some seconds of work, so that a fault finds the job running."""

DRAINS = 7


async def running_job(service: S3DocumentService, batch: str, *, attempt: int = 1) -> JobRecord:
    """Wait until a worker is at the only job of a batch, for the n-th time."""
    async with asyncio.timeout(120), aclosing(service.bus.watch(batch)) as entries:
        async for entry in entries:
            if entry is None or entry.record.state is not JobState.RUNNING:
                continue
            assert entry.record.attempt <= attempt
            if entry.record.attempt == attempt:
                return entry.record
    raise AssertionError("the job never ran")


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """Stop a process, as a debugger or an overloaded machine does, then let it go on."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def until_idle(service: S3DocumentService, worker: str | None) -> None:
    """Wait until a worker announces that it lives and has no jobs."""
    await until(partial(announced, service), lambda found: ("idle", worker) in found, within=60)


async def until_forgotten(service: S3DocumentService, worker: str | None) -> None:
    """Wait until a worker has not announced itself for so long that the registry forgets it."""
    await until(
        partial(announced, service),
        lambda found: worker not in {name for _, name in found},
        within=60,
    )


async def announced(service: S3DocumentService) -> set[tuple[str, str]]:
    return {("busy" if w.jobs else "idle", w.worker) for w in await service.workers()}


async def is_leased(service: S3DocumentService) -> bool:
    """Wait until a job is on the queue; tell whether a worker was given it."""
    return bool((await until(service.bus.backlog, any, within=30)).leased)


async def results_of(service: S3DocumentService, job: JobRecord) -> dict[str, bytes]:
    return {
        part: await service.storage.get_bytes(result_part(job.job_id, part))
        for part in RESULT_PARTS
    }


def process_of(job: JobRecord) -> psutil.Process:
    """Return the process of the worker that a job runs on; its id holds the pid."""
    assert job.worker is not None
    return psutil.Process(int(job.worker.split("-")[-2]))


async def test_a_job_survives_the_death_of_its_worker(start_stack: StartStack) -> None:
    """SIGKILL mid-job: the lease ends and the other worker does the job again."""
    stack = start_stack(workers=2, parsers=1, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        job = await running_job(service, batch.id)
        process_of(job).send_signal(signal.SIGKILL)
        (ended,) = (await batch.follow(timeout=120)).records()
        assert (ended.state, ended.pages, ended.attempt) == (JobState.DONE, LONG, 2)
        assert ended.worker != job.worker


async def test_no_parser_child_outlives_its_killed_worker(start_stack: StartStack) -> None:
    stack = start_stack(workers=2, parsers=2, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        worker = process_of(await running_job(service, batch.id))
        children = worker.children(recursive=True)
        assert len(children) >= 2
        worker.kill()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []
        await batch.follow(timeout=120)


async def test_a_stalled_worker_does_not_overwrite_the_next_ones_result(
    start_stack: StartStack,
) -> None:
    """SIGSTOP for longer than the lease, SIGCONT when another worker has done the job."""
    stack = start_stack(workers=2, parsers=1, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        first = await running_job(service, batch.id)
        with stopped(process_of(first)):
            (ended,) = (await batch.follow(timeout=120)).records()
            assert (ended.state, ended.attempt) == (JobState.DONE, 2)
            assert ended.worker != first.worker
            results = await results_of(service, ended)
            await until_forgotten(service, first.worker)
        await until_idle(service, first.worker)
        assert await service.jobs(batch.id) == [ended]
        assert await results_of(service, ended) == results


async def test_a_stalled_worker_leaves_the_job_to_the_one_that_is_at_it(
    start_stack: StartStack,
) -> None:
    """SIGSTOP for longer than the lease, SIGCONT while another worker does the job."""
    stack = start_stack(workers=2, parsers=1, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        first = await running_job(service, batch.id)
        with stopped(process_of(first)):
            second = await running_job(service, batch.id, attempt=2)
        (ended,) = (await batch.follow(timeout=120)).records()
        assert (ended.state, ended.attempt) == (JobState.DONE, 2)
        assert ended.worker == second.worker != first.worker
        results = await results_of(service, ended)
        await until_idle(service, first.worker)
        assert await service.jobs(batch.id) == [ended]
        assert await results_of(service, ended) == results


async def test_a_job_that_waited_in_a_stopped_worker_is_not_begun_there(
    start_stack: StartStack,
) -> None:
    """The queue gave it to a worker that was stopped; another has it when that one goes on."""
    stack = start_stack(workers=1, parsers=1, ack_wait=6)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        workers = await until(service.workers, within=60)
        first = psutil.Process(workers[0].pid)
        for _ in range(20):
            with stopped(first):
                batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
                if await is_leased(service):
                    stack.add_worker()
                    second = await running_job(service, batch.id)
                    break
            # Its request for jobs had just run out.
            await service.cancel(batch.table.records())
            await until_idle(service, workers[0].worker)
        (ended,) = (await batch.follow(timeout=120)).records()
        assert (ended.state, ended.attempt) == (JobState.DONE, 1)
        assert ended.worker == second.worker != workers[0].worker
        await until_idle(service, workers[0].worker)
        assert await service.jobs(batch.id) == [ended]


async def test_a_job_that_is_handed_back_again_and_again_is_not_given_up(
    start_stack: StartStack,
) -> None:
    """More often than ``max_deliver``, which counts workers that died."""
    stack = start_stack(workers=1, parsers=1, worker_options=["--grace", "0"])
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        for attempt in range(1, DRAINS + 1):
            job = await running_job(service, batch.id, attempt=attempt)
            process_of(job).terminate()
            stack.add_worker()
        (ended,) = (await batch.follow(timeout=120)).records()
        assert ended.state is JobState.DONE
        assert (ended.attempt, ended.releases) == (DRAINS + 1, DRAINS)
        assert ended.error is None


async def test_sigterm_hands_back_what_does_not_finish_in_time(start_stack: StartStack) -> None:
    stack = start_stack(workers=1, parsers=1, ack_wait=600, worker_options=["--grace", "0"])
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        first = await running_job(service, batch.id)
        process_of(first).terminate()
        stack.add_worker()
        (ended,) = (await batch.follow(timeout=150)).records()
        assert (ended.state, ended.attempt) == (JobState.DONE, 2)


async def test_sigterm_lets_running_jobs_finish(start_stack: StartStack) -> None:
    stack = start_stack(workers=1, parsers=1, ack_wait=30)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(60, lines=20)))
        worker = process_of(await running_job(service, batch.id))
        worker.terminate()
        (ended,) = (await batch.follow(timeout=60)).records()
        assert (ended.state, ended.attempt) == (JobState.DONE, 1)


async def test_jobs_submitted_without_a_worker_wait_for_one(start_stack: StartStack) -> None:
    stack = start_stack(workers=0)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        assert not (await service.health_check()).healthy
        batch = await service.submit({f"{i}.pdf": text_pdf() for i in range(5)})
        stack.add_worker()
        jobs = (await batch.follow(timeout=60)).records()
        assert {job.state for job in jobs} == {JobState.DONE}


@pytest.fixture
def blank(tmp_path: Path) -> dict[str, str]:
    """The environment of a worker without S3 credentials."""
    return {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(tmp_path),
    }


async def test_a_worker_without_credentials_uses_presigned_urls(
    start_stack: StartStack, blank: dict[str, str]
) -> None:
    stack = start_stack(workers=1, worker_environment=blank)
    config = ProcessingConfig(presign=True)
    async with S3DocumentService(stack.s3, stack.nats, config) as service:
        (job,) = (await (await service.submit(("a.pdf", text_pdf(2)))).follow(timeout=60)).records()
        assert job.state is JobState.DONE
        assert len((await service.fetch_document(job)).pages) == 2


async def expire(service: S3DocumentService, batch: str) -> None:
    """Wait until all that was signed a second ago at the latest has expired."""
    async with aclosing(service.bus.watch(batch)) as entries:
        async for entry in entries:
            if entry is not None and entry.record.state is JobState.QUEUED:
                break
    signed = datetime.now(UTC)
    await until(lambda: datetime.now(UTC) - signed, lambda age: age >= timedelta(seconds=2))


async def test_urls_that_expired_in_the_queue_are_signed_anew_while_a_client_is_connected(
    start_stack: StartStack, blank: dict[str, str]
) -> None:
    stack = start_stack(workers=0, worker_environment=blank)
    hasty = stack.s3.but(presign_expiry=1)
    async with S3DocumentService(hasty, stack.nats, ProcessingConfig(presign=True)) as service:
        batch = (await service.submit(("a.pdf", text_pdf(2)))).id
        await expire(service, batch)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        stack.add_worker()
        attached = await service.attach(batch)
        (job,) = (await attached.follow(timeout=120)).records()
        assert (job.state, job.releases, job.error) == (JobState.DONE, 0, None)
        assert len((await service.fetch_document(job)).pages) == 2


async def test_urls_that_expired_in_the_queue_wait_for_a_client_that_signs(
    start_stack: StartStack, blank: dict[str, str]
) -> None:
    stack = start_stack(workers=0, worker_environment=blank)
    hasty = stack.s3.but(presign_expiry=1)
    async with S3DocumentService(hasty, stack.nats, ProcessingConfig(presign=True)) as service:
        batch = (await service.submit(("a.pdf", text_pdf(2)))).id
        await expire(service, batch)
    async with NatsBus(stack.nats) as bus, aclosing(bus.watch(batch)) as entries:
        stack.add_worker()
        async with asyncio.timeout(60):
            async for entry in entries:
                if entry is not None and entry.record.releases > 0:
                    break
        assert entry is not None
        assert entry.record.state is JobState.QUEUED
        assert "docnats signer" in (entry.record.error or "")
    async with S3DocumentService(stack.s3, stack.nats) as service:
        attached = await service.attach(batch)
        (job,) = (await attached.follow(timeout=120)).records()
        assert (job.state, job.error) == (JobState.DONE, None)
