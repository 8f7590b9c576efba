"""What is done about workers that stall, are too few or too many; with real processes."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from docnats.config import NatsConfig, S3Config
from docnats.errors import StackError
from docnats.models import JobMessage, WorkerInfo, utc_now
from docnats.stack.client import ProcessStatus, Supervisor
from docnats.stack.scaling import LOOKS_BACK, Target
from docnats.stack.watch import STALLED_LOOKS, Inspection, Watch
from docnats.stack.workers import Workers, workers_of
from tests.fakes.bus import FakeBus
from tests.waiting import eventually


@pytest.fixture
def other(supervisor: Supervisor) -> Iterator[Supervisor]:
    """Another user of the same stack."""
    other = Supervisor(supervisor.address)
    yield other
    other.close()


@pytest.fixture
def workers(supervisor: Supervisor) -> Workers:
    """Workers that do nothing; the tests report in their place."""
    elsewhere = S3Config(endpoint_url="http://127.0.0.1:9"), NatsConfig()
    return Workers(supervisor, *elsewhere, ("sleep", "1000"), {"PATH": os.defpath})


def kept(supervisor: Supervisor) -> list[ProcessStatus]:
    return workers_of(supervisor.processes())


def names(supervisor: Supervisor) -> list[str]:
    return [process.name for process in kept(supervisor)]


async def report(
    bus: FakeBus, process: ProcessStatus, *jobs: str, host: str = platform.node()
) -> None:
    await bus.announce(
        WorkerInfo(
            worker=f"{host}-{process.pid}",
            host=host,
            pid=process.pid,
            parsers=1,
            processors=("docling-parse",),
            jobs=jobs,
            version="1",
            started_at=utc_now(),
        )
    )


async def enqueue(bus: FakeBus, count: int) -> None:
    await bus.publish(
        JobMessage(
            request_id=f"job-{number}",
            batch="b",
            filename=f"{number}.pdf",
            s3_bucket="documents",
            s3_key=f"raw/job-{number}.pdf",
            timestamp=utc_now(),
            file_size=1,
            processing_timeout=1,
        )
        for number in range(count)
    )


class TestStalled:
    async def test_a_worker_that_stopped_to_report_is_replaced(
        self, supervisor: Supervisor, workers: Workers, bus: FakeBus
    ) -> None:
        """A stopped process does not even notice SIGTERM."""
        inspection = Inspection(supervisor, workers, None)
        workers.fill(2)
        first, second = kept(supervisor)
        for process in (first, second):
            await report(bus, process)
        await inspection.look(bus)
        supervisor.kill(first.name, signal.SIGSTOP)
        await bus.withdraw(f"{platform.node()}-{first.pid}")
        for _ in range(STALLED_LOOKS):
            assert kept(supervisor)[0].pid == first.pid
            await inspection.look(bus)
        eventually(lambda: supervisor.process(first.name).restarts == 1)
        replaced, other = kept(supervisor)
        assert replaced.pid != first.pid
        assert (other.pid, other.restarts) == (second.pid, 0)

    async def test_one_that_reports_again_in_time_stays(
        self, supervisor: Supervisor, workers: Workers, bus: FakeBus
    ) -> None:
        inspection = Inspection(supervisor, workers, None)
        workers.fill(1)
        (process,) = kept(supervisor)
        for _ in range(2 * STALLED_LOOKS):
            await report(bus, process)
            await inspection.look(bus)
            await bus.withdraw(f"{platform.node()}-{process.pid}")
            for _ in range(STALLED_LOOKS - 1):
                await inspection.look(bus)
        assert [p.pid for p in kept(supervisor)] == [process.pid]

    async def test_looks_before_an_outage_do_not_count(
        self, supervisor: Supervisor, workers: Workers, bus: FakeBus
    ) -> None:
        inspection = Inspection(supervisor, workers, None)
        workers.fill(1)
        (process,) = kept(supervisor)
        await report(bus, process)
        await inspection.look(bus)
        await bus.withdraw(f"{platform.node()}-{process.pid}")
        for _ in range(3):
            for _ in range(STALLED_LOOKS - 1):
                await inspection.look(bus)
            inspection.forget()
        assert [p.pid for p in kept(supervisor)] == [process.pid]

    @pytest.mark.parametrize("host", [None, "far-away"])
    async def test_one_that_never_reported_is_given_its_time_to_start(
        self, supervisor: Supervisor, workers: Workers, bus: FakeBus, host: str | None
    ) -> None:
        """A process of that id on another machine is another one."""
        inspection = Inspection(supervisor, workers, None)
        workers.fill(1)
        (process,) = kept(supervisor)
        if host:
            await report(bus, process, host=host)
            await inspection.look(bus)
            await bus.withdraw(f"{host}-{process.pid}")
        for _ in range(2 * STALLED_LOOKS):
            await inspection.look(bus)
        assert [p.pid for p in kept(supervisor)] == [process.pid]


class TestScaling:
    async def test_workers_come_with_the_backlog_and_go_when_it_is_gone(
        self, supervisor: Supervisor, workers: Workers, bus: FakeBus
    ) -> None:
        supervisor.wish(1, scales=True)
        inspection = Inspection(supervisor, workers, Target(1, most=3))
        await enqueue(bus, 5)
        await inspection.look(bus)
        assert names(supervisor) == ["worker-1", "worker-2", "worker-3"]
        await bus.drop_queued("b")
        for process in kept(supervisor):
            await report(bus, process)
        for _ in range(LOOKS_BACK):
            await inspection.look(bus)
        eventually(lambda: names(supervisor) == ["worker-1"])
        assert all(p.stopped and not p.failed for p in supervisor.processes()[1:])

    async def test_no_worker_is_taken_from_its_job(
        self, supervisor: Supervisor, workers: Workers, bus: FakeBus
    ) -> None:
        """One job is left, and it is the last worker that has it."""
        supervisor.wish(1, scales=True)
        inspection = Inspection(supervisor, workers, Target(1, most=3))
        await enqueue(bus, 3)
        await inspection.look(bus)
        first, second, third = kept(supervisor)
        for process, jobs in ((first, ()), (second, ()), (third, ("job-0",))):
            await report(bus, process, *jobs)
        await bus.drop_queued("b", ["job-1", "job-2"])
        for _ in range(LOOKS_BACK):
            await inspection.look(bus)
        eventually(lambda: names(supervisor) == ["worker-3"])

    async def test_of_two_users_that_scale_one_stack_one_does(
        self, supervisor: Supervisor, other: Supervisor, workers: Workers, bus: FakeBus
    ) -> None:
        for user in (supervisor, other):
            user.wish(1, scales=True)
        await enqueue(bus, 9)
        await Inspection(other, workers, Target(1, most=5)).look(bus)
        assert names(supervisor) == []
        await Inspection(supervisor, workers, Target(1, most=2)).look(bus)
        assert len(names(supervisor)) == 2

    async def test_the_workers_that_another_user_needs_are_not_stopped(
        self, supervisor: Supervisor, other: Supervisor, workers: Workers, bus: FakeBus
    ) -> None:
        supervisor.wish(1, scales=True)
        other.wish(2, scales=False)
        inspection = Inspection(supervisor, workers, Target(1, most=4))
        await enqueue(bus, 4)
        await inspection.look(bus)
        await bus.drop_queued("b")
        for process in kept(supervisor):
            await report(bus, process)
        for _ in range(LOOKS_BACK + 2):
            await inspection.look(bus)
        assert names(supervisor) == ["worker-1", "worker-2"]


class TestWatch:
    def test_it_ends_when_it_is_stopped(self, supervisor: Supervisor, workers: Workers) -> None:
        """Also while it tries to reach a server that is not there."""
        nowhere = NatsConfig(servers="nats://127.0.0.1:9")
        watch = Watch(Inspection(supervisor, workers, None), nowhere)
        watch.stop()
        assert not watch._thread.is_alive()
        watch.stop()

    def test_it_ends_with_the_stack(
        self, tmp_path: Path, nats_config: NatsConfig, workers: Workers
    ) -> None:
        supervisor = Supervisor.launch(tmp_path)
        supervisor.close()
        with pytest.raises(StackError):
            supervisor.status()
        watch = Watch(Inspection(supervisor, workers, None), nats_config)
        eventually(lambda: not watch._thread.is_alive())
        watch.stop()
