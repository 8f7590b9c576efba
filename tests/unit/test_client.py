"""The client on in-memory ports: submission, cancelling, clean-up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docnats.bus import StateEntry
from docnats.config import ProcessingConfig
from docnats.errors import BusError, ConfigError, DocnatsError, ErrorType, JobTimeout, SourceError
from docnats.models import JobRecord, JobState, Outage, Progress
from docnats.names import RAW_PREFIX, RESULT_PARTS, result_part
from docnats.service import Batch, S3DocumentClient
from docnats.storage import StoredObject
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import overwrite
from tests.unit.test_job import until


async def sent(
    client: S3DocumentClient, documents: Mapping[str, bytes], **options: Any
) -> list[JobRecord]:
    """Submit documents and return their records once all are on the queue."""
    batch = await client.submit(documents, **options)
    await asyncio.gather(*client._sending)
    return await client.jobs(batch.id)


async def ended(bus: FakeBus, job: JobRecord, state: JobState, **changes: Any) -> JobRecord:
    """Let a job end as if a worker had settled it."""
    job = job.but(state=state, **changes)
    await bus.drop_queued(job.batch, [job.job_id])
    await overwrite(bus, [job])
    return job


async def test_a_submission_puts_the_bytes_the_state_and_the_message(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    first, second = await sent(client, {"a.pdf": b"AAA", "b.pdf": b"B"})
    assert [(job.filename, job.position, job.bytes) for job in (first, second)] == [
        ("a.pdf", 0, 3),
        ("b.pdf", 1, 1),
    ]
    assert first.state is JobState.QUEUED
    assert await storage.get_bytes(first.s3_key) == b"AAA"
    message = bus.queue[first.batch, first.job_id].message
    assert (message.s3_key, message.sha256) == (first.s3_key, first.sha256)
    assert (message.s3_url, message.result_url) == (None, None)


async def test_every_document_has_a_row_before_the_first_is_uploaded(
    client: S3DocumentClient, storage: FakeStorage
) -> None:
    batch = await client.submit({f"{i}.pdf": b"x" for i in range(50)})
    assert len(batch.table) == 50
    assert {job.state for job in batch.table.records()} == {JobState.UPLOADING}
    assert storage.buckets[storage.bucket] == {}
    await asyncio.gather(*client._sending)


async def test_a_password_is_in_the_message_but_not_in_the_record(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    (job,) = await sent(client, {"a.pdf": b"A"}, options={"password": "sesame"})
    assert "sesame" not in job.model_dump_json()
    message = bus.queue[job.batch, job.job_id].message
    assert message.options == {"password": "sesame"}
    assert "sesame" not in repr(message)


async def test_presigned_urls_are_in_the_message_when_asked_for(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    presigning = client.using(ProcessingConfig(presign=True))
    (job,) = await sent(presigning, {"a.pdf": b"A"})
    message = bus.queue[job.batch, job.job_id].message
    assert message.s3_url is not None
    assert message.result_url is not None
    assert set(message.part_urls) == {"pages.parquet", "words.parquet"}
    assert "http://memory/" not in repr(message)


async def test_a_file_over_the_limit_is_a_failed_row_and_not_uploaded(
    client: S3DocumentClient, storage: FakeStorage
) -> None:
    small = client.using(ProcessingConfig(max_file_size=2))
    fits, too_large = await sent(small, {"a.pdf": b"AA", "b.pdf": b"BBB"})
    assert fits.state is JobState.QUEUED
    assert (too_large.state, too_large.error_type) == (JobState.FAILED, ErrorType.TOO_LARGE)
    assert [o.key async for o in storage.list(RAW_PREFIX)] == [fits.s3_key]


async def test_an_unreadable_file_is_a_failed_row(client: S3DocumentClient, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"A")
    batch = await client.submit(tmp_path / "a.pdf")
    (tmp_path / "a.pdf").unlink()
    await asyncio.gather(*client._sending)
    (job,) = await client.jobs(batch.id)
    assert (job.state, job.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert "not uploaded" in (job.error or "")


async def test_a_job_cancelled_while_it_is_uploaded_is_never_queued(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploading, go_on = asyncio.Event(), asyncio.Event()
    put = storage.put_bytes

    async def slow_put(key: str, data: bytes) -> StoredObject:
        uploading.set()
        await go_on.wait()
        return await put(key, data)

    monkeypatch.setattr(storage, "put_bytes", slow_put)
    batch = await client.submit({"a.pdf": b"A"})
    await uploading.wait()
    await client.cancel(batch.table.records())
    go_on.set()
    await asyncio.gather(*client._sending)
    (job,) = await client.jobs(batch.id)
    assert job.state is JobState.CANCELLED
    assert bus.queue == {}


async def test_a_submission_that_is_interrupted_leaves_no_row_that_waits_for_ever(
    client: S3DocumentClient, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = asyncio.Event()
    update = bus.update_states

    async def slow_update(entries: Sequence[StateEntry]) -> list[int | None]:
        revisions = await update(entries)
        written.set()
        await asyncio.sleep(0)
        return revisions

    monkeypatch.setattr(bus, "update_states", slow_update)
    submitting = asyncio.create_task(client.submit({"a.pdf": b"A", "b.pdf": b"B"}))
    await written.wait()
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert [job.state for job in await client.jobs()] == [JobState.CANCELLED] * 2


async def test_cancelling_leaves_ended_jobs_as_they_are(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    done, queued = await sent(client, {"a.pdf": b"A", "b.pdf": b"B"})
    await overwrite(bus, [done.but(state=JobState.DONE)])
    await client.cancel([done, queued])
    states = [job.state for job in await client.jobs(done.batch)]
    assert states == [JobState.DONE, JobState.CANCELLED]
    assert set(bus.queue) == {(done.batch, done.job_id)}


async def test_a_job_that_moves_on_while_it_is_cancelled_is_cancelled_all_the_same(
    client: S3DocumentClient, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = await sent(client, {f"{name}.pdf": b"x" for name in "abc"})
    update = bus.update_states

    async def overtaken(entries: Sequence[StateEntry]) -> list[int | None]:
        monkeypatch.setattr(bus, "update_states", update)
        await overwrite(bus, [first.but(state=JobState.RUNNING), second.but(state=JobState.DONE)])
        return await update(entries)

    monkeypatch.setattr(bus, "update_states", overtaken)
    async with aclosing(bus.cancellations()) as told:
        listening = asyncio.create_task(anext(told))
        await asyncio.sleep(0)
        assert await client.cancel([first, second, third]) == 2
        assert await listening == (first.batch, first.job_id)
    states = [job.state for job in await client.jobs(first.batch)]
    assert states == [JobState.CANCELLED, JobState.DONE, JobState.CANCELLED]
    assert set(bus.queue) == {(second.batch, second.job_id)}


async def test_a_cancelled_submission_uploads_no_more(
    client: S3DocumentClient, storage: FakeStorage
) -> None:
    batch = await client.submit({f"{i}.pdf": b"x" for i in range(50)})
    assert await client.cancel(batch.table.records()) == 50
    await asyncio.gather(*client._sending)
    assert storage.buckets[storage.bucket] == {}


async def test_a_retry_is_a_new_job_on_the_same_object(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    how = {"processor": "docling", "options": {"password": "wrong", "ocr": True}}
    jobs = await sent(client, {"a.pdf": b"A", "b.pdf": b"BB"}, **how, timeout=7)
    failed = await ended(bus, jobs[0], JobState.FAILED, error_type=ErrorType.ENCRYPTED)
    batch = await client.retry([failed, failed, jobs[1]], password="sesame")  # noqa: S106
    await asyncio.gather(*client._sending)
    (again,) = await client.jobs(batch.id)
    kept = ("filename", "s3_key", "sha256", "bytes", "processing_timeout", "options", "processor")
    assert [getattr(again, name) for name in kept] == [getattr(failed, name) for name in kept]
    assert (again.state, again.attempt, again.error_type) == (JobState.QUEUED, 0, None)
    assert again.options == {"ocr": True}
    message = bus.queue[again.batch, again.job_id].message
    assert message.options == {"ocr": True, "password": "sesame"}
    assert len([o async for o in storage.list(RAW_PREFIX)]) == 2
    assert await client.jobs(failed.batch) == [failed, jobs[1]]


@pytest.mark.parametrize("force", [False, True])
async def test_force_travels_with_a_submission_and_with_a_retry(
    client: S3DocumentClient, bus: FakeBus, force: bool
) -> None:
    (job,) = await sent(client, {"a.pdf": b"A"}, force=force)
    assert bus.queue[job.batch, job.job_id].message.force is force
    failed = await ended(bus, job, JobState.FAILED)
    (again,) = (await client.retry([failed], force=force)).table.records()
    await asyncio.gather(*client._sending)
    assert bus.queue[again.batch, again.job_id].message.force is force


async def test_an_upload_that_a_retry_still_reads_is_not_cleaned_up(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    failed = await ended(bus, (await sent(client, {"a.pdf": b"A"}))[0], JobState.FAILED)
    batch = await client.retry([failed])
    await asyncio.gather(*client._sending)
    (again,) = await client.jobs(batch.id)
    await client.cleanup_jobs([failed])
    assert await storage.get_bytes(again.s3_key) == b"A"
    await client.cleanup_jobs([await ended(bus, again, JobState.DONE)])
    assert storage.buckets[storage.bucket] == {}


async def test_many_documents_are_looked_up_together_for_a_retry(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    jobs = await sent(client, {f"{i:03}.pdf": b"x" * (i + 1) for i in range(120)})
    for job in jobs:
        await ended(bus, job, JobState.CANCELLED)
    await client.cancel(jobs)
    await storage.delete([jobs[7].s3_key, jobs[9].s3_key])
    with pytest.raises(SourceError, match=r"no retry of 007\.pdf, 009\.pdf: the document is not"):
        await client.retry(jobs)
    batch = await client.retry(jobs[10:])
    assert [job.bytes for job in batch.table.records()] == list(range(11, 121))
    await asyncio.gather(*client._sending)


async def test_following_ends_when_every_job_has(client: S3DocumentClient, bus: FakeBus) -> None:
    batch = await client.submit({"a.pdf": b"A", "b.pdf": b"B"})
    following = asyncio.create_task(batch.follow(timeout=10))
    await asyncio.gather(*client._sending)
    for job in await client.jobs(batch.id):
        await overwrite(bus, [job.but(state=JobState.DONE, pages=1)])
    assert [job.state for job in (await following).records()] == [JobState.DONE] * 2


async def test_following_for_too_long_is_a_timeout_that_counts_what_is_left(
    client: S3DocumentClient,
) -> None:
    batch = await client.submit({"a.pdf": b"A", "b.pdf": b"B"})
    with pytest.raises(JobTimeout, match="2 of 2 jobs had not ended"):
        await batch.follow(timeout=0.05)


async def test_a_failure_of_the_upload_as_a_whole_is_not_waited_for(
    client: S3DocumentClient, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus is lost while jobs are queued: following says so instead of waiting for ever."""

    async def lost(messages: object, headers: object) -> None:
        raise DocnatsError("the bus is lost")

    monkeypatch.setattr(bus, "publish", lost)
    batch = await client.submit({"a.pdf": b"A"})
    with pytest.raises(DocnatsError, match="the bus is lost"):
        await batch.follow(timeout=10)


async def test_when_nats_stays_away_following_says_what_goes_on_and_how_to_get_back_to_it(
    client: S3DocumentClient, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(batch: str) -> AsyncGenerator[StateEntry | None, None]:
        raise BusError("the connection to NATS was lost")
        yield

    monkeypatch.setattr(bus, "watch", lost)
    batch = await client.submit({"a.pdf": b"A"})
    with pytest.raises(BusError, match=rf"was lost\. .*goes on.*attach\('{batch.id}'\)"):
        await batch.follow(timeout=10)


async def test_followers_are_told_of_outages_that_last_and_of_no_time_left_then(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await client.submit({"a.pdf": b"A"})
    now = batch.table.progress
    monkeypatch.setattr(batch.table, "progress", lambda: replace(now(), remaining=(1.0, 2.0)))
    bus.outage, storage.outage = 12.0, 0.1
    seen: list[Progress] = []
    following = asyncio.create_task(batch.follow(seen.append, timeout=10))
    await until(lambda: seen)
    assert seen[-1].outages == (Outage("NATS", 12.0),)
    bus.outage, storage.outage = None, 3.0
    await until(lambda: seen[-1].outages != seen[0].outages)
    assert seen[-1].outages == (Outage("S3", 3.0),)
    assert {progress.remaining for progress in seen} == {None}
    storage.outage = None
    await until(lambda: not seen[-1].outages)
    assert seen[-1].remaining == (1.0, 2.0)
    for job in await client.jobs(batch.id):
        await ended(bus, job, JobState.DONE)
    await following


async def test_a_single_document_times_out_in_time_even_if_it_cannot_be_cancelled(
    client: S3DocumentClient,
    bus: FakeBus,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def lost(batch: str, job_id: str) -> None:
        raise BusError("the connection to NATS was lost")

    monkeypatch.setattr(bus, "get_state", lost)
    (tmp_path / "a.pdf").write_bytes(b"A")
    with pytest.raises(JobTimeout):
        await client.process_document(tmp_path / "a.pdf", timeout=0.05)
    assert "not cancelled and cleaned up: a.pdf: the connection to NATS was lost" in caplog.text


async def test_a_batch_name_is_checked_and_never_taken_twice(client: S3DocumentClient) -> None:
    await sent(client, {"a.pdf": b"A"}, batch="papers")
    with pytest.raises(ConfigError, match="already"):
        await client.submit({"a.pdf": b"A"}, batch="papers")
    with pytest.raises(ConfigError, match="A-Z"):
        await client.submit({"a.pdf": b"A"}, batch="no.dots")


async def test_an_unknown_batch_cannot_be_attached(client: S3DocumentClient) -> None:
    with pytest.raises(ConfigError, match="no such batch"):
        await client.attach("nothing")


async def test_cleaning_up_removes_document_and_result_but_not_the_row(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    (job,) = await sent(client, {"a.pdf": b"A"})
    with pytest.raises(DocnatsError, match=r"1 of 1 jobs have not ended \(a\.pdf\)"):
        await client.cleanup_jobs([job])
    job = await ended(bus, job, JobState.DONE)
    for part in RESULT_PARTS:
        await storage.put_bytes(result_part(job.job_id, part), b"result")
    assert await client.cleanup_jobs([job]) == 1
    assert storage.buckets[storage.bucket] == {}
    assert await client.jobs(job.batch) == [job]


async def test_cleanup_takes_a_key_or_a_prefix(
    client: S3DocumentClient, storage: FakeStorage
) -> None:
    for key in ("a/1", "a/2", "b"):
        await storage.put_bytes(key, b"")
    await client.cleanup("b")
    await client.cleanup("a/")
    assert storage.buckets[storage.bucket] == {}


async def test_an_unconnected_client_says_what_to_do() -> None:
    with pytest.raises(DocnatsError, match="async with"):
        await S3DocumentClient().jobs()


def test_a_client_cannot_change_where_documents_are() -> None:
    other = ProcessingConfig(use_s3_storage=False)
    with pytest.raises(ConfigError, match="another storage"):
        S3DocumentClient().using(other)


def test_a_batch_has_the_id_of_its_table(bus: FakeBus) -> None:
    from docnats.table import JobTable

    assert Batch(bus, JobTable("papers")).id == "papers"


async def test_a_job_that_waits_for_another_worker_is_told_of_once(
    client: S3DocumentClient, bus: FakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    batch = await client.submit({"a.pdf": b"A", "b.pdf": b"B"}, processor="noop")
    await asyncio.gather(*client._sending)
    jobs = await client.jobs(batch.id)
    told = "waits for a worker that offers the processor noop"
    await overwrite(bus, [job.but(error_type=ErrorType.PROCESSOR, error=told) for job in jobs])
    following = asyncio.create_task(batch.follow(timeout=30))
    await until(lambda: caplog.records)
    for job in jobs:
        await ended(bus, job, JobState.DONE)
    await following
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"batch {batch.id}: a.pdf {told}"]
