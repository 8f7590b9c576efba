"""Workers that die, stall or are told to stop: every job still ends, once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from docnats.config import ProcessingConfig
from docnats.models import JobRecord, JobState
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from tests.pdfs import text_pdf

StartStack = Callable[..., LocalStack]
LONG = 1500
"""Pages; some seconds of work, so that a fault finds the job running."""


async def running_job(service: S3DocumentService, batch: str) -> JobRecord:
    async for entry in service.bus.watch(batch):
        if entry is not None and entry.record.state is JobState.RUNNING:
            return entry.record
    raise AssertionError("the job never ran")


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
    """SIGSTOP for longer than the lease, then SIGCONT: one result, one terminal state."""
    stack = start_stack(workers=2, parsers=1, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        first = await running_job(service, batch.id)
        stalled = process_of(first)
        stalled.send_signal(signal.SIGSTOP)
        try:
            (ended,) = (await batch.follow(timeout=120)).records()
        finally:
            stalled.send_signal(signal.SIGCONT)
        # The stalled worker's open request may take one more delivery before it runs out.
        assert (ended.state, ended.attempt > 1) == (JobState.DONE, True)
        assert ended.worker != first.worker
        (after,) = (
            await (await service.submit(("x.pdf", text_pdf()))).follow(timeout=60)
        ).records()
        assert after.state is JobState.DONE
        assert await service.jobs(batch.id) == [ended]


async def test_sigterm_hands_back_what_does_not_finish_in_time(start_stack: StartStack) -> None:
    stack = start_stack(workers=1, parsers=1, ack_wait=30, worker_options=["--grace", "0"])
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
        first = await running_job(service, batch.id)
        process_of(first).terminate()
        stack.add_worker()
        (ended,) = (await batch.follow(timeout=25)).records()
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


async def test_a_worker_without_credentials_uses_presigned_urls(
    start_stack: StartStack, tmp_path: Path
) -> None:
    blank = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(tmp_path),
    }
    stack = start_stack(workers=1, worker_environment=blank)
    config = ProcessingConfig(presign=True)
    async with S3DocumentService(stack.s3, stack.nats, config) as service:
        (job,) = (await (await service.submit(("a.pdf", text_pdf(2)))).follow(timeout=60)).records()
        assert job.state is JobState.DONE
        assert len((await service.fetch_document(job)).pages) == 2
