"""Dead letters and their way back to the queue, on in-memory ports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from docnats.config import ProcessingConfig
from docnats.errors import BusError, SourceError
from docnats.models import DeadLetter, JobMessage, JobRecord, JobState, utc_now
from docnats.notebook.letters import _ids, _letters_frame
from docnats.reconcile import reconcile
from docnats.service import S3DocumentService
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import write_new
from tests.ports.test_bus import message

PASSWORD = "geheim"  # noqa: S105 - no password of anything
SIGNED = "https://s3.example.org/raw?X-Amz-Signature=abc"


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus(max_deliver=1)


async def give_up(bus: FakeBus, storage: FakeStorage, **changes: object) -> JobMessage:
    """Let a job with a document in S3 end among the dead letters."""
    sent = message(s3_bucket=storage.bucket, **changes)
    await storage.put_bytes(sent.s3_key, b"%PDF")
    await write_new(bus, [JobRecord.of(sent)])
    await bus.publish([sent])
    while leases := await bus.pull(10, 0):
        for lease in leases:
            await lease.release()
    await reconcile(bus)
    return sent


async def requeued(service: S3DocumentService, ids: Iterable[int]) -> tuple[list[JobRecord], dict]:
    """Requeue, and return the new rows once all are on the queue."""
    done = await service.requeue(ids)
    await asyncio.gather(*service._sending)
    return await service.jobs(done.batch.id), done.refused


async def test_a_requeued_letter_is_a_new_job_on_the_same_document_with_its_options(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    sent = await give_up(
        bus,
        storage,
        options={"password": PASSWORD, "ocr": False},
        processing_timeout=77,
        sha256="abc",
        force=True,
        s3_url=SIGNED,
    )
    (letter,) = await service.dead_letters()
    (job,), refused = await requeued(service, [letter.id])
    assert refused == {}
    assert (job.state, job.filename, job.s3_key) == (JobState.QUEUED, sent.filename, sent.s3_key)
    assert (job.batch, job.job_id) != (sent.batch, sent.request_id)
    assert (job.options, job.processing_timeout) == ({"ocr": False}, 77)
    again = bus.queue[job.batch, job.job_id].message
    assert again.options == sent.options
    assert (again.force, again.s3_url, again.sha256) == (True, None, "abc")
    old = await bus.get_state(sent.batch, sent.request_id)
    assert old is not None
    assert old.record.state is JobState.FAILED
    assert await service.dead_letters() == []


async def test_a_requeued_letter_is_presigned_anew_where_that_is_configured(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    await give_up(bus, storage, s3_url=SIGNED)
    (letter,) = await service.dead_letters()
    presigning = service.using(ProcessingConfig(presign=True))
    (job,), _ = await requeued(presigning, [letter.id])
    again = bus.queue[job.batch, job.job_id].message
    assert again.s3_url not in (None, SIGNED)
    assert again.result_url is not None


async def test_letters_that_cannot_run_again_stay_with_a_reason_and_the_others_go_on(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    await bus.put("b", "nonsense", b"{}")
    await bus.put("b", "newer", message(schema_version=99).to_json())
    gone = await give_up(bus, storage)
    await storage.delete([gone.s3_key])
    good = await give_up(bus, storage)
    letters = {letter.job: letter.id for letter in await service.dead_letters() if letter.job}
    nonsense, newer = letters["b", "nonsense"], letters["b", "newer"]
    lost = letters[gone.batch, gone.request_id]
    jobs, refused = await requeued(service, [*letters.values(), 999])
    assert [job.s3_key for job in jobs] == [good.s3_key]
    assert "Field required" in refused[nonsense]
    assert "schema_version 99" in refused[newer]
    assert gone.s3_key in refused[lost]
    assert "no such dead letter" in refused[999]
    left = {letter.id for letter in await service.dead_letters()}
    assert left == {nonsense, newer, lost}


@pytest.mark.parametrize("ids", [[], [5], [1]])
async def test_without_a_letter_that_can_run_again_nothing_is_submitted(
    service: S3DocumentService, bus: FakeBus, ids: list[int]
) -> None:
    await bus.put("b", "j", b"{}")
    assert await bus.pull(1, 0) == []
    await reconcile(bus)
    with pytest.raises(SourceError, match="no dead letter was requeued"):
        await service.requeue(ids)
    assert len(await bus.states()) == 1
    assert await bus.count_dead_letters() == 1


async def test_a_letter_stays_while_its_new_job_is_not_on_the_queue(
    service: S3DocumentService,
    bus: FakeBus,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await give_up(bus, storage)
    (letter,) = await service.dead_letters()

    async def refuse(messages: object, headers: object) -> None:
        raise BusError("the server is gone")

    monkeypatch.setattr(bus, "publish", refuse)
    done = await service.requeue([letter.id])
    with pytest.raises(BusError, match="gone"):
        await done.batch.follow()
    assert await service.dead_letters() == [letter]


def test_the_frame_of_letters_shows_no_secret_and_keeps_its_types_when_empty() -> None:
    sent = message(options={"password": PASSWORD}, s3_url=SIGNED, filename="ü.pdf")
    letter = DeadLetter(
        kind="max_deliveries",
        reason="given up",
        subject="docnats.default.jobs.normal.b.j",
        job=("b", "j"),
        sequence=3,
        stored_at=utc_now(),
        deliveries=6,
        consumer="workers-normal",
        data=sent.to_json(),
        size=len(sent.to_json()) + 1,
        id=1,
    )
    unknown = DeadLetter("undecodable", "", "x", None, 4, utc_now(), 1, "", b"\xff[[[", 4, id=2)
    frame, empty = _letters_frame([letter, unknown]), _letters_frame([])
    told = frame.to_json(date_format="iso") + repr(letter)
    assert PASSWORD not in told
    assert "Signature" not in told
    first, second = frame.to_dict("records")
    assert (first["filename"], first["job_id"], first["truncated"]) == ("ü.pdf", "j", True)
    assert frame.filename.isna().tolist() == frame.batch.isna().tolist() == [False, True]
    assert second["bytes"] == 4
    assert list(empty.dtypes) == list(frame.dtypes)
    assert _ids(frame) == _ids([1, 2]) == _ids(frame["id"]) == [1, 2]
    assert _ids(7) == [7]


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"3", b'{"filename": 3}', b'{"filename'])
def test_a_letter_without_a_name_that_can_be_read_has_none(data: bytes) -> None:
    letter = DeadLetter("undecodable", "", "", None, 1, utc_now(), 1, "", data, len(data))
    assert letter.filename is None
