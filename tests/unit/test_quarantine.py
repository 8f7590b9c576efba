"""What workers remember of documents that kill the parser, and tell each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from docnats.errors import BusError, ErrorType, ParseError
from docnats.models import JobMessage, Poison, utc_now
from docnats.processors import processor as processor_module
from docnats.worker import quarantine as quarantine_module
from docnats.worker.quarantine import Quarantine
from tests.fakes.bus import FakeBus
from tests.unit.test_job import until

GIB = 1 << 30
SHA256 = "ab" * 32
HUGE = ParseError(ErrorType.OUT_OF_MEMORY, "needs more than 2,048 MiB")
CRASH = ParseError(ErrorType.CRASHED, "died of SIGSEGV")


def message(request_id: str = "j1", **changes: Any) -> JobMessage:
    return JobMessage(
        request_id=request_id,
        batch="b",
        s3_bucket="documents",
        s3_key="raw/j1.pdf",
        timestamp=utc_now(),
        file_size=1,
        processing_timeout=60,
        filename="a.pdf",
        sha256=SHA256,
    ).but(**changes)


@asynccontextmanager
async def following(bus: FakeBus, memory_limit: int = 2 * GIB) -> AsyncIterator[Quarantine]:
    """Yield what one worker knows, kept up to date."""
    quarantine = Quarantine(bus, memory_limit)
    task = asyncio.create_task(quarantine.follow())
    async with asyncio.timeout(20):
        await quarantine.loaded()
    yield quarantine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def refused(quarantine: Quarantine, **changes: Any) -> bool:
    try:
        quarantine.check(message("j2", **changes), SHA256)
    except ParseError:
        return True
    return False


async def test_what_one_worker_finds_out_all_know_also_those_that_come_later() -> None:
    bus = FakeBus()
    async with following(bus) as one, following(bus) as other:
        await one.add(message(), SHA256, CRASH)
        assert refused(one)
        await until(lambda: refused(other))
        async with following(bus) as late:
            assert refused(late)
            await late.remove(message(), SHA256)
            assert not refused(late)
            await until(lambda: not refused(one) and not refused(other))


async def test_a_worker_with_more_memory_tries_what_took_too_much() -> None:
    bus = FakeBus()
    async with following(bus) as small:
        await small.add(message(), SHA256, HUGE)
        assert refused(small)
        assert refused(small, processing_timeout=3600)
    async with following(bus, 3 * GIB) as large:
        assert not refused(large)
        await large.add(message("j3"), SHA256, CRASH)
        assert refused(large)


async def test_what_a_processor_asks_for_is_there_on_every_worker() -> None:
    bus, models = FakeBus(), {"processor": "docling"}
    async with following(bus) as small:
        await small.add(message(**models), SHA256, HUGE)
    async with following(bus, 3 * GIB) as large:
        assert refused(large, **models)
    async with following(bus, 9 * GIB) as larger:
        assert not refused(larger, **models)


async def test_a_new_version_of_the_parser_tries_everything_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with following(FakeBus()) as quarantine:
        await quarantine.add(message(), SHA256, CRASH)
        monkeypatch.setattr(processor_module, "package_version", lambda package: "99.0")
        assert not refused(quarantine)


async def test_no_password_is_told_from_another_but_from_none() -> None:
    async with following(bus := FakeBus()) as quarantine:
        await quarantine.add(message(options={"password": "sesame"}), SHA256, CRASH)
        assert refused(quarantine, options={"password": "another"})
        assert not refused(quarantine)
        assert not refused(quarantine, options={"password": "sesame", "n": 1})
        ((key, poison),) = bus.poison.items()
        assert "sesame" not in key + poison.model_dump_json()


async def test_the_refusal_says_since_when_and_what_to_do() -> None:
    async with following(FakeBus()) as quarantine:
        await quarantine.add(message(), SHA256, CRASH)
        with pytest.raises(ParseError) as refusal:
            quarantine.check(message("j2"), SHA256)
    assert refusal.value.error_type is ErrorType.CRASHED
    for words in (f"{utc_now():%Y-%m-%d}", "job j1", "died of SIGSEGV", "force=True"):
        assert words in str(refusal.value)


async def test_a_note_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with following(bus := FakeBus()) as quarantine:

        async def refuse(*args: object) -> None:
            raise BusError("away")

        monkeypatch.setattr(bus, "put_poison", refuse)
        monkeypatch.setattr(bus, "remove_poison", refuse)
        await quarantine.add(message(), SHA256, CRASH)
        assert refused(quarantine)
        await quarantine.remove(message(), SHA256)
        assert not refused(quarantine)


async def test_a_worker_holds_as_many_notes_as_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_module, "MAX_POISON", 2)
    async with following(bus := FakeBus()) as quarantine:
        for i in range(4):
            await quarantine.add(message(), f"{i}" * 64, CRASH)
        poison = Poison.from_json(next(iter(bus.poison.values())).to_json())
        await bus.put_poison("other", poison)
        await until(lambda: "other" in quarantine._known)
        assert len(quarantine._known) == 2
