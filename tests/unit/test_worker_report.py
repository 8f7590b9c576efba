"""What a worker serves by HTTP, and when it says that it is ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from docnats.config import TelemetryConfig
from docnats.errors import BusError, StorageError
from docnats.models import JobMessage, WorkerInfo, utc_now
from docnats.telemetry import WorkerObserver
from docnats.worker import report as report_module
from docnats.worker.report import Report
from tests import web
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage

WORKER = "host-1-ab"


@dataclass
class Reported:
    """A worker, as far as it is reported on."""

    at_work: int = 0
    draining: bool = False


class World:
    """A worker's surroundings, and what its endpoint says."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.bus = FakeBus()
        self.storage = FakeStorage()
        self.worker = Reported()

    def begin(self, *, credentials: bool = True) -> None:
        self.report.begin(self.worker, 3, self.bus, self.storage if credentials else None)

    async def announce(self) -> None:
        await self.bus.announce(
            WorkerInfo(
                worker=WORKER,
                host="host",
                pid=1,
                parsers=3,
                processors=(),
                version="1",
                started_at=utc_now(),
            )
        )

    async def get(self, path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(web.get, f"{self.report.url}{path}")

    async def ready(self) -> tuple[int, dict[str, Any]]:
        status, body = await self.get("/readyz")
        told = json.loads(body)
        assert told["healthy"] is (status == 200)
        return status, {part["name"]: part for part in told["parts"]}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with Report(WORKER, TelemetryConfig(metrics_port=0)) as report:
        world = World(report)
        await world.storage.ensure_bucket()
        yield world


async def test_a_worker_without_a_port_serves_and_counts_nothing() -> None:
    async with Report(WORKER, TelemetryConfig()) as report:
        assert type(report.observer) is WorkerObserver
        assert report.url is None


async def test_a_worker_is_ready_when_it_can_do_its_work(world: World) -> None:
    assert (await world.get("/healthz"))[0] == 200
    status, parts = await world.ready()
    assert (status, parts["worker"]["detail"]) == (503, "it is starting")
    await world.announce()
    world.begin()
    status, parts = await world.ready()
    assert (status, set(parts)) == (200, {"worker", "s3", "nats"})
    assert parts["worker"]["detail"] == f"{WORKER} is one of 1 live workers"
    world.worker.draining = True
    status, parts = await world.ready()
    assert (status, parts["worker"]["detail"]) == (503, "it was told to stop")


async def test_a_worker_that_the_registry_has_forgotten_is_not_ready(world: World) -> None:
    world.begin()
    status, parts = await world.ready()
    assert (status, parts["worker"]["healthy"], parts["s3"]["healthy"]) == (503, False, True)


async def test_a_worker_without_credentials_does_not_ask_s3(world: World) -> None:
    await world.announce()
    world.begin(credentials=False)
    status, parts = await world.ready()
    assert status == 200
    assert parts["s3"]["detail"].startswith("not checked")


async def test_a_server_that_is_away_or_hangs_is_named_with_its_part(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: str, data: bytes) -> None:
        raise StorageError("nothing listens there", transient=True)

    async def hang() -> float:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(report_module, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(world.storage, "put_bytes", away)
    monkeypatch.setattr(world.bus, "round_trip", hang)
    await world.announce()
    world.begin()
    status, parts = await world.ready()
    assert status == 503
    assert parts["s3"]["detail"] == "nothing listens there"
    assert parts["nats"]["detail"] == "no answer within 0.05 s"
    assert parts["worker"]["healthy"]


async def test_who_asks_often_makes_no_more_checks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    round_trip = world.bus.round_trip

    async def counted() -> float:
        asked.append(1)
        return await round_trip()

    monkeypatch.setattr(world.bus, "round_trip", counted)
    await world.announce()
    world.begin()
    assert [await world.ready() for _ in range(3)] == 3 * [await world.ready()]
    assert len(asked) == 1


def message(job_id: str) -> JobMessage:
    return JobMessage(
        request_id=job_id,
        batch="b",
        s3_bucket="documents",
        s3_key=f"raw/{job_id}.pdf",
        timestamp=utc_now(),
        file_size=1,
        processing_timeout=60,
        filename="a.pdf",
    )


async def test_the_metrics_show_the_queue_and_the_worker(world: World) -> None:
    status, body = await world.get("/metrics")
    assert (status, b"docnats_dead_letters NaN" in body) == (200, True)
    await world.bus.publish([message("j1"), message("j2")])
    await world.bus.pull(1, 5)
    world.worker.at_work = 1
    world.begin()
    lines = (await world.get("/metrics"))[1].decode().splitlines()
    assert 'docnats_queue_jobs{state="waiting"} 1.0' in lines
    assert 'docnats_queue_jobs{state="leased"} 1.0' in lines
    assert "docnats_dead_letters 0.0" in lines
    assert "docnats_jobs_at_work 1.0" in lines
    assert "docnats_parsers 3.0" in lines


async def test_metrics_are_served_while_nats_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise BusError("the connection was lost")

    monkeypatch.setattr(world.bus, "backlog", away)
    world.bus.outage = 12.5
    world.begin()
    lines = (await world.get("/metrics"))[1].decode().splitlines()
    assert "docnats_dead_letters NaN" in lines
    assert "docnats_nats_outage_seconds 12.5" in lines
