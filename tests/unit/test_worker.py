"""How a worker takes jobs off the bus: when, when not, and which it has already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from docnats.bus import PoisonEntry
from docnats.errors import StorageError
from docnats.models import JobState
from docnats.names import raw_key
from docnats.parsing import RangeResult
from docnats.worker import Worker, retries
from docnats.worker.retries import Pause
from tests.job_table import write_new
from tests.unit.test_job import DOCUMENT, JOB, ScriptedPool, World, hang, pages, raising, until


@asynccontextmanager
async def working(world: World) -> AsyncIterator[Worker]:
    worker = Worker(world.tools(), grace=0)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.drain()
        async with asyncio.timeout(20):
            await task


async def more_jobs(world: World, count: int) -> None:
    entry = world.bus.records["b", JOB]
    ids = [f"more{i}" for i in range(count)]
    for job_id in ids:
        await world.storage.put_bytes(raw_key(job_id), DOCUMENT)
    record = entry.record.but(state=JobState.QUEUED, attempt=0)
    await write_new(world.bus, [record.but(job_id=job_id) for job_id in ids])
    message = world.message
    await world.bus.publish(
        [message.but(request_id=job_id, s3_key=raw_key(job_id)) for job_id in ids]
    )


def begun(world: World) -> int:
    return sum(entry.record.attempt > 0 for entry in world.bus.records.values())


async def test_a_worker_takes_no_jobs_while_storage_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY", 60)
    world = World(ScriptedPool(raising(StorageError("503", transient=True))))
    await world.submit()
    async with working(world) as worker:
        await until(lambda: world.pause.seconds)
        capacity = 2 * world.pool.processes
        await more_jobs(world, 3 * capacity)
        # The request for jobs that is open by now still brings as many as there is room for.
        await until(lambda: begun(world) > 1 and not worker._jobs)
        for _ in range(100):  # the bus is in memory: what can happen does
            await asyncio.sleep(0)
        assert begun(world) <= 1 + capacity


async def test_a_worker_goes_on_when_storage_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY", 0.05)
    world = World()
    faults = [StorageError("503", transient=True)] * 3

    async def act() -> RangeResult:
        if faults:
            raise faults.pop()
        return pages(2)

    world.pool.act = act
    await world.submit()
    async with working(world):
        await until(lambda: world.record.state is JobState.DONE)
    assert world.record.releases == 3
    assert not world.queued


async def test_a_job_that_comes_again_is_not_begun_twice() -> None:
    """Its lease ran out in an outage of NATS, while the worker was at it."""
    world = World(ScriptedPool(hang))
    await world.submit()
    async with working(world):
        await world.pool.called.wait()
        world.bus.expire_leases()
        await until(lambda: world.bus.queue["b", JOB].attempt == 2)
        assert len(world.pool.calls) == 1
        assert world.record.attempt == 1


async def test_a_drained_worker_hands_its_jobs_back_at_once() -> None:
    world = World(ScriptedPool(hang))
    await world.submit()
    async with working(world):
        await world.pool.called.wait()
    assert (world.record.state, world.record.releases) == (JobState.QUEUED, 1)
    (lease,) = await world.bus.pull(1, 0)
    assert not lease.lapsed


async def test_no_job_is_taken_before_the_known_poison_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.submit()
    loading = asyncio.Event()
    watch = world.bus.watch_poison

    async def watch_poison() -> AsyncIterator[PoisonEntry | None]:
        await loading.wait()
        async for entry in watch():
            yield entry

    monkeypatch.setattr(world.bus, "watch_poison", watch_poison)
    async with working(world):
        await until(lambda: world.bus._workers)
        assert world.bus.queue["b", JOB].attempt == 0
        loading.set()
        await until(lambda: world.record.state is JobState.DONE)


async def test_several_faults_at_a_time_make_one_pause() -> None:
    pause = Pause()
    for _ in range(4):
        pause.lengthen()
    assert 0 < pause.seconds <= 2
    pause.end()
    assert pause.seconds == 0
