"""Archived batches on in-memory ports: what is found, kept, refused and survives a crash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats.bus import StateEntry
from docnats.errors import BusError, ConfigError, DocnatsError, ErrorType, StorageError, TableError
from docnats.models import JobRecord, JobState, Receipt, utc_now
from docnats.names import RESULT_PARTS, Names, raw_key, result_key, result_part
from docnats.service import S3DocumentService, key_of
from docnats.storage import StoredObject
from docnats.table import records_from_parquet, records_to_parquet
from docnats.worker.claim import Claim, JobEnded
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import write_new

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TABLE, RECEIPT = "batches/default/b/jobs.parquet", "batches/default/b/receipt.json"
DOCUMENT = json.dumps({"processor": "docling-parse", "versions": {"docling-parse": "7.23.1"}})


class FlakyBus(FakeBus):
    """A bus of which one method fails when it is called."""

    broken = ""

    async def put_archive(self, archived: Any) -> None:
        self._break("put_archive")
        await super().put_archive(archived)

    async def forget_batch(self, batch: str) -> None:
        self._break("forget_batch")
        await super().forget_batch(batch)

    def _break(self, method: str) -> None:
        if method == self.broken:
            raise BusError("gone")


class WatchedStorage(FakeStorage):
    """A storage that notes what is asked of it, and fails to write one key."""

    broken = ""

    def __init__(self) -> None:
        super().__init__()
        self.buckets[self.bucket] = {}
        self.asked: list[str] = []

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        if key == self.broken:
            raise StorageError("gone")
        return await super().put_bytes(key, data)

    async def get_bytes(self, key: str, *, bucket: str | None = None) -> bytes:
        self.asked.append(key)
        return await super().get_bytes(key, bucket=bucket)

    async def list(self, prefix: str, *, bucket: str | None = None) -> AsyncIterator[StoredObject]:
        self.asked.append(prefix)
        async for stored in super().list(prefix, bucket=bucket):
            yield stored


@pytest.fixture
def bus() -> FlakyBus:
    return FlakyBus()


@pytest.fixture
def storage() -> WatchedStorage:
    return WatchedStorage()


@pytest.fixture
def service(bus: FlakyBus, storage: WatchedStorage) -> S3DocumentService:
    service = S3DocumentService()
    service._ports = (bus, storage)
    return service


def record(job_id: str, state: JobState = JobState.DONE, **changes: object) -> JobRecord:
    made = JobRecord(
        job_id=job_id,
        batch="b",
        filename=f"{job_id}.pdf",
        state=state,
        s3_bucket="documents",
        s3_key=raw_key(job_id),
        submitted_at=LONG_AGO,
        started_at=LONG_AGO,
        finished_at=LONG_AGO + timedelta(seconds=2),
        pages=3,
        bytes=4,
        result_key=result_key(job_id) if state is JobState.DONE else None,
    )
    return made.but(**changes)


async def put(bus: FakeBus, storage: FakeStorage, *records: JobRecord) -> None:
    """Have jobs that ended, with their documents and results."""
    await write_new(bus, records)
    for job in records:
        if job.s3_key == raw_key(job.job_id):
            await place(storage, job.s3_key, b"1234")
        if job.result_key == result_key(job.job_id):
            for part in RESULT_PARTS:
                data = DOCUMENT if part.endswith("json") else f"{part} of {job.job_id}"
                await place(storage, result_part(job.job_id, part), data.encode())


async def place(storage: FakeStorage, key: str, data: bytes) -> None:
    storage.buckets[storage.bucket][key] = (data, LONG_AGO)


def keys(storage: FakeStorage) -> set[str]:
    return set(storage.buckets[storage.bucket])


# --- the table


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.lists(
        st.builds(
            record,
            st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
            st.sampled_from(JobState),
            filename=st.text(),
            error=st.none() | st.text(),
            error_type=st.none() | st.sampled_from(ErrorType),
            options=st.dictionaries(st.text(), JSON),
            parts=st.sampled_from([(), ("document.md",)]),
            custom_prompt=st.none() | st.text(),
            bytes=st.none() | st.integers(0, 2**62),
            cleaned_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        ),
        max_size=3,
    )
)
def test_records_come_back_from_parquet_as_they_were(records: list[JobRecord]) -> None:
    parquet = records_to_parquet(records)
    assert records_from_parquet(parquet) == records
    assert records_to_parquet(records) == parquet


def test_every_field_of_a_record_is_kept() -> None:
    from docnats.table.parquet import SCHEMA

    assert set(SCHEMA.names) == set(JobRecord.model_fields)


@pytest.mark.parametrize("data", [b"", b"no parquet", records_to_parquet([])[:-9]])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(TableError, match="no job table"):
        records_from_parquet(data)


# --- archiving


async def test_rows_go_to_s3_and_are_found_as_before(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    jobs = [record("one"), record("two", JobState.FAILED, position=1, submitted_at=utc_now())]
    await put(bus, storage, *jobs)
    (before,) = await service.batches()
    receipt = await service.archive("b")
    assert await bus.states() == []
    assert await service.jobs() == await service.jobs("b") == jobs
    assert await service.jobs(state="failed") == jobs[1:]
    assert await service.jobs(since=timedelta(days=1)) == []
    (after,) = await service.batches()
    assert after.archived_at == receipt.archived_at
    assert (after.batch, after.counts, after.pages) == (before.batch, before.counts, before.pages)
    batch = await service.attach("b")
    assert batch.table.records() == jobs
    assert len(await batch.follow(timeout=5)) == 2
    assert await service.find([key_of(jobs[1])]) == jobs[1:]
    assert (await service.select(map(key_of, jobs))).table.finished
    assert (await service.fetch_document(jobs[0])).document["processor"] == "docling-parse"
    with pytest.raises(TableError, match="knows no job nobody"):
        await service.find([("b", "nobody")])


async def test_the_receipt_tells_of_everything(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"), record("gone"), record("two", JobState.CANCELLED))
    await storage.delete([result_part("gone", RESULT_PARTS[0])])
    receipt = await service.archive("b")
    stored = await storage.get_bytes(RECEIPT)
    assert Receipt.from_json(stored) == receipt
    assert receipt.counts == {JobState.DONE: 2, JobState.CANCELLED: 1}
    assert (receipt.jobs, receipt.pages, receipt.bytes) == (3, 9, 12)
    assert receipt.timings.work_seconds == 6
    assert receipt.without_results == ("gone",)
    table = await storage.get_bytes(TABLE)
    assert receipt.table.sha256 == hashlib.sha256(table).hexdigest()
    assert [one.key for one in receipt.objects] == sorted(
        result_part("one", part) for part in RESULT_PARTS
    )
    (made_by,) = receipt.versions
    assert made_by.what == {"processor": "docling-parse", "docling-parse": "7.23.1"}
    assert (receipt.options[0].jobs, receipt.options[0].what["processing_timeout"]) == (3, 600)


async def test_a_batch_that_has_not_ended_is_left_alone(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"), record("two", JobState.RUNNING))
    with pytest.raises(DocnatsError, match=r"1 of 2 jobs have not ended \(two.pdf\)"):
        await service.archive("b")
    assert len(await bus.states()) == 2
    assert TABLE not in keys(storage)
    with pytest.raises(ConfigError, match="no such batch"):
        await service.archive("other")


@pytest.mark.parametrize("step", [TABLE, RECEIPT, "put_archive", "forget_batch"])
async def test_a_crash_at_any_step_loses_nothing_and_can_be_made_good(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage, step: str
) -> None:
    jobs = [record("one"), record("two", position=1)]
    await put(bus, storage, *jobs)
    bus.broken = storage.broken = step
    with pytest.raises(DocnatsError, match="gone"):
        await service.archive("b")
    bus.broken = storage.broken = ""
    assert await service.jobs() == await service.jobs("b") == jobs
    assert [one.jobs for one in await service.batches()] == [2]
    assert await service.gc() == []
    await service.archive("b")
    assert (await service.verify("b")).intact
    assert await service.jobs() == jobs
    assert await bus.states() == []


async def test_doing_it_again_changes_nothing_and_restores_a_lost_index(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"))
    receipt = await service.archive("b")
    before = dict(storage.buckets[storage.bucket])
    assert await service.archive("b") == receipt
    assert storage.buckets[storage.bucket] == before
    bus.archived.clear()
    assert await service.batches() == []
    assert len(await service.jobs("b")) == 1  # by its name it is found all the same
    await service.archive("b")
    assert [one.batch for one in await service.batches()] == ["b"]


async def test_nothing_is_asked_of_s3_where_nothing_is_archived(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"))
    await service.jobs()
    await service.batches()
    await service.jobs("b")
    await service.attach("b")
    await service.find([("b", "one")])
    assert storage.asked == []


async def test_the_name_of_an_archived_batch_is_taken(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"))
    await service.archive("b")
    with pytest.raises(ConfigError, match="archived batch of that name"):
        await service.submit({"a.pdf": b"%PDF"}, batch="b")


async def test_an_archived_job_can_be_retried(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, failed := record("one", JobState.FAILED))
    await service.archive("b")
    batch = await service.retry([failed])
    assert [job.s3_key for job in batch.table.records()] == [raw_key("one")]


async def test_a_message_that_comes_late_does_not_bring_an_archived_job_back(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    """Its worker died between the job's end and the ack."""
    await put(bus, storage, job := record("one"))
    await bus.publish([job.message()])
    (lease,) = await bus.pull(1, 1)
    await service.archive("b")
    assert await bus.queued() == set()
    with pytest.raises(JobEnded, match="archived"):
        await Claim(lease, bus, 30).read()


# --- verification


async def test_an_intact_archive_is_told_so(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"))
    await service.archive("b")
    outcome = await service.verify("b")
    assert outcome.intact
    assert outcome.checked == 5
    assert outcome.to_dict()["mismatches"] == []
    with pytest.raises(ConfigError, match="no such batch in the archive"):
        await service.verify("other")


DAMAGES = {
    "changed": (result_part("one", RESULT_PARTS[1]), b"words.parquet of eno", "SHA-256 differs"),
    "cut off": (result_part("one", RESULT_PARTS[0]), b"pages", "5 bytes instead of 20"),
    "gone": (result_part("one", RESULT_PARTS[2]), None, "not there"),
    "another table": (TABLE, records_to_parquet([]), "bytes instead of"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_named(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage, damage: str
) -> None:
    await put(bus, storage, record("one"))
    await service.archive("b")
    key, data, told = DAMAGES[damage]
    if data is None:
        await storage.delete([key])
    else:
        await place(storage, key, data)
    (mismatch,) = (await service.verify("b")).mismatches
    assert mismatch.key == key
    assert told in mismatch.what


async def test_a_receipt_that_was_forged_is_found_out(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"))
    receipt = await service.archive("b")
    await place(storage, RECEIPT, receipt.but(objects=()).to_json())
    assert [one.key for one in (await service.verify("b")).mismatches] == [RECEIPT]
    await place(storage, RECEIPT, b"{}")
    with pytest.raises(DocnatsError, match="cannot be read"):
        await service.verify("b")
    await storage.delete([RECEIPT])
    with pytest.raises(DocnatsError, match="is gone"):
        await service.verify("b")


# --- what others delete


async def test_gc_leaves_alone_what_archived_jobs_need(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"), record("two", JobState.FAILED))
    await service.archive("b")
    kept = keys(storage)
    await place(storage, raw_key("lost"), b"x")
    (leftover,) = await service.gc(delete=True)
    assert leftover.key == raw_key("lost")
    assert keys(storage) == kept


async def test_gc_leaves_alone_the_archives_of_others(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("theirs"))
    other = S3DocumentService()
    other._nats_config = other._nats_config.but(namespace="other")
    other._ports = (bus, storage)
    await other.archive("b")
    bus.archived.clear()  # of the other namespace's own index
    await put(bus, storage, record("ours", batch="c"))
    assert await service.gc(delete=True) == []
    assert await service.jobs("b") == []


async def test_gc_deletes_nothing_while_an_archive_is_missing(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"))
    await service.archive("b")
    await storage.delete([TABLE])
    before = keys(storage)
    with pytest.raises(StorageError, match=TABLE):
        await service.gc(delete=True)
    assert keys(storage) == before


async def test_gc_deletes_nothing_when_the_job_table_and_the_index_are_lost(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, record("one"), record("two", batch="c"))
    await service.archive("b")
    bus.archived.clear()
    bus.records.clear()
    with pytest.raises(ConfigError, match="nothing deleted"):
        await service.gc(delete=True)


async def test_cleanup_of_an_archived_job_deletes_its_objects(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    await put(bus, storage, job := record("one"))
    await service.archive("b")
    assert await service.cleanup_jobs([job]) == 1
    assert keys(storage) == {TABLE, RECEIPT}


@pytest.mark.parametrize("archived", ["b", "c"])
async def test_cleanup_keeps_what_archived_rows_share(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage, archived: str
) -> None:
    """Whichever of the two is archived: the one that made the result, or the one given it."""
    maker = record("one")
    given = record(
        "two", batch="c", reused_from="one", s3_key=maker.s3_key, result_key=maker.result_key
    )
    await put(bus, storage, maker, given)
    await service.archive(archived)
    before = keys(storage)
    for job in (maker, given):
        if job.batch != archived:
            await service.cleanup_jobs([job])
    assert keys(storage) == before


async def test_the_places_of_shared_results_are_found_in_archives_too(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    from docnats.service.history import result_places

    maker = record("one")
    given = record("two", batch="c", reused_from="one", result_key=maker.result_key)
    await put(bus, storage, maker, given)
    await service.archive("c")
    assert await result_places(service.archives, ["two"]) == {"two": maker.result_key}


def test_a_batch_of_another_namespace_has_other_keys() -> None:
    assert Names("a").archive_table("b") != Names("b").archive_table("b")


async def test_a_row_that_is_written_while_it_is_archived_is_not_brought_back(
    service: S3DocumentService, bus: FlakyBus, storage: WatchedStorage
) -> None:
    (revision,) = await write_new(bus, [job := record("one")])
    await put(bus, storage)
    await service.archive("b")
    assert await bus.update_states([StateEntry(job, revision)]) == [None]
