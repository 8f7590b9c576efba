"""Documents that were processed before: answered from the earlier result, without an upload."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from docnats.errors import BusError
from docnats.models import JobRecord, JobState, WorkerInfo, utc_now
from docnats.names import RESULT_PARTS, part_key, result_key
from docnats.processors import result_version
from docnats.service import S3DocumentClient, S3DocumentService
from docnats.worker.known import ResultNotes
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import overwrite

PROCESSOR = "docling-parse"


@pytest.fixture(autouse=True)
def _known_documents_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCNATS_REUSE_RESULTS", "true")


async def announce(bus: FakeBus, version: str | None = None, worker: str = "w") -> None:
    info = WorkerInfo(
        worker=worker,
        host="h",
        pid=1,
        parsers=1,
        processors=(PROCESSOR,),
        version="1",
        versions={PROCESSOR: version or result_version(PROCESSOR)},
        started_at=utc_now(),
    )
    await bus.announce(info)


async def sent(client: S3DocumentClient, data: bytes = b"A", **options: Any) -> JobRecord:
    batch = await client.submit({"a.pdf": data}, **options)
    await asyncio.gather(*client._sending)
    (job,) = await client.jobs(batch.id)
    return job


async def done(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, **options: Any
) -> JobRecord:
    """Submit a document and let it end as a worker does."""
    job = await sent(client, **options)
    message = bus.queue.pop((job.batch, job.job_id)).message
    key = result_key(job.job_id)
    for part in RESULT_PARTS:
        await storage.put_bytes(part_key(key, part), b"result")
    job = job.but(state=JobState.DONE, pages=3, pages_failed=0, result_key=key)
    await overwrite(bus, [job])
    notes = ResultNotes(bus)
    notes.add(message, job)
    await notes.flush()
    return job


async def test_a_known_document_is_done_at_once_and_not_uploaded(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    await announce(bus)
    first = await done(client, bus, storage)
    before = dict(storage.buckets[storage.bucket])
    again = await sent(client)
    assert (again.state, again.pages, again.attempt, again.worker) == (JobState.DONE, 3, 0, None)
    assert (again.result_key, again.reused_from) == (first.result_key, first.job_id)
    assert (again.s3_key, again.sha256, again.bytes) == (first.s3_key, first.sha256, 1)
    assert storage.buckets[storage.bucket] == before
    assert bus.queue == {}


async def test_a_canary_is_processed_though_its_documents_are_known(
    bus: FakeBus, storage: FakeStorage
) -> None:
    service = S3DocumentService()
    service._ports = (bus, storage)
    await announce(bus)
    await done(service, bus, storage)
    canary = await service.canary(("a.pdf", b"A"))
    await asyncio.gather(*service._sending)
    (job,) = await service.jobs(canary.batch.id)
    assert (job.state, job.reused_from) == (JobState.QUEUED, None)


async def test_known_and_unknown_documents_of_one_batch_each_go_their_way(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    await announce(bus)
    await done(client, bus, storage)
    names = {f"{n}.pdf": b"A" if n % 2 else str(n).encode() for n in range(600)}
    batch = await client.submit(names)
    await asyncio.gather(*client._sending)
    jobs = await client.jobs(batch.id)
    assert [job.state for job in jobs] == [JobState.QUEUED, JobState.DONE] * 300
    assert len(bus.queue) == 300


@pytest.mark.parametrize(
    "options", [{"force": True}, {"processor": "pypdfium2"}, {"options": {"password": "p"}}]
)
async def test_force_other_options_and_a_password_process_it_again(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, options: dict[str, Any]
) -> None:
    await announce(bus)
    await done(client, bus, storage)
    assert (await sent(client, **options)).state is JobState.QUEUED


async def test_what_a_password_opened_is_never_given_to_those_who_may_not_know_it(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    await announce(bus)
    await done(client, bus, storage, options={"password": "sesame"})
    assert bus.results == {}


async def test_force_replaces_what_is_known(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    await announce(bus)
    await done(client, bus, storage)
    newer = await done(client, bus, storage, force=True)
    assert (await sent(client)).reused_from == newer.job_id


async def test_only_what_all_live_workers_would_make_is_known(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    await announce(bus)
    await done(client, bus, storage)
    await announce(bus, "newer", worker="other")
    assert (await sent(client)).state is JobState.QUEUED
    await bus.withdraw("other")
    assert (await sent(client)).state is JobState.DONE
    await announce(bus, "newer")
    assert (await sent(client)).state is JobState.QUEUED


async def test_while_no_worker_is_live_this_installation_says_what_would_be_made(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    """So it is when an embedded stack starts: its workers, which are as we are, come later."""
    first = await done(client, bus, storage)
    assert (await sent(client)).reused_from == first.job_id
    await announce(bus, "newer")
    assert (await sent(client)).reused_from is None


async def test_a_document_that_lost_pages_is_not_noted(bus: FakeBus, storage: FakeStorage) -> None:
    client = S3DocumentClient()
    client._ports = (bus, storage)
    job = await sent(client)
    notes = ResultNotes(bus)
    message = bus.queue[job.batch, job.job_id].message
    for changes in ({"pages_failed": 1}, {"state": JobState.FAILED}):
        ended = job.but(state=JobState.DONE, pages=3, result_key="processed/x/").but(**changes)
        notes.add(message, ended)
    await notes.flush()
    assert bus.results == {}


async def test_an_index_that_cannot_be_read_costs_only_the_upload(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await announce(bus)
    await done(client, bus, storage)

    async def broken(_keys: object) -> None:
        raise BusError("no answer")

    monkeypatch.setattr(bus, "known_results", broken)
    assert (await sent(client)).state is JobState.QUEUED


async def test_a_job_cancelled_meanwhile_stays_cancelled_and_costs_the_first_one_nothing(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await announce(bus)
    await done(client, bus, storage)
    before = dict(storage.buckets[storage.bucket])
    look_up = bus.known_results

    async def cancelled_meanwhile(keys: list[str]) -> list[Any]:
        waiting = [e.record for e in await bus.states() if e.record.state is JobState.UPLOADING]
        await overwrite(bus, [job.but(state=JobState.CANCELLED) for job in waiting])
        return await look_up(keys)

    monkeypatch.setattr(bus, "known_results", cancelled_meanwhile)
    assert (await sent(client)).state is JobState.CANCELLED
    assert storage.buckets[storage.bucket] == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_shared_result_goes_when_the_last_job_that_has_it_is_cleaned_up(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, order: tuple[int, int]
) -> None:
    await announce(bus)
    first = await done(client, bus, storage)
    jobs = [first, await sent(client)]
    before = dict(storage.buckets[storage.bucket])
    await client.cleanup_jobs([jobs[order[0]]])
    assert storage.buckets[storage.bucket] == before
    assert bus.results == {}
    await client.cleanup_jobs([jobs[order[1]]])
    assert storage.buckets[storage.bucket] == {}
    assert (await sent(client)).state is JobState.QUEUED


async def test_shared_results_cleaned_up_together_go_at_once(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    await announce(bus)
    first = await done(client, bus, storage)
    await client.cleanup_jobs([first, await sent(client)])
    assert storage.buckets[storage.bucket] == {}


async def test_a_result_in_another_bucket_is_of_no_use(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    """As when documents were in S3 before, and are in the NATS Object Store now."""
    await announce(bus)
    await done(client, bus, storage)
    storage.bucket = "docnats_default_objects"
    storage.buckets[storage.bucket] = {}
    assert (await sent(client)).reused_from is None
