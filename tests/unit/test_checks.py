"""What a check of an installation says of what it finds."""

from __future__ import annotations

import asyncio

import pytest

from docnats.checks import check_bus, check_storage, check_workers, examine
from docnats.errors import BusError, DocnatsError, StackError
from docnats.models import WorkerInfo, utc_now
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage


@pytest.fixture
async def storage() -> FakeStorage:
    storage = FakeStorage()
    await storage.ensure_bucket()
    return storage


def worker(name: str, parsers: int) -> WorkerInfo:
    return WorkerInfo(
        worker=name,
        host="h",
        pid=1,
        parsers=parsers,
        processors=(),
        version="1",
        started_at=utc_now(),
    )


async def test_storage_is_written_read_and_left_clean(storage: FakeStorage) -> None:
    assert "put, get and delete work" in await check_storage(storage)
    assert [stored async for stored in storage.list("")] == []


async def test_storage_that_gives_back_other_bytes_is_not_healthy(
    storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def other(key: str) -> bytes:
        return b"other"

    monkeypatch.setattr(storage, "get_bytes", other)
    with pytest.raises(DocnatsError, match="other bytes"):
        await check_storage(storage)


async def test_nats_tells_how_much_there_is_to_do() -> None:
    assert "0 jobs queued, 0 with workers, 0 dead letters" in await check_bus(FakeBus())


async def test_workers_are_counted_with_their_parsers() -> None:
    bus = FakeBus()
    with pytest.raises(StackError, match="docnats worker"):
        await check_workers(bus)
    await bus.announce(worker("a", 1))
    assert await check_workers(bus) == "1 live, 1 parser process"
    await bus.announce(worker("b", 4))
    assert await check_workers(bus) == "2 live, 5 parser processes"


async def test_a_worker_that_appears_in_time_is_waited_for() -> None:
    bus = FakeBus()
    checking = asyncio.create_task(check_workers(bus, wait=20))
    await asyncio.sleep(0)
    await bus.announce(worker("a", 1))
    assert await checking == "1 live, 1 parser process"


async def test_a_part_is_what_its_check_says() -> None:
    async def well() -> str:
        return "fine"

    async def ill() -> str:
        raise BusError("gone")

    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    parts = [
        await examine("a", well()),
        await examine("b", ill()),
        await examine("c", hang(), limit=0.05),
    ]
    told = [(part.name, part.healthy, part.detail) for part in parts]
    assert told == [
        ("a", True, "fine"),
        ("b", False, "gone"),
        ("c", False, "no answer within 0.05 s"),
    ]
    assert parts[2].seconds >= 0.05


async def test_a_fault_of_docnats_itself_is_not_taken_for_an_ill_part() -> None:
    async def broken() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await examine("x", broken())
