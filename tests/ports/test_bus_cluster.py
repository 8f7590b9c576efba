"""The bus on three servers, of which one dies or hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from docnats.bus import NatsBus, StateEntry
from docnats.models import JobState
from docnats.names import Names
from tests.cluster import Cluster, running_cluster
from tests.job_table import write_new
from tests.ports.test_bus import LIMIT, message, record
from tests.waiting import until

NAMES = Names("default")
ACK_WAIT = 3.0
PATIENCE = 60.0
"""Seconds a call may take on a busy machine; an election takes 4 to 9 by itself."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Yield a cluster of the test's own, that has just formed."""
    with running_cluster(tmp_path) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def bus(cluster: Cluster) -> AsyncIterator[NatsBus]:
    async with NatsBus(cluster.config.but(request_timeout=PATIENCE, ack_wait=ACK_WAIT)) as bus:
        await bus.ensure()
        yield bus


async def connected_to(cluster: Cluster, node: str, opened: AsyncExitStack) -> NatsBus:
    """Return a bus that knows all servers and is connected to a given one."""
    while True:
        bus = NatsBus(cluster.config.but(request_timeout=PATIENCE, ack_wait=ACK_WAIT))
        await bus.__aenter__()
        if await cluster.node_of(bus) == node:
            opened.push_async_exit(bus)
            return bus
        await bus.__aexit__(None, None, None)


async def follower_of(cluster: Cluster, bus: NatsBus, stream: str) -> str:
    """Return a node that neither leads a stream nor has our connection."""
    await cluster.settled(bus, stream)
    taken = {await cluster.leader_of(bus, stream), await cluster.node_of(bus)}
    return next(node for node in cluster.nodes if node not in taken)


async def test_many_create_everything_at_once_before_there_is_a_leader(cluster: Cluster) -> None:
    config = cluster.config.but(request_timeout=PATIENCE)

    async def begin() -> None:
        async with NatsBus(config) as bus:
            await bus.ensure()

    await asyncio.gather(*(begin() for _ in range(8)))
    async with NatsBus(config) as bus:
        streams = (await bus._connection.api("STREAM.LIST"))["streams"]
        assert {stream["config"]["num_replicas"] for stream in streams} == {3}
        consumer = f"{NAMES.jobs_stream}.{NAMES.consumer()}"
        info = await bus._connection.api(f"CONSUMER.INFO.{consumer}")
        assert len(info["cluster"]["replicas"]) == 2


async def test_a_read_holds_what_was_written_before_on_whichever_copy_it_is_made(
    cluster: Cluster, bus: NatsBus
) -> None:
    """A copy on a server that hung a moment ago lags behind; a third of reads is made there."""
    lagging = await follower_of(cluster, bus, NAMES.states_stream)
    cluster.freeze(lagging)
    try:
        await write_new(bus, [record(position=i) for i in range(2000)])
        reads = [asyncio.create_task(bus.states("b")) for _ in range(12)]
        watches = [asyncio.create_task(until_complete(bus)) for _ in range(12)]
        # When the first is through, all have begun: those that wait for the hung copy as well.
        done, _ = await asyncio.wait(
            [*reads, *watches], timeout=PATIENCE, return_when="FIRST_COMPLETED"
        )
        assert done
    finally:
        cluster.thaw(lagging)
    assert {len(await read) for read in reads} == {2000}
    assert {await watch for watch in watches} == {2000}


async def until_complete(bus: NatsBus) -> int:
    """Return how many jobs a watch gave before it said that these were all."""
    seen = set()
    async with asyncio.timeout(PATIENCE), aclosing(bus.watch("b")) as entries:
        async for entry in entries:
            if entry is None:
                break
            seen.add(entry.record.job_id)
    return len(seen)


async def test_a_read_does_not_wait_for_what_was_forgotten_meanwhile(bus: NatsBus) -> None:
    """The newest record may be gone before the reader comes to it."""
    for _ in range(20):
        jobs = [record() for _ in range(3)]
        await write_new(bus, jobs)
        read = asyncio.create_task(bus.states("b"))
        await bus.forget_batch("b")
        assert len(await asyncio.wait_for(read, LIMIT)) <= 3
    assert await bus.states("b") == []


@pytest.mark.parametrize("victim", ["jobs", "consumer", "states", "connection"])
async def test_nothing_is_lost_when_a_server_dies(cluster: Cluster, victim: str) -> None:
    """Whoever leads what, each call goes on after the election and is done once."""
    async with AsyncExitStack() as opened:
        bus = await opened.enter_async_context(
            NatsBus(cluster.config.but(request_timeout=PATIENCE, ack_wait=ACK_WAIT))
        )
        await bus.ensure()
        await cluster.settled(bus, NAMES.jobs_stream, NAMES.states_stream)
        node = {
            "jobs": await cluster.leader_of(bus, NAMES.jobs_stream),
            "consumer": await cluster.leader_of(bus, NAMES.jobs_stream, NAMES.consumer()),
            "states": await cluster.leader_of(bus, NAMES.states_stream),
            "connection": await cluster.node_of(bus),
        }[victim]
        done: list[str] = []
        working = asyncio.create_task(work(bus, 400, done))
        submitting = asyncio.create_task(submit(bus, 400))
        await until(lambda: len(done) >= 40, within=PATIENCE)
        await cluster.kill(node)
        async with asyncio.timeout(2 * PATIENCE):
            jobs = await submitting
            await working
        assert sorted(done) == sorted(jobs)
        states = await bus.states("b")
        assert {entry.record.job_id for entry in states} == set(jobs)
        assert {entry.record.state for entry in states} == {JobState.DONE}
        assert await bus.backlog() == (0, 0)
        await cluster.restart(node)
        await cluster.settled(bus, NAMES.jobs_stream, NAMES.states_stream)
        assert await bus.backlog() == (0, 0)


async def submit(bus: NatsBus, count: int) -> list[str]:
    """Register and queue jobs, a few at a time, as a submission does."""
    jobs = [message() for _ in range(count)]
    for first in range(0, count, 10):
        group = jobs[first : first + 10]
        rows = [record(job_id=m.request_id, state=JobState.QUEUED) for m in group]
        written = await bus.update_states([StateEntry(row, 0) for row in rows])
        assert None not in written
        await bus.publish(group)
    return [job.request_id for job in jobs]


async def work(bus: NatsBus, count: int, done: list[str]) -> None:
    """Do jobs as a worker does: state by compare-and-set, then ack."""
    while len(done) < count:
        for lease in await bus.pull(10, 1):
            entry = await bus.get_state("b", lease.message.request_id)
            assert entry is not None
            if not entry.record.terminal:
                await bus.update_state(entry.record.but(state=JobState.DONE), entry.revision)
                done.append(entry.record.job_id)
            await lease.ack()


async def test_a_server_that_hangs_is_left_for_another(cluster: Cluster) -> None:
    """Calls, a watch and who listens for cancels go on while it hangs."""
    async with AsyncExitStack() as opened:
        other = await opened.enter_async_context(NatsBus(cluster.config.but(ack_wait=ACK_WAIT)))
        await other.ensure()
        node = await follower_of(cluster, other, NAMES.states_stream)
        bus = await connected_to(cluster, node, opened)
        watch = await opened.enter_async_context(aclosing(bus.watch("b")))
        cancels = await opened.enter_async_context(aclosing(bus.cancellations()))
        assert await anext(watch) is None
        heard = asyncio.ensure_future(anext(cancels))
        pull = asyncio.create_task(bus.pull(1, PATIENCE))
        await bus.round_trip()
        cluster.freeze(node)
        try:
            async with asyncio.timeout(PATIENCE):
                (revision,) = await write_new(bus, [job := record()])
                assert await anext(watch) == StateEntry(job, revision)
                await bus.publish([sent := message()])
                assert [lease.message for lease in await pull] == [sent]
                while not heard.done():
                    await other.broadcast_cancel("b", ["j"])
                    await asyncio.sleep(0.05)
            assert await cluster.node_of(bus) != node
        finally:
            cluster.thaw(node)


async def test_a_write_that_hung_in_a_server_does_not_undo_later_ones(cluster: Cluster) -> None:
    async with AsyncExitStack() as opened:
        other = await opened.enter_async_context(NatsBus(cluster.config.but(ack_wait=ACK_WAIT)))
        await other.ensure()
        node = await follower_of(cluster, other, NAMES.states_stream)
        bus = await connected_to(cluster, node, opened)
        cluster.freeze(node)
        try:
            (revision,) = await bus.update_states([StateEntry(job := record(), 0)])
            assert revision is not None
            done = job.but(state=JobState.DONE)
            written = await bus.update_state(done, revision)
        finally:
            cluster.thaw(node)
        # What the server had of us when it hung, it does before it does anything new.
        last = await connected_to(cluster, node, opened)
        await write_new(last, [record("other")])
        await cluster.settled(last, NAMES.states_stream)
        assert await other.get_state("b", job.job_id) == StateEntry(done, written)
