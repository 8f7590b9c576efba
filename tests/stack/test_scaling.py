"""Real workers that come, go, stall and are killed as they start; no job is lost by it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from docnats.models import JobRecord, JobState
from docnats.service import S3DocumentService
from docnats.stack import LocalStack, ProcessStatus, scaling, watch
from docnats.stack.workers import workers_of
from tests.pdfs import text_pdf
from tests.waiting import until

StartStack = Callable[..., LocalStack]
LIMIT = 60.0
LONG = 400
"""Pages; a second or more of work for one parser."""


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch looks more often, and at a machine of three cores."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.4)
    monkeypatch.setattr(scaling, "cores", lambda: 3)


def workers(stack: LocalStack) -> list[ProcessStatus]:
    return workers_of(stack.processes())


async def running_job(service: S3DocumentService, batch: str) -> JobRecord:
    async for entry in service.bus.watch(batch):
        if entry is not None and entry.record.state is JobState.RUNNING:
            return entry.record
    raise AssertionError("the job never ran")


async def test_auto_grows_with_the_backlog_and_shrinks_when_it_is_gone(
    start_stack: StartStack, quick_looks: None
) -> None:
    stack = start_stack(workers="auto")
    assert len(workers(stack)) == 1
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit({f"{i}.pdf": text_pdf(LONG) for i in range(12)})
        await until(lambda: len(workers(stack)) == 3, within=LIMIT)
        jobs = (await batch.follow(timeout=120)).records()
        assert {job.state for job in jobs} == {JobState.DONE}
        assert len({job.worker for job in jobs}) > 1
        await until(lambda: len(workers(stack)) == 1, within=LIMIT)
        (job,) = (await (await service.submit(("a.pdf", text_pdf()))).follow(timeout=60)).records()
        assert job.state is JobState.DONE
    stack.check()


async def test_workers_are_scaled_down_and_up_without_losing_a_job(
    start_stack: StartStack,
) -> None:
    stack = start_stack(workers=3, parsers=1)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit({f"{i}.pdf": text_pdf(LONG) for i in range(10)})
        await running_job(service, batch.id)
        assert await asyncio.to_thread(stack.scale, 1) == 1
        assert [worker.name for worker in workers(stack)] == ["worker-1"]
        assert await asyncio.to_thread(stack.scale, 2) == 2
        jobs = (await batch.follow(timeout=120)).records()
        assert {job.state for job in jobs} == {JobState.DONE}
        # Registered workers only: those that were stopped have withdrawn.
        await until(lambda: all(worker.running for worker in workers(stack)), within=LIMIT)
        assert len(await service.workers()) == 2
    stack.check()


async def test_a_stalled_worker_is_missed_and_its_job_done_by_another(
    start_stack: StartStack,
) -> None:
    stack = start_stack(workers=2, parsers=1, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(1500, lines=20)))
        first = await running_job(service, batch.id)
        (stalled,) = (w for w in workers(stack) if f"-{w.pid}-" in str(first.worker))
        stack.kill(stalled.name, signal.SIGSTOP)
        (ended,) = (await batch.follow(timeout=120)).records()
        assert ended.state is JobState.DONE
        assert ended.worker != first.worker
        await until(
            service.workers,
            lambda found: first.worker not in {w.worker for w in found},
            within=LIMIT,
        )


async def test_the_only_worker_is_replaced_when_it_stalls(
    start_stack: StartStack, quick_looks: None
) -> None:
    """Nobody else would ever do its jobs."""
    stack = start_stack(workers=1, parsers=1, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit(("long.pdf", text_pdf(1500, lines=20)))
        first = await running_job(service, batch.id)
        (stalled,) = workers(stack)
        inspection = stack._watch._inspection  # type: ignore[union-attr]
        await until(
            lambda: stalled.pid in inspection._missed, within=LIMIT
        )  # only who reported is missed
        stack.kill("worker-1", signal.SIGSTOP)
        (ended,) = (await batch.follow(timeout=120)).records()
        assert ended.state is JobState.DONE
        assert ended.worker != first.worker
        (replaced,) = workers(stack)
        assert (replaced.restarts, replaced.pid == stalled.pid) == (1, False)
    stack.check()


async def test_a_worker_killed_again_and_again_as_it_starts_does_its_work_in_the_end(
    start_stack: StartStack,
) -> None:
    stack = start_stack(workers=1, parsers=1, ack_wait=2)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        batch = await service.submit({f"{i}.pdf": text_pdf() for i in range(5)})
        for kills in range(12):
            await until(lambda: workers(stack)[0].running, within=LIMIT)
            assert stack.kill("worker-1") is not None
            await until(lambda: workers(stack)[0].restarts == kills + 1, within=LIMIT)  # noqa: B023
        jobs = (await batch.follow(timeout=60)).records()
        assert {job.state for job in jobs} == {JobState.DONE}
    stack.check()


async def test_a_user_that_shares_the_stack_keeps_the_workers_it_needs(
    start_stack: StartStack, local_stack: StartStack, quick_looks: None
) -> None:
    stack = start_stack(workers="auto")
    other = local_stack(home=stack.home, workers=2, parsers=1)
    assert len(workers(stack)) == 2
    assert await asyncio.to_thread(stack.scale, 1) == 2
    other.stop()
    assert await asyncio.to_thread(stack.scale, 1) == 1
    assert len(workers(stack)) == 1
