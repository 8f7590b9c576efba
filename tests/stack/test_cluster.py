"""Batches on three NATS servers, of which one after the other dies, hangs or is restarted."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from functools import partial
from operator import not_
from pathlib import Path

import pytest

from docnats.bus import NatsBus
from docnats.models import JobRecord, JobState
from docnats.names import Names
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from tests.cluster import Cluster, running_cluster
from tests.pdfs import text_pdf
from tests.waiting import until

NAMES = Names("default")
LIMIT = 240.0
"""Seconds for a batch with several elections of up to 9 s in it, on a busy machine."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path / "cluster") as cluster:
        yield cluster


class Scene:
    """A batch that two workers work on, on a cluster."""

    def __init__(self, cluster: Cluster, service: S3DocumentService) -> None:
        self.cluster = cluster
        self.service = service
        assert isinstance(service.bus, NatsBus)
        self.bus = service.bus
        self.written: dict[str, list[JobRecord]] = defaultdict(list)

    async def run(self, fault: Callable[[], Awaitable[None]], documents: int = 50) -> None:
        """Put a batch through, with a fault on the way."""
        await self.cluster.settled(self.bus, NAMES.jobs_stream, NAMES.states_stream)
        sizes = {f"{i}.pdf": 1 + i % 7 for i in range(documents)}
        batch = await self.service.submit(
            {name: text_pdf(pages, lines=20) for name, pages in sizes.items()}
        )
        watching = asyncio.create_task(self._watch(batch.id))
        following = asyncio.create_task(batch.follow(timeout=LIMIT))
        await self._one_is_done(batch.id)
        await fault()
        assert not following.done(), "the batch ended before the fault; make it longer"
        records = (await following).records()
        assert {job.state for job in records} == {JobState.DONE}, [job.error for job in records]
        assert {job.filename: job.pages for job in records} == sizes
        await self._queue_is_empty()
        # This watch may be of a slower server.
        await until(lambda: all(self._ends(job) for job in records), within=LIMIT)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        self._ended_once(records)
        assert {job.job_id: job for job in await self.service.jobs(batch.id)} == {
            job.job_id: job for job in records
        }
        pages = await self.service.fetch_table([job.job_id for job in records], "pages.parquet")
        assert pages.num_rows == sum(sizes.values())

    async def _watch(self, batch: str) -> None:
        async with aclosing(self.bus.watch(batch)) as entries:
            async for entry in entries:
                if entry is not None:
                    self.written[entry.record.job_id].append(entry.record)

    async def _one_is_done(self, batch: str) -> None:
        async with aclosing(self.bus.watch(batch)) as entries:
            async for entry in entries:
                if entry is not None and entry.record.state is JobState.DONE:
                    break

    async def _queue_is_empty(self) -> None:
        """Wait until the stream has no message: it learns of an ack after its consumer."""
        await until(self.bus.backlog, lambda found: found == (0, 0), within=LIMIT)
        await until(self._messages, not_, within=LIMIT)

    async def _messages(self) -> int:
        info = await self.bus._connection.api(f"STREAM.INFO.{NAMES.jobs_stream}")
        messages: int = info["state"]["messages"]
        return messages

    def _ended_once(self, records: list[JobRecord]) -> None:
        """Nobody ever saw a job leave its terminal state."""
        for job in records:
            assert self._ends(job) == {job.finished_at}, job.filename

    def _ends(self, job: JobRecord) -> set[datetime | None]:
        return {record.finished_at for record in self.written[job.job_id] if record.terminal}


@pytest.fixture
async def scene(cluster: Cluster, local_stack: Callable[..., LocalStack]) -> AsyncIterator[Scene]:
    nats = cluster.config.but(ack_wait=5)
    stack = await asyncio.to_thread(local_stack, workers=2, parsers=1, nats=nats)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        yield Scene(cluster, service)


async def test_batches_survive_the_death_of_one_server_and_then_of_another(scene: Scene) -> None:
    """The leader of the queue and, when that is back, the leader of the job table."""
    victims: list[str] = []

    async def kill_the_leader_of(stream: str) -> None:
        victims.append(await scene.cluster.leader_of(scene.bus, stream))
        await scene.cluster.kill(victims[-1])

    await scene.run(partial(kill_the_leader_of, NAMES.jobs_stream))
    await scene.cluster.restart(victims[-1])
    await scene.run(partial(kill_the_leader_of, NAMES.states_stream))


async def test_batches_survive_that_one_server_hangs_and_then_another(scene: Scene) -> None:
    """The one that the client is connected to, and the leader of the workers' consumer."""
    cluster, bus = scene.cluster, scene.bus
    hung: list[str] = []

    async def freeze_ours() -> None:
        hung.append(await cluster.node_of(bus))
        cluster.freeze(hung[-1])

    async def freeze_the_leader_of_the_consumer() -> None:
        hung.append(await cluster.leader_of(bus, NAMES.jobs_stream, NAMES.consumer()))
        cluster.freeze(hung[-1])

    try:
        await scene.run(freeze_ours)
        cluster.thaw(hung[-1])
        await scene.run(freeze_the_leader_of_the_consumer)
    finally:
        cluster.thaw(hung[-1])


async def test_a_batch_survives_a_rolling_restart(scene: Scene) -> None:
    """One server after the other, each when all copies have caught up."""

    async def restart_all() -> None:
        for node in scene.cluster.nodes:
            await scene.cluster.settled(scene.bus, NAMES.jobs_stream, NAMES.states_stream)
            await scene.cluster.stop(node)
            await scene.cluster.restart(node)

    await scene.run(restart_all, documents=250)
