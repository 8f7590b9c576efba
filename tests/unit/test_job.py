"""One job on a worker: in which order it is settled, and what each fault leads to."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from docnats.bus import Lease, StateEntry
from docnats.config import ProcessingConfig, S3Config
from docnats.errors import BusError, ErrorType, ParseError, StorageError, Unsigned
from docnats.models import JobMessage, JobRecord, JobState, utc_now
from docnats.names import raw_key, result_key, result_part
from docnats.parsing import PageError, RangeResult
from docnats.storage import Allowlist, StoredObject
from docnats.telemetry import Tracing, WorkerObserver
from docnats.worker import job as job_module
from docnats.worker.job import Job
from docnats.worker.known import ResultNotes
from docnats.worker.processing import Tools
from docnats.worker.quarantine import Quarantine
from docnats.worker.retries import PATIENT_RETRIES, RETRIES, Pause
from docnats.worker.transfer import Transfer
from tests.fakes.bus import FakeBus, FakeLease
from tests.fakes.storage import FakePresignedHttp, FakeStorage
from tests.job_table import overwrite, write_new
from tests.waiting import until

DOCUMENT = b"%PDF-1.7 a document"
JOB, AGAIN = "j1", "j2"


@dataclass
class ScriptedPool:
    """A parser pool that does what a test says; by default a document of two good pages."""

    act: Callable[[], Awaitable[RangeResult]] | None = None
    processes: int = 2
    workspace: Path | None = None
    calls: list[Any] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(
        self, function: Callable[..., Any], *args: Any, timeout: float, memory: int = 0
    ) -> RangeResult:
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
        self.quarantine = Quarantine(self.bus, 2 << 30)
        self.notes = ResultNotes(self.bus)
        self.pause = Pause()
        self.observer = WorkerObserver()
        self.tracing = Tracing()
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
        job = JobRecord(
            job_id=JOB,
            batch="b",
            filename="a.pdf",
            state=state,
            s3_bucket="documents",
            s3_key=raw_key(JOB),
            submitted_at=utc_now(),
            **record,
        )
        await write_new(self.bus, [job])
        await self.bus.publish([self.message])

    async def pull(self) -> Lease:
        (lease,) = await self.bus.pull(1, 5)
        return lease

    async def lease(self, *, own_credentials: bool = True) -> Job:
        return Job(await self.pull(), self.tools(own_credentials=own_credentials))

    def tools(self, *, worker: str = "host-1-ab", own_credentials: bool = True) -> Tools:
        http: Any = FakePresignedHttp(self.storage)
        pool: Any = self.pool
        return Tools(
            worker=worker,
            bus=self.bus,
            transfer=Transfer(
                self.storage if own_credentials else None,
                http,
                self.bus,
                Allowlist(S3Config(endpoint_url="http://memory", bucket_name="documents")),
            ),
            pool=pool,
            quarantine=self.quarantine,
            notes=self.notes,
            pause=self.pause,
            config=ProcessingConfig(),
            max_deliver=3,
            lease_seconds=30,
            observer=self.observer,
            tracing=self.tracing,
        )

    async def work(self) -> JobRecord:
        await (await self.lease()).work()
        return self.record

    @property
    def record(self) -> JobRecord:
        return self.bus.records["b", JOB].record

    @property
    def queued(self) -> bool:
        return ("b", JOB) in self.bus.queue


async def take_over(world: World) -> None:
    """Let another worker begin the job."""
    entry = world.bus.records["b", JOB]
    taken = entry.record.but(attempt=entry.record.attempt + 1, worker="host-2-cd")
    await world.bus.update_state(taken, entry.revision)


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


async def test_a_job_without_trouble_costs_one_read_and_two_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is done against trouble is free without it."""
    world = World()
    await world.submit()
    asked: list[str] = []
    for name in ("get_state", "update_state", "put_poison", "remove_poison"):
        call = getattr(world.bus, name)

        async def counted(*args: Any, name: str = name, call: Any = call) -> Any:
            asked.append(name)
            return await call(*args)

        monkeypatch.setattr(world.bus, name, counted)
    assert (await world.work()).state is JobState.DONE
    assert asked == ["get_state", "update_state", "update_state"]


async def test_a_job_that_has_ended_is_only_acked() -> None:
    world = World()
    await world.submit(JobState.CANCELLED)
    assert (await world.work()).state is JobState.CANCELLED
    assert world.pool.calls == []
    assert not world.queued


async def test_a_job_whose_sender_was_slower_or_died_is_taken_from_uploading() -> None:
    world = World(sha256=hashlib.sha256(DOCUMENT).hexdigest())
    await world.submit(JobState.UPLOADING)
    record = await world.work()
    assert (record.state, record.attempt, record.bytes) == (JobState.DONE, 1, len(DOCUMENT))
    assert (record.sha256, record.queued_at is not None) == (world.message.sha256, True)
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


PASSING = [
    (StorageError("S3 answered 503", transient=True), "storage", "503"),
    (OSError(errno.ENOSPC, "no space"), "storage", "no space left on worker host-1-ab"),
    (ConnectionResetError("reset"), "storage", "reset"),
    (ParseError(ErrorType.OUT_OF_MEMORY, "killed", transient=True), "out_of_memory", "killed"),
]


@pytest.mark.parametrize(("fault", "error_type", "words"), PASSING)
async def test_a_passing_fault_goes_back_to_the_queue_and_says_why(
    fault: Exception, error_type: str, words: str
) -> None:
    world = World(ScriptedPool(raising(fault)))
    await world.submit()
    record = await world.work()
    assert (record.state, record.attempt, record.releases) == (JobState.QUEUED, 1, 1)
    assert record.error_type == error_type
    assert words in (record.error or "")
    assert f"tried again in 2 s (retry 1 of {RETRIES})" in (record.error or "")
    assert world.queued
    assert world.bus.poison == {}


async def test_a_job_that_runs_again_says_nothing_of_the_fault_before() -> None:
    world = World(ScriptedPool(raising(StorageError("503", transient=True))))
    await world.submit()
    await world.work()
    world.bus.expire_leases()
    world.pool.act = hang
    working = asyncio.create_task((await world.lease()).work())
    await until(lambda: world.record.state is JobState.RUNNING)
    assert (world.record.error_type, world.record.error) == (None, None)
    assert (world.record.attempt, world.record.releases) == (2, 1)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


@pytest.mark.parametrize(
    ("fault", "retries", "minutes"),
    [
        (StorageError("S3 answered 503", transient=True), RETRIES, 10),
        (Unsigned("nobody signs"), PATIENT_RETRIES, 6 * 60),
    ],
)
async def test_a_passing_fault_that_does_not_pass_is_a_failed_row_in_the_end(
    fault: StorageError, retries: int, minutes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten minutes; but a worker without a valid URL waits for somebody who signs one."""
    world = World(ScriptedPool(raising(fault)))
    await world.submit()
    delays: list[float] = []

    async def release(lease: FakeLease, delay: float = 0) -> None:
        delays.append(delay)
        world.bus.expire_leases()

    monkeypatch.setattr(FakeLease, "release", release)
    for attempt in range(1, retries + 1):
        record = await world.work()
        assert (record.state, record.attempt) == (JobState.QUEUED, attempt)
    assert delays[:7] == [2, 4, 8, 16, 32, 60, 60]
    assert sum(delays) == pytest.approx(60 * minutes, rel=0.05)
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert record.error == f"{fault}; given up after {retries} retries"
    assert not world.queued


async def test_a_storage_fault_holds_the_worker_back_until_a_job_goes_well() -> None:
    world = World(ScriptedPool(raising(StorageError("503", transient=True))))
    await world.submit()
    await world.work()
    assert 0 < world.pause.seconds <= 2
    world.pool.act = None
    world.bus.expire_leases()
    await world.work()
    assert world.pause.seconds == 0


async def test_a_fault_that_will_not_pass_fails_at_once() -> None:
    world = World(ScriptedPool(raising(StorageError("access denied"))))
    await world.submit()
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert record.error == "access denied"
    assert world.pause.seconds == 0


async def test_a_job_that_killed_its_workers_is_given_up_unparsed() -> None:
    world = World()
    await world.submit(JobState.RUNNING, attempt=3, worker="host-2-cd")
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.CRASHED)
    assert "3 workers died" in (record.error or "")
    assert record.attempt == 3
    assert world.pool.calls == []
    assert not world.queued


async def test_deliveries_that_no_worker_began_are_no_deaths() -> None:
    world = World()
    await world.submit()
    for _ in range(10):
        await world.pull()
        world.bus.expire_leases()
    record = await world.work()
    assert (record.state, record.attempt) == (JobState.DONE, 1)


async def test_a_job_that_was_handed_back_often_is_not_given_up() -> None:
    world = World(ScriptedPool(hang))
    await world.submit()
    for count in range(1, 8):
        world.pool.called.clear()
        working = asyncio.create_task((await world.lease()).work())
        await world.pool.called.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert (world.record.state, world.record.releases) == (JobState.QUEUED, count)
        assert world.record.error is None
    world.pool.act = None
    record = await world.work()
    assert (record.state, record.attempt, record.releases) == (JobState.DONE, 8, 7)


async def test_a_server_that_forgot_its_deliveries_changes_nothing() -> None:
    """The record counts the attempts; a killed nats-server may begin anew with the deliveries."""
    world = World()
    await world.submit(JobState.RUNNING, attempt=2, worker="host-2-cd")
    record = await world.work()
    assert (record.state, record.attempt) == (JobState.DONE, 3)


async def test_a_worker_that_lost_its_lease_neither_writes_nor_acks() -> None:
    """The next worker has it by then: its record stands, the message is its to ack."""
    world = World()
    await world.submit()

    async def lose_the_lease() -> RangeResult:
        await take_over(world)
        return pages(2)

    world.pool.act = lose_the_lease
    record = await world.work()
    assert (record.state, record.worker, record.attempt) == (JobState.RUNNING, "host-2-cd", 2)
    assert world.queued


async def test_a_delivery_whose_lease_ran_out_before_it_began_is_ignored() -> None:
    """The worker was stopped for long; the job may be at work elsewhere."""
    world = World()
    await world.submit(JobState.RUNNING, attempt=1, worker="host-2-cd")
    job = await world.lease()
    world.bus.expire_leases()
    await job.work()
    assert (world.record.attempt, world.record.worker) == (1, "host-2-cd")
    assert world.pool.calls == []
    assert world.queued


async def test_a_worker_whose_lease_ran_out_does_not_overwrite_the_next_ones_results() -> None:
    world = World()
    await world.submit()
    await world.storage.put_bytes(result_part(JOB, "pages.parquet"), b"the next one's")

    async def lose_the_lease() -> RangeResult:
        world.bus.expire_leases()
        await take_over(world)
        return pages(2)

    world.pool.act = lose_the_lease
    record = await world.work()
    assert (record.state, record.worker) == (JobState.RUNNING, "host-2-cd")
    stored = await world.storage.get_bytes(result_part(JOB, "pages.parquet"))
    assert stored == b"the next one's"
    assert world.queued


async def test_a_lease_that_ran_out_unnoticed_by_others_is_no_reason_to_stop() -> None:
    world = World()
    await world.submit()

    async def expire() -> RangeResult:
        world.bus.expire_leases()
        return pages(2)

    world.pool.act = expire
    record = await world.work()
    assert (record.state, record.attempt) == (JobState.DONE, 1)
    assert not world.queued


async def test_a_worker_that_lost_its_job_stops_to_work_on_it() -> None:
    """It learns of that when it renews its lease."""
    world = World(ScriptedPool(hang))
    await world.submit()
    tools = dataclasses.replace(world.tools(), lease_seconds=0.05)
    working = asyncio.create_task(Job(await world.pull(), tools).work())
    await world.pool.called.wait()
    world.bus.expire_leases()
    await take_over(world)
    async with asyncio.timeout(20):
        await working
    assert (world.record.state, world.record.worker) == (JobState.RUNNING, "host-2-cd")
    assert world.queued


async def test_a_job_that_comes_again_while_it_is_at_work_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After an outage of NATS the queue delivers what nobody could renew."""
    world = World()
    await world.submit()
    job = await world.lease()
    acked: list[int] = []

    async def come_again() -> RangeResult:
        world.bus.expire_leases()
        job.adopt(await world.pull())
        return pages(2)

    async def ack(lease: FakeLease) -> None:
        acked.append(lease.attempt)

    world.pool.act = come_again
    monkeypatch.setattr(FakeLease, "ack", ack)
    await job.work()
    assert (world.record.state, world.record.attempt) == (JobState.DONE, 1)
    assert acked == [2]


async def test_a_time_limit_tells_nothing_to_a_worker_that_was_stopped() -> None:
    world = World()
    await world.submit()

    async def stop() -> RangeResult:
        world.bus.expire_leases()
        raise ParseError(ErrorType.TIMEOUT, "too slow")

    world.pool.act = stop
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.QUEUED, ErrorType.TIMEOUT)
    assert "stopped or cut off" in (record.error or "")
    assert world.bus.poison == {}


async def test_an_ack_that_is_not_answered_does_not_hold_up_other_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when nats-server was killed and forgot that it had delivered the job."""
    world = World()
    await world.submit()

    async def ack(lease: FakeLease) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as silent:
        silent.setattr(FakeLease, "ack", ack)
        silent.setattr(job_module, "ACK_SECONDS", 0.01)
        record = await asyncio.wait_for(world.work(), 10)
    assert (record.state, record.attempt) == (JobState.DONE, 1)
    assert world.queued
    world.bus.expire_leases()
    assert await world.work() == record
    assert not world.queued


async def test_a_finished_job_waits_for_nats_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    await world.submit()
    update, failures = world.bus.update_state, [BusError("away"), BusError("away")]

    async def update_state(record: JobRecord, revision: int) -> int:
        if record.state is JobState.DONE and failures:
            raise failures.pop()
        return await update(record, revision)

    monkeypatch.setattr(world.bus, "update_state", update_state)
    monkeypatch.setattr(job_module, "SETTLE_PAUSE", 0)
    record = await world.work()
    assert (record.state, record.attempt) == (JobState.DONE, 1)
    assert len(world.pool.calls) == 1
    assert not world.queued


async def test_a_job_is_handed_back_when_its_state_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.submit()

    async def get_state(batch: str, job_id: str) -> StateEntry | None:
        raise BusError("no leader")

    monkeypatch.setattr(world.bus, "get_state", get_state)
    job = await world.lease()
    with pytest.raises(BusError) as failure:
        await job.work()
    await job.leave(failure.value)
    monkeypatch.undo()
    assert (await world.work()).state is JobState.DONE


async def test_a_job_whose_sender_writes_at_the_same_moment_is_begun_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker was faster than the row's step from uploading to queued."""
    world = World(sha256=hashlib.sha256(DOCUMENT).hexdigest())
    await world.submit(JobState.UPLOADING)
    between(monkeypatch, world, state=JobState.QUEUED)
    record = await world.work()
    assert (record.state, record.attempt) == (JobState.DONE, 1)
    assert not world.queued


async def test_a_job_that_another_worker_begins_at_the_same_moment_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.submit()
    between(monkeypatch, world, state=JobState.RUNNING, attempt=1, worker="host-2-cd")
    record = await world.work()
    assert (record.state, record.worker) == (JobState.RUNNING, "host-2-cd")
    assert world.pool.calls == []
    assert world.queued


async def test_a_job_that_is_cancelled_as_it_begins_leaves_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.submit()
    between(monkeypatch, world, state=JobState.CANCELLED)
    assert (await world.work()).state is JobState.CANCELLED
    assert world.pool.calls == []
    assert not world.queued


def between(monkeypatch: pytest.MonkeyPatch, world: World, **changes: Any) -> None:
    """Let somebody else write the job's state between a worker's first read and write."""
    get_state = world.bus.get_state

    async def read(batch: str, job_id: str) -> StateEntry | None:
        monkeypatch.setattr(world.bus, "get_state", get_state)
        entry = await get_state(batch, job_id)
        assert entry is not None
        await world.bus.update_state(entry.record.but(**changes), entry.revision)
        return entry

    monkeypatch.setattr(world.bus, "get_state", read)


async def test_a_job_that_its_sender_left_uploading_has_its_size_all_the_same() -> None:
    """The sender died between the message and the state."""
    world = World(ScriptedPool(hang), sha256=hashlib.sha256(DOCUMENT).hexdigest())
    await world.submit(JobState.UPLOADING)
    working = asyncio.create_task((await world.lease()).work())
    await world.pool.called.wait()
    assert (world.record.bytes, world.record.sha256) == (len(DOCUMENT), world.message.sha256)
    assert world.record.queued_at is not None
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


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


CRASH = ParseError(ErrorType.CRASHED, "died of SIGSEGV")
SLOW = ParseError(ErrorType.TIMEOUT, "stopped at its time limit")
HUGE = ParseError(ErrorType.OUT_OF_MEMORY, "needs more than 2,048 MiB")


async def killed_by(death: ParseError, **message: Any) -> World:
    """Return a world in which a document has killed the parser, and is submitted again."""
    world = World(ScriptedPool(raising(death)))
    await world.submit()
    assert (await world.work()).state is JobState.FAILED
    await resubmit(world, **message)
    return world


async def resubmit(world: World, **message: Any) -> None:
    world.pool.calls.clear()
    world.pool.act = None
    world.message = world.message.but(request_id=AGAIN, **message)
    entry = world.bus.records["b", JOB]
    await write_new(world.bus, [entry.record.but(job_id=AGAIN, state=JobState.QUEUED, attempt=0)])
    await world.bus.publish([world.message])


@pytest.mark.parametrize("death", [CRASH, SLOW, HUGE])
@pytest.mark.parametrize("sha256", [None, hashlib.sha256(DOCUMENT).hexdigest()])
async def test_a_document_that_killed_the_parser_is_not_tried_again(
    death: ParseError, sha256: str | None
) -> None:
    world = await killed_by(death, sha256=sha256)
    await world.work()
    record = world.bus.records["b", AGAIN].record
    assert (record.state, record.error_type) == (JobState.FAILED, death.error_type)
    assert death.message in (record.error or "")
    assert f"job {JOB}" in (record.error or "")
    assert "force=True" in (record.error or "")
    assert world.pool.calls == []
    (poison,) = world.bus.poison.values()
    assert (poison.job_id, poison.error) == (JOB, death.message)


@pytest.mark.parametrize(
    ("death", "message"),
    [(CRASH, {"force": True}), (SLOW, {"force": True}), (SLOW, {"processing_timeout": 61})],
)
async def test_poison_is_tried_again_by_force_or_with_more_time_and_forgotten_when_it_is_read(
    death: ParseError, message: dict[str, Any]
) -> None:
    world = await killed_by(death, **message)
    await world.work()
    assert world.bus.records["b", AGAIN].record.state is JobState.DONE
    assert world.bus.poison == {}


@pytest.mark.parametrize("message", [{"processor": "pypdfium2"}, {"options": {"password": "p"}}])
async def test_a_document_is_poison_for_the_options_it_was_tried_with(
    message: dict[str, Any],
) -> None:
    world = await killed_by(CRASH, **message)
    await world.work()
    assert world.bus.records["b", AGAIN].record.state is JobState.DONE


async def test_a_job_is_not_stopped_by_what_it_found_out_itself() -> None:
    """Its worker died after the note and before the state."""
    world = World(ScriptedPool(raising(CRASH)))
    await world.submit()
    await world.work()
    entry = world.bus.records["b", JOB]
    await overwrite(world.bus, [entry.record.but(state=JobState.RUNNING)])
    await world.bus.put("b", JOB, world.message.to_json())
    world.pool.act = None
    assert (await world.work()).state is JobState.DONE


async def test_the_time_limit_of_a_whole_job_makes_no_poison() -> None:
    world = World(ScriptedPool(hang), processing_timeout=0.05)
    await world.submit()
    assert (await world.work()).error_type is ErrorType.TIMEOUT
    assert world.bus.poison == {}


async def test_the_password_reaches_the_parser_and_nothing_else() -> None:
    world = World(options={"password": "open sesame"})
    await world.submit()
    record = await world.work()
    options = world.pool.calls[0][5]
    assert options.settings == {"password": "open sesame"}
    assert "sesame" not in repr(options)
    assert "sesame" not in record.model_dump_json()
    document = await world.storage.get_bytes(result_part(JOB, "document.json"))
    assert b"sesame" not in document


async def test_a_worker_without_credentials_needs_presigned_urls() -> None:
    world = World()
    await world.submit()
    await (await world.lease(own_credentials=False)).work()
    assert (world.record.state, world.record.error_type) == (JobState.QUEUED, ErrorType.STORAGE)
    assert "docnats signer" in (world.record.error or "")


URL = "http://memory/documents/raw/x.pdf?X-Amz-Signature=5ecr3t"
ELSEWHERE = "http://169.254.169.254/documents/raw/x.pdf?X-Amz-Signature=5ecr3t"


@pytest.mark.parametrize("own_credentials", [True, False])
@pytest.mark.parametrize(
    "message",
    [
        {"s3_url": ELSEWHERE},
        {"s3_url": "file:///etc/passwd"},
        {"s3_url": URL, "result_url": ELSEWHERE},
        {"s3_url": URL, "result_url": URL, "part_urls": {"words.parquet": ELSEWHERE}},
        {"s3_bucket": "private"},
    ],
)
async def test_a_job_that_names_a_place_outside_of_the_storage_fails_and_is_kept(
    message: dict[str, Any], own_credentials: bool
) -> None:
    world = World(**message)
    await world.submit()
    await (await world.lease(own_credentials=own_credentials)).work()
    record = world.record
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert "this worker's" in (record.error or "")
    assert not world.queued
    (letter,) = world.bus.letters.values()
    assert (letter.kind, letter.reason, letter.job) == ("forbidden", record.error, ("b", JOB))
    assert "5ecr3t" not in letter.reason
    assert letter.message() == world.message, "whoever looks into it can see all"
    assert world.pool.calls == []
    assert world.pause.seconds == 0, "the storage is well"


async def test_a_forbidden_job_stays_on_the_queue_until_it_is_kept() -> None:
    world = World(s3_bucket="private")
    await world.submit()

    async def fail(_letter: object) -> None:
        raise BusError("NATS is away")

    world.bus.bury = fail  # type: ignore[method-assign]
    job = await world.lease()
    with pytest.raises(BusError):
        await job.work()
    assert (world.record.state, world.queued) == (JobState.RUNNING, True)


async def test_a_document_in_nats_is_refused_by_a_worker_that_uses_s3() -> None:
    world = World(s3_bucket="docnats_default_objects")
    await world.submit()
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert "same USE_S3_STORAGE" in (record.error or "")
    assert not world.queued
