"""What gc finds in S3 and what it leaves alone, on in-memory ports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from docnats.errors import ConfigError, ErrorType
from docnats.models import (
    DeadLetter,
    DeadLetterKind,
    JobMessage,
    JobRecord,
    JobState,
    utc_now,
)
from docnats.names import RESULT_PARTS, probe_key, raw_key, result_key, result_part
from docnats.service import LeftoverKind, S3DocumentService
from docnats.storage import UnfinishedUpload
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import write_new

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def put(storage: FakeStorage, *keys: str, modified: datetime = LONG_AGO) -> None:
    storage.buckets[storage.bucket] |= dict.fromkeys(keys, (b"1234", modified))


def upload(key: str, begun: datetime = LONG_AGO) -> UnfinishedUpload:
    return UnfinishedUpload(key, f"id of {key}", 100, begun)


def record(job_id: str, state: JobState, **changes: object) -> JobRecord:
    made = JobRecord(
        job_id=job_id,
        batch="b",
        filename="a.pdf",
        state=state,
        s3_bucket="documents",
        s3_key=raw_key(job_id),
        submitted_at=utc_now(),
    )
    return made.but(**changes)


def message(job_id: str, document: str) -> JobMessage:
    return JobMessage(
        request_id=job_id,
        batch="b",
        s3_bucket="documents",
        s3_key=document,
        timestamp=utc_now(),
        file_size=1,
        processing_timeout=1,
        filename="a.pdf",
    )


def results(job_id: str) -> list[str]:
    return [result_part(job_id, part) for part in RESULT_PARTS]


async def found(service: S3DocumentService, **options: object) -> dict[str, str]:
    leftovers = await service.gc(**options)  # type: ignore[arg-type]
    return {one.key: one.why for one in leftovers}


async def test_what_no_job_needs_is_found_and_deleted_only_on_request(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    done = record("done", JobState.DONE)
    await write_new(bus, [done, record("failed", JobState.FAILED)])
    put(storage, done.s3_key, *results("done"), raw_key("failed"))
    put(storage, raw_key("lost"), *results("lost"), *results("failed"))
    put(storage, probe := probe_key())
    storage.uploads = [upload(raw_key("lost")), upload(result_part("failed", "words.parquet"))]
    kept = {done.s3_key, *results("done"), raw_key("failed")}
    leftovers = await service.gc()
    assert [(one.kind, one.key, one.bytes, one.why) for one in leftovers] == [
        (LeftoverKind.DOCUMENT, raw_key("lost"), 4, "no job refers to it"),
        (LeftoverKind.RESULT, result_key("failed"), 12, "its job has ended: failed"),
        (LeftoverKind.RESULT, result_key("lost"), 12, "there is no such job"),
        (LeftoverKind.PROBE, probe, 4, "a health check was cut short"),
        (LeftoverKind.UPLOAD, raw_key("lost"), 100, "there is no such job"),
        (
            LeftoverKind.UPLOAD,
            result_part("failed", "words.parquet"),
            100,
            "its job has ended: failed",
        ),
    ]
    assert {one.modified for one in leftovers} == {LONG_AGO}
    assert set(storage.buckets[storage.bucket]) > kept
    assert len(storage.uploads) == 2
    assert await service.gc(delete=True) == leftovers
    assert set(storage.buckets[storage.bucket]) == kept
    assert storage.uploads == []
    assert await service.gc() == []


@pytest.mark.parametrize("state", [JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING])
async def test_what_an_active_job_uses_is_left_alone(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage, state: JobState
) -> None:
    await write_new(bus, [record("j", state)])
    put(storage, raw_key("j"), *results("j"))
    storage.uploads = [upload(raw_key("j")), upload(result_part("j", "words.parquet"))]
    assert await found(service) == {}


async def test_a_job_that_is_queued_without_a_record_is_active(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    """Another program put it there; its record comes with the first worker."""
    await bus.publish([message("foreign", raw_key("foreign"))])
    put(storage, raw_key("foreign"), *results("foreign"))
    storage.uploads = [upload(result_part("foreign", "words.parquet"))]
    assert await found(service) == {}


async def test_a_dead_letter_keeps_what_it_needs_to_be_requeued(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    """A message from elsewhere, without a record; it reads a document of another name."""
    data = message("buried", raw_key("shared")).to_json()
    letter = DeadLetter(
        kind=DeadLetterKind.MAX_DELIVERIES,
        reason="dropped",
        subject="",
        job=("b", "buried"),
        sequence=1,
        stored_at=utc_now(),
        deliveries=1,
        consumer="workers",
        data=data,
        size=len(data),
    )
    await bus.bury(letter)
    put(storage, raw_key("shared"), raw_key("buried"), raw_key("lost"))
    assert set(await found(service)) == {raw_key("lost")}


async def test_the_document_of_a_job_that_was_never_sent_is_found_unless_it_was_retried(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    unsent = {"error_type": ErrorType.NOT_SENT}
    await write_new(
        bus,
        [
            record("unsent", JobState.FAILED, **unsent),
            record("retried", JobState.FAILED, **unsent),
            record("again", JobState.DONE, s3_key=raw_key("retried")),
            record("in-place", JobState.FAILED, s3_key=raw_key("original"), **unsent),
        ],
    )
    put(storage, raw_key("unsent"), raw_key("retried"), raw_key("original"))
    assert await found(service) == {raw_key("unsent"): "its job was never sent"}


async def test_a_document_that_another_job_reads_stays_when_its_own_job_is_unknown(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    await write_new(bus, [record("again", JobState.CANCELLED, s3_key=raw_key("first"))])
    put(storage, raw_key("first"))
    assert await found(service) == {}


async def test_what_is_younger_than_the_limit_is_left_alone(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    young = utc_now() - timedelta(hours=1)
    put(storage, raw_key("old"))
    put(storage, raw_key("young"), probe_key(), modified=young)
    put(storage, result_part("j", "pages.parquet"))
    put(storage, result_part("j", "words.parquet"), modified=young)  # a worker is still at it
    storage.uploads = [upload(raw_key("old"), young)]
    assert set(await found(service)) == {raw_key("old")}
    assert len(await service.gc(older_than=timedelta(0))) == 5
    with pytest.raises(ConfigError, match="older_than"):
        await service.gc(older_than=timedelta(hours=-1))


async def test_what_docnats_did_not_make_is_never_touched(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    theirs = ["mine.pdf", "raw/a/b.pdf", "raw/a.txt", "processed/loose", "rawer/a.pdf", "health"]
    await write_new(bus, [record("j", JobState.DONE)])
    put(storage, *theirs, raw_key("lost"), *results("j"))
    storage.uploads = [upload("mine.pdf"), upload("raw/a/b.pdf")]
    await service.gc(delete=True)
    assert set(storage.buckets[storage.bucket]) == {*theirs, *results("j")}
    assert len(storage.uploads) == 2


async def test_the_objects_of_other_namespaces_are_left_alone(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    bus.foreign = {"theirs"}
    put(storage, raw_key("theirs"), *results("theirs"))
    storage.uploads = [upload(raw_key("theirs"))]
    assert await found(service) == {}


async def test_a_bucket_full_of_strangers_is_not_emptied(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    """The wrong NATS_URL must not cost anybody's data."""
    await write_new(bus, [record("elsewhere", JobState.DONE)])
    put(storage, *(raw_key(str(i)) for i in range(5)))
    assert len(await found(service)) == 5
    with pytest.raises(ConfigError, match=r"nothing deleted: .* Check NATS_URL"):
        await service.gc(delete=True)
    assert len(storage.buckets[storage.bucket]) == 5
