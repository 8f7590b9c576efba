"""Messages that no worker can settle, on real servers: to the dead letters, and back."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from operator import not_
from typing import Any, TypeVar

import pytest

import docnats
from docnats.bus import Bus, NatsBus
from docnats.errors import ErrorType, SourceError
from docnats.models import DeadLetterKind, JobRecord, JobState
from docnats.notebook import close_session
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from tests.pdfs import text_pdf
from tests.ports.test_bus import message
from tests.waiting import eventually, until

T = TypeVar("T")

PASSWORD = "geheim"  # noqa: S105 - of nothing
LIMIT = 90
FLIPS = 150
"""Spoilt messages of the fuzz on a real stack; tests/unit/test_spoilt_messages.py has more."""


@pytest.fixture
def lonely_stack(
    start_stack: Callable[..., LocalStack], monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalStack]:
    """Yield a stack that has no worker yet and delivers a job seldom; the environment names it."""
    monkeypatch.setenv("DOCNATS_MAX_DELIVER", "1")
    stack = start_stack(workers=0, ack_wait=2)
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    yield stack
    close_session()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from a blocking test."""
    with ThreadPoolExecutor(1) as thread:  # the test's own thread may have a loop
        return thread.submit(asyncio.run, work).result()


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "docnats", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


async def publish(bus: Bus, job: tuple[str, str], data: bytes) -> None:
    """Put anything on the queue, as any program may."""
    assert isinstance(bus, NatsBus)
    await bus._connection.ask(bus._names.job_subject(*job), data)


async def exhaust(bus: Bus) -> None:
    """Take the jobs on the queue until they are not delivered any more."""
    while leases := await bus.pull(100, 0.5):
        for lease in leases:
            await lease.release()


async def submitted(service: S3DocumentService, *names: str) -> list[JobRecord]:
    """Submit documents and return their rows once all are on the queue."""
    batch = await service.submit({name: text_pdf(1) for name in names})
    await until(
        partial(service.bus.queued, batch.id), lambda keys: len(keys) == len(names), within=LIMIT
    )
    rows: list[JobRecord] = await until(
        partial(service.jobs, batch.id),
        lambda rows: {row.state for row in rows} == {JobState.QUEUED},
        within=LIMIT,
    )
    return rows


async def test_what_no_worker_can_settle_ends_as_failed_rows_and_runs_again_on_request(
    lonely_stack: LocalStack,
) -> None:
    async with S3DocumentService(lonely_stack.s3, lonely_stack.nats) as service:
        bus = service.bus
        (unlucky,) = await submitted(service, "unlucky.pdf")
        await exhaust(bus)
        spoilt = await submitted(service, "bytes.pdf", "newer.pdf", "other.pdf")
        newer = message(request_id=spoilt[1].job_id, batch=spoilt[1].batch, schema_version=99)
        bodies = [b"\x00\xff", newer.to_json(), message().to_json()]
        await bus.drop_queued(spoilt[0].batch)
        for row, body in zip(spoilt, bodies, strict=True):
            await publish(bus, (row.batch, row.job_id), body)
        lonely_stack.add_worker()
        keys = [(row.batch, row.job_id) for row in (unlucky, *spoilt)]
        ended = (await (await service.select(keys)).follow(timeout=LIMIT)).records()
        letters = {letter.job: letter for letter in await service.dead_letters()}
        assert set(letters) == set(keys)
        assert [letters[key].kind for key in keys] == [
            DeadLetterKind.MAX_DELIVERIES,
            DeadLetterKind.UNDECODABLE,
            DeadLetterKind.SCHEMA,
            DeadLetterKind.MISPLACED,
        ]
        rows = {(row.batch, row.job_id): row for row in ended}
        assert [rows[key].error_type for key in keys] == [
            ErrorType.CRASHED,
            *[ErrorType.UNREADABLE] * 3,
        ]
        assert all(rows[key].error == letters[key].reason for key in keys)
        await until(bus.queued, not_, within=LIMIT)  # the row ends before its message goes
        (nats,) = [part for part in (await service.health_check()).parts if part.name == "nats"]
        assert "4 dead letters" in nats.detail

        done = await service.requeue(letter.id for letter in letters.values())
        (again,) = (await done.batch.follow(timeout=LIMIT)).records()
        assert (again.state, again.s3_key) == (JobState.DONE, unlucky.s3_key)
        assert set(done.refused) == {letters[key].id for key in keys[1:]}
        left = await service.dead_letters()
        assert {letter.job for letter in left} == set(keys[1:])


def test_dead_letters_in_a_notebook_and_in_the_shell(lonely_stack: LocalStack) -> None:
    sources = {"a.pdf": text_pdf(1), "b.pdf": text_pdf(2)}
    jobs = docnats.submit_many(sources, password=PASSWORD, wait=False, progress="none")

    async def break_things() -> None:
        async with NatsBus(lonely_stack.nats) as bus:
            await exhaust(bus)
            await publish(bus, ("foreign", "j"), b'{"filename": "c.pdf"}')

    async def queued() -> int:
        async with NatsBus(lonely_stack.nats) as bus:
            return (await bus.backlog()).pending

    eventually(lambda: run(queued()) == len(jobs))
    run(break_things())
    lonely_stack.add_worker()
    eventually(lambda: len(docnats.dead_letters()) == 3, within=LIMIT)
    letters = docnats.dead_letters()
    assert set(letters.filename) == {"a.pdf", "b.pdf", "c.pdf"}
    assert jobs.docnats.refresh().error_type.tolist() == ["crashed"] * 2
    assert docnats.jobs("foreign").error_type.tolist() == ["unreadable"]

    listed = shell("dead-letters", "--json")
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == letters.id.tolist()
    assert PASSWORD not in listed.stdout + shell("dead-letters").stdout
    first = letters[letters.filename == "a.pdf"]
    again = docnats.requeue(first, progress="none")
    assert (again.filename[0], again.state[0]) == ("a.pdf", "done")
    rest = shell("requeue", "--all", "--json")
    assert rest.returncode == 1
    assert "was not requeued" in rest.stderr
    (row,) = [json.loads(line) for line in rest.stdout.splitlines()]
    assert (row["filename"], row["state"], row["pages"]) == ("b.pdf", "done", 2)
    with pytest.raises(SourceError, match="Field required"):
        docnats.requeue(docnats.dead_letters(), progress="none")
    assert shell("requeue").returncode == 2
    assert docnats.dead_letters().filename.tolist() == ["c.pdf"]


async def test_every_spoilt_message_ends_as_a_row_and_harms_no_other_job(
    lonely_stack: LocalStack,
) -> None:
    """A few hundred flipped bytes in real messages, among good ones."""
    chance = random.Random(4)  # noqa: S311 - reproducible, not secret
    async with S3DocumentService(lonely_stack.s3, lonely_stack.nats) as service:
        bus = service.bus
        good = await submitted(service, "good.pdf", "fine.pdf")
        spoilt = []
        for _ in range(FLIPS):
            sent = message(batch="fuzz", s3_bucket=good[0].s3_bucket, processing_timeout=30)
            body = bytearray(sent.to_json())
            for _ in range(chance.randint(1, 3)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            await publish(bus, ("fuzz", sent.request_id), bytes(body))
            spoilt.append(("fuzz", sent.request_id))
        lonely_stack.add_worker()
        ended = {}
        async with asyncio.timeout(LIMIT), aclosing(bus.watch("fuzz")) as entries:
            async for entry in entries:
                if entry is not None and entry.record.terminal:
                    ended[entry.record.job_id] = entry.record
                if len(ended) == len(spoilt):
                    break
        assert {row.state for row in ended.values()} == {JobState.FAILED}, "no document was there"
        assert {row.error_type for row in ended.values()} >= {ErrorType.UNREADABLE}
        jobs = (await (await service.attach(good[0].batch)).follow(timeout=LIMIT)).records()
        assert {job.state for job in jobs} == {JobState.DONE}
        unreadable = {k for k, row in ended.items() if row.error_type is ErrorType.UNREADABLE}
        letters = {letter.job[1]: letter.kind for letter in await bus.dead_letters() if letter.job}
        forbidden = {k for k, kind in letters.items() if kind == DeadLetterKind.FORBIDDEN}
        assert letters.keys() - forbidden == unreadable
        assert {ended[k].error_type for k in forbidden} <= {ErrorType.STORAGE}, "another bucket"
        assert not await bus.queued()
