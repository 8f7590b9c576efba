"""One job on a worker: in which order it is settled, and what each fault leads to."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from docnats.config import ProcessingConfig
from docnats.errors import ErrorType, ObjectMissing, ParseError, StorageError
from docnats.models import JobMessage, JobRecord, JobState, utc_now
from docnats.names import raw_key, result_key, result_part
from docnats.parsing import PageError, RangeResult
from docnats.storage import StoredObject
from docnats.worker.job import Job, Tools
from docnats.worker.transfer import Transfer
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakePresignedHttp, FakeStorage

DOCUMENT = b"%PDF-1.7 a document"
JOB = "j1"


@dataclass
class ScriptedPool:
    """A parser pool that does what a test says; by default a document of two good pages."""

    act: Callable[[], Awaitable[RangeResult]] | None = None
    processes: int = 2
    calls: list[Any] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, function: Callable[..., Any], *args: Any, timeout: float) -> RangeResult:
        self.calls.append((function.__name__, *args))
        self.called.set()
        out_dir = Path(args[1])
        for name in ("pages", "words"):
            (out_dir / f"{name}.parquet").write_bytes(name.encode())
        return await self.act() if self.act else pages(2)


def pages(count: int, *failed: int) -> RangeResult:
    errors = tuple(PageError(page_no, "broken") for page_no in failed)
    return RangeResult(count, 1, count, words=9, metadata={"title": "T"}, page_errors=errors)


class World:
    """A worker's surroundings with one job on the queue."""

    def __init__(self, pool: ScriptedPool | None = None, **message: Any) -> None:
        self.bus = FakeBus(ack_wait=30)
        self.storage = FakeStorage()
        self.pool = pool or ScriptedPool()
        self.message = JobMessage.model_validate(
            {
                "request_id": JOB,
                "batch": "b",
                "s3_bucket": "documents",
                "s3_key": raw_key(JOB),
                "timestamp": utc_now(),
                "file_size": len(DOCUMENT),
                "processing_timeout": 60,
                "filename": "a.pdf",
                **message,
            }
        )

    async def submit(self, state: JobState = JobState.QUEUED, **record: Any) -> None:
        await self.storage.ensure_bucket()
        await self.storage.put_bytes(raw_key(JOB), DOCUMENT)
        await self.bus.put_states(
            [
                JobRecord(
                    job_id=JOB,
                    batch="b",
                    filename="a.pdf",
                    state=state,
                    s3_bucket="documents",
                    s3_key=raw_key(JOB),
                    submitted_at=utc_now(),
                    **record,
                )
            ]
        )
        await self.bus.publish([self.message])

    async def lease(self, *, own_credentials: bool = True) -> Job:
        (lease,) = await self.bus.pull(1, 5)
        http: Any = FakePresignedHttp(self.storage)
        pool: Any = self.pool
        tools = Tools(
            worker="host-1-ab",
            bus=self.bus,
            transfer=Transfer(self.storage, http, own_credentials=own_credentials),
            pool=pool,
            config=ProcessingConfig(),
            max_deliver=3,
            lease_seconds=30,
        )
        return Job(lease, tools)

    async def work(self) -> JobRecord:
        await (await self.lease()).work()
        return self.record

    @property
    def record(self) -> JobRecord:
        return self.bus.records["b", JOB].record

    @property
    def queued(self) -> bool:
        return ("b", JOB) in self.bus.queue


async def hang() -> RangeResult:
    await asyncio.Event().wait()
    raise AssertionError("never reached")


def raising(error: Exception) -> Callable[[], Awaitable[RangeResult]]:
    async def act() -> RangeResult:
        raise error

    return act


async def test_a_good_document_ends_done_with_three_result_objects() -> None:
    world = World()
    await world.submit()
    record = await world.work()
    assert (record.state, record.pages, record.pages_failed) == (JobState.DONE, 2, 0)
    assert (record.attempt, record.worker) == (1, "host-1-ab")
    assert record.result_key == result_key(JOB)
    assert record.sha256 == hashlib.sha256(DOCUMENT).hexdigest()
    assert await world.storage.get_bytes(result_part(JOB, "words.parquet")) == b"words"
    document = json.loads(await world.storage.get_bytes(result_part(JOB, "document.json")))
    assert document["metadata"] == {"title": "T"}
    assert set(document["timings"]) == {"download_seconds", "parse_seconds"}
    assert not world.queued


async def test_the_result_is_written_before_the_state_and_acked_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.submit()
    order: list[str] = []
    put, update = world.storage.put_bytes, world.bus.update_state

    async def put_bytes(key: str, data: bytes) -> StoredObject:
        order.append("result")
        return await put(key, data)

    async def update_state(record: JobRecord, revision: int) -> int:
        order.append(record.state.value)
        assert world.queued
        return await update(record, revision)

    monkeypatch.setattr(world.storage, "put_bytes", put_bytes)
    monkeypatch.setattr(world.bus, "update_state", update_state)
    await world.work()
    assert order == ["running", "result", "result", "result", "done"]
    assert not world.queued


async def test_a_job_that_has_ended_is_only_acked() -> None:
    world = World()
    await world.submit(JobState.CANCELLED)
    assert (await world.work()).state is JobState.CANCELLED
    assert world.pool.calls == []
    assert not world.queued


async def test_a_job_without_a_record_gets_one() -> None:
    """Another program put it on the bus."""
    world = World()
    await world.submit()
    world.bus.records.clear()
    assert (await world.work()).state is JobState.DONE


@pytest.mark.parametrize(
    ("act", "error_type", "words"),
    [
        (raising(ParseError(ErrorType.ENCRYPTED, "needs a password")), "encrypted", "password"),
        (raising(ParseError(ErrorType.CRASHED, "died of SIGSEGV")), "crashed", "SIGSEGV"),
        (raising(ZeroDivisionError("oops")), "internal", "ZeroDivisionError: oops"),
        (hang, "timeout", "limit of 0.05 s"),
    ],
)
async def test_a_document_that_cannot_be_parsed_is_a_failed_row(
    act: Callable[[], Awaitable[RangeResult]], error_type: str, words: str
) -> None:
    world = World(ScriptedPool(act), processing_timeout=0.05)
    await world.submit()
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, error_type)
    assert words in (record.error or "")
    assert record.finished_at is not None
    assert not world.queued


async def test_some_bad_pages_do_not_fail_a_document() -> None:
    async def act() -> RangeResult:
        return pages(3, 2)

    world = World(ScriptedPool(act))
    await world.submit()
    record = await world.work()
    assert (record.state, record.pages, record.pages_failed) == (JobState.DONE, 3, 1)
    document = json.loads(await world.storage.get_bytes(result_part(JOB, "document.json")))
    assert document["errors"] == [{"page_no": 2, "error": "broken"}]


async def test_a_document_of_bad_pages_only_is_malformed() -> None:
    async def act() -> RangeResult:
        return pages(2, 1, 2)

    world = World(ScriptedPool(act))
    await world.submit()
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.MALFORMED)


async def test_other_bytes_than_were_submitted_are_refused() -> None:
    world = World(sha256="0" * 64)
    await world.submit()
    record = await world.work()
    assert record.error_type is ErrorType.STORAGE
    assert "SHA-256" in (record.error or "")


async def test_a_missing_document_fails_at_once() -> None:
    world = World()
    await world.submit()
    await world.storage.delete([raw_key(JOB)])
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert not world.queued


async def test_a_passing_fault_of_storage_is_tried_again_and_fails_at_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.submit()

    async def get_file(key: str, path: Path, *, bucket: str | None = None) -> StoredObject:
        raise StorageError("S3 answered 503", transient=True)

    monkeypatch.setattr(world.storage, "get_file", get_file)
    for attempt in (1, 2):
        record = await world.work()
        assert (record.state, record.attempt) == (JobState.RUNNING, attempt)
        assert world.queued
        world.bus.expire_leases()
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert "503" in (record.error or "")
    assert not world.queued


async def test_a_job_that_killed_its_workers_is_given_up_unparsed() -> None:
    world = World()
    await world.submit()
    for _ in range(3):
        await world.bus.pull(1, 5)
        world.bus.expire_leases()
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.CRASHED)
    assert world.pool.calls == []
    assert not world.queued


async def test_a_worker_that_lost_its_lease_neither_writes_nor_acks() -> None:
    """The next worker has it by then: its record stands, the message is its to ack."""
    world = World()
    await world.submit()

    async def lose_the_lease() -> RangeResult:
        entry = world.bus.records["b", JOB]
        taken = entry.record.but(attempt=2, worker="host-2-cd")
        await world.bus.update_state(taken, entry.revision)
        return pages(2)

    world.pool.act = lose_the_lease
    record = await world.work()
    assert (record.state, record.worker, record.attempt) == (JobState.RUNNING, "host-2-cd", 2)
    assert world.queued


async def test_a_delivery_from_before_the_current_attempt_is_ignored() -> None:
    world = World()
    await world.submit(JobState.RUNNING, attempt=5, worker="host-2-cd")
    record = await world.work()
    assert (record.attempt, record.worker) == (5, "host-2-cd")
    assert world.pool.calls == []


async def test_a_cancelled_job_stops_and_leaves_the_queue() -> None:
    world = World(ScriptedPool(hang))
    await world.submit()
    job = await world.lease()
    working = asyncio.create_task(job.work())
    await world.pool.called.wait()
    entry = world.bus.records["b", JOB]
    await world.bus.update_state(entry.record.but(state=JobState.CANCELLED), entry.revision)
    job.cancel()
    await working
    assert world.record.state is JobState.CANCELLED
    assert not world.queued


async def test_a_job_that_is_handed_back_can_be_taken_at_once() -> None:
    """A draining worker cancels its task; another worker need not wait for the lease."""
    world = World(ScriptedPool(hang))
    await world.submit()
    working = asyncio.create_task((await world.lease()).work())
    await world.pool.called.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    world.pool.act = None
    record = await world.work()
    assert (record.state, record.attempt) == (JobState.DONE, 2)


async def test_the_password_reaches_the_parser_and_nothing_else() -> None:
    world = World(options={"password": "open sesame"})
    await world.submit()
    record = await world.work()
    assert any(getattr(arg, "password", None) == "open sesame" for arg in world.pool.calls[0])
    assert "sesame" not in record.model_dump_json()
    document = await world.storage.get_bytes(result_part(JOB, "document.json"))
    assert b"sesame" not in document


async def test_a_worker_without_credentials_needs_presigned_urls() -> None:
    world = World()
    await world.submit()
    await (await world.lease(own_credentials=False)).work()
    assert world.record.error_type is ErrorType.STORAGE
    assert "presign" in (world.record.error or "")


def test_a_missing_object_is_no_passing_fault() -> None:
    assert not ObjectMissing("gone").transient
