"""Senders that die, stall or are overtaken: what becomes of the rows they did not send."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache

import pytest

from docnats.bus import StateEntry
from docnats.errors import BusError, ConfigError
from docnats.models import JobMessage, JobRecord, JobState, SenderInfo, utc_now
from docnats.names import RAW_PREFIX
from docnats.reconcile import reconcile, senders, this_sender
from docnats.reconcile.process import is_gone
from docnats.service import S3DocumentClient, presence
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import overwrite, write_new
from tests.waiting import until

ELSEWHERE = {"host": "elsewhere", "pid": 1, "machine": "another", "born": ""}


def record(number: int, state: JobState = JobState.UPLOADING) -> JobRecord:
    return JobRecord(
        job_id=f"j{number}",
        batch="b",
        position=number,
        filename=f"{number}.pdf",
        state=state,
        s3_bucket="documents",
        s3_key=f"raw/j{number}.pdf",
        submitted_at=utc_now(),
    )


async def left_by(bus: FakeBus, sender: SenderInfo) -> None:
    """Leave what a sender leaves that dies in the middle: 0 and 1 are told, 2 and 3 are not."""
    await bus.enlist(sender)
    jobs = [record(0, JobState.QUEUED), record(1), record(2), record(3)]
    await write_new(bus, jobs)
    await bus.publish(job.message() for job in jobs[:2])


@cache
def dead_process() -> SenderInfo:
    """Return a process of this machine that was there and is gone."""
    code = "from docnats.reconcile import this_sender; print(this_sender('b').model_dump_json())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60, env=os.environ
    )
    return SenderInfo.from_json(done.stdout)


async def states(bus: FakeBus) -> list[str]:
    found = sorted((e.record for e in await bus.states("b")), key=lambda job: job.position)
    return [job.error_type or job.state for job in found]


SETTLED = ["queued", "queued", "not_sent", "not_sent"]
UNSETTLED = ["queued", "uploading", "uploading", "uploading"]


async def test_what_a_dead_sender_did_not_send_has_failed_and_what_it_told_is_queued(
    bus: FakeBus,
) -> None:
    """Its process is looked up where that can be: nobody has to wait."""
    sender = dead_process()
    await left_by(bus, sender)
    await reconcile(bus)
    assert await states(bus) == SETTLED
    assert await bus.senders() == []
    failed = bus.records["b", "j2"].record
    assert failed.error is not None
    assert f"({sender.host}, pid {sender.pid}) ended before it was sent" in failed.error
    before = dict(bus.records)
    await reconcile(bus)
    assert bus.records == before


async def test_a_sender_that_lives_is_left_alone(bus: FakeBus) -> None:
    await left_by(bus, this_sender("b"))
    await reconcile(bus)
    assert await states(bus) == UNSETTLED
    assert len(await bus.senders()) == 1


async def test_a_sender_elsewhere_is_dead_when_it_is_silent_and_stays_so_once_suspected(
    bus: FakeBus,
) -> None:
    """After an outage of NATS every sender has been silent; each gets time for one sign."""
    await left_by(bus, this_sender("b").but(**ELSEWHERE))
    bus.silence("b", senders.SILENT_SECONDS - 1)
    await reconcile(bus)
    assert not (await bus.senders())[0].sender.suspected
    bus.silence("b", 2)
    for _ in range(3):
        await reconcile(bus)
        assert (await bus.senders())[0].sender.suspected
    assert await states(bus) == UNSETTLED
    bus.silence("b", senders.SUSPECTED_SECONDS + 1)
    await reconcile(bus)
    assert await states(bus) == SETTLED
    assert await bus.senders() == []


async def test_a_message_published_while_its_row_is_settled_changes_nothing(
    bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a row that moves on meanwhile is read again."""
    await left_by(bus, dead_process())
    queued = bus.queued

    async def overtaken(batch: str | None = None) -> set[tuple[str, str]]:
        monkeypatch.setattr(bus, "queued", queued)
        found = await queued(batch)
        await bus.publish([record(2).message()])
        await overwrite(bus, [record(1, JobState.RUNNING)])
        return found

    monkeypatch.setattr(bus, "queued", overtaken)
    await reconcile(bus)
    assert await states(bus) == ["queued", "running", "not_sent", "not_sent"]
    assert await bus.senders() == []


def test_a_process_is_gone_when_its_id_is_free_or_another_has_it() -> None:
    here = this_sender("b")
    assert not is_gone(here)
    assert is_gone(dead_process())
    assert not is_gone(dead_process().but(machine="another"))
    if here.born:  # macOS does not tell
        assert is_gone(here.but(born="1"))


async def test_a_batch_is_in_the_registry_for_as_long_as_it_is_sent(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    await client.submit({"a.pdf": b"A"}, batch="b")
    (entry,) = await bus.senders()
    assert (entry.sender.batch, entry.sender.pid) == ("b", os.getpid())
    await asyncio.gather(*client._sending)
    assert await bus.senders() == []


async def test_two_at_the_same_time_cannot_send_one_batch(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    await bus.enlist(this_sender("b").but(**ELSEWHERE))
    with pytest.raises(ConfigError, match="another process is just sending"):
        await client.submit({"a.pdf": b"A"}, batch="b")
    assert bus.records == {}
    assert [entry.sender.host for entry in await bus.senders()] == ["elsewhere"]


async def test_a_client_that_is_closed_settles_what_it_has_not_sent(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(key: str, data: bytes) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(storage, "put_bytes", never)
    await client.submit({"0.pdf": b"A", "1.pdf": b"B"}, batch="b")
    await asyncio.sleep(0)
    await client.submit({"2.pdf": b"A"}, batch="c")  # closed before it began
    await client.close()
    assert await states(bus) == ["not_sent", "not_sent"]
    assert {entry.record.error for entry in bus.records.values()} == {
        "not sent, because its client was closed; submit the file again"
    }
    assert await bus.senders() == []


async def test_a_sending_that_fails_says_why_in_the_rows(
    client: S3DocumentClient, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(messages: Iterable[JobMessage], headers: object) -> None:
        raise BusError("NATS takes nothing")

    monkeypatch.setattr(bus, "publish", refused)
    batch = await client.submit({"0.pdf": b"A"}, batch="b")
    with pytest.raises(BusError):
        await batch.follow(timeout=10)
    await asyncio.gather(*client._abandoning)
    assert await states(bus) == ["not_sent"]
    assert "NATS takes nothing" in (bus.records["b", next(iter(bus.records))[1]].record.error or "")


async def test_a_sender_that_was_suspected_makes_it_good_with_its_next_sign(
    client: S3DocumentClient,
    bus: FakeBus,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "SIGN_SECONDS", 0.01)
    go_on = asyncio.Event()
    put = storage.put_bytes

    async def slow(key: str, data: bytes) -> object:
        await go_on.wait()
        return await put(key, data)

    monkeypatch.setattr(storage, "put_bytes", slow)
    await client.submit({"0.pdf": b"A"}, batch="b")
    (entry,) = await bus.senders()
    await bus.enlist(entry.sender.but(suspected=True), entry.revision)
    await until(bus.senders, lambda found: not found[0].sender.suspected)
    go_on.set()
    await asyncio.gather(*client._sending)
    assert await states(bus) == ["queued"]


async def test_a_stalled_sender_takes_back_what_it_sends_after_it_was_taken_for_dead(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One upload was on its way; the others are not begun any more."""
    monkeypatch.setattr(presence, "SIGN_SECONDS", 0.01)
    stalled, go_on = asyncio.Event(), asyncio.Event()
    put, uploads = storage.put_bytes, []

    async def stalling(key: str, data: bytes) -> object:
        uploads.append(key)
        stalled.set()
        await go_on.wait()
        return await put(key, data)

    monkeypatch.setattr(storage, "put_bytes", stalling)
    one_lane = client.using(client.config.but(max_uploads=1))
    await one_lane.submit({f"{i}.pdf": b"A" for i in range(5)}, batch="b")
    await stalled.wait()
    (entry,) = await bus.senders()
    await senders.settle_unsent(bus, entry.sender)
    (submission,) = client._sending.values()
    await until(lambda: submission._presence.taken_for_dead)
    go_on.set()
    await asyncio.gather(*client._sending)
    assert await states(bus) == ["not_sent"] * 5
    assert bus.queue == {}
    assert len(uploads) == 1
    assert [o.key async for o in storage.list(RAW_PREFIX)] == []


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.DONE, JobState.FAILED])
async def test_a_worker_that_is_faster_than_the_sender_keeps_the_job(
    client: S3DocumentClient,
    bus: FakeBus,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
    state: JobState,
) -> None:
    publish = bus.publish

    async def taken_at_once(messages: Iterable[JobMessage], headers: object) -> None:
        messages = list(messages)
        await publish(messages)
        for told in messages:
            known = bus.records[told.batch, told.request_id]
            await bus.update_state(known.record.but(state=state), known.revision)

    monkeypatch.setattr(bus, "publish", taken_at_once)
    await client.submit({"0.pdf": b"A"}, batch="b")
    await asyncio.gather(*client._sending)
    assert await states(bus) == [state]
    assert len(bus.queue) == 1
    assert len([o async for o in storage.list(RAW_PREFIX)]) == 1


@pytest.mark.parametrize("moment", ["before", "between", "after"])
async def test_a_job_cancelled_around_its_publication_is_neither_queued_nor_stored(
    client: S3DocumentClient,
    bus: FakeBus,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Before: state and queue are purged first. Between: the message comes after the purge."""
    publish, drop = bus.publish, bus.drop_queued
    told: list[JobMessage] = []

    async def cancelled_too(messages: Iterable[JobMessage], headers: object) -> None:
        told.extend(messages)
        if moment == "before":
            await client.cancel([bus.records[m.batch, m.request_id].record for m in told])
        if moment == "between":
            monkeypatch.setattr(bus, "drop_queued", dropped_too_early)
            await client.cancel([bus.records[m.batch, m.request_id].record for m in told])
        await publish(told)
        if moment == "after":
            await client.cancel([bus.records[m.batch, m.request_id].record for m in told])

    async def dropped_too_early(batch: str, job_ids: object = None) -> int:
        monkeypatch.setattr(bus, "drop_queued", drop)
        await publish(told)
        return 0

    monkeypatch.setattr(bus, "publish", cancelled_too)
    await client.submit({"0.pdf": b"A"}, batch="b")
    await asyncio.gather(*client._sending)
    assert await states(bus) == ["cancelled"]
    assert bus.queue == {}
    assert [o.key async for o in storage.list(RAW_PREFIX)] == []


async def test_what_a_batch_has_not_sent_is_named_when_its_name_is_used_again(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    await left_by(bus, dead_process())
    with pytest.raises(ConfigError) as caught:
        await client.submit({"a.pdf": b"A"}, batch="b")
    assert "Of its 4 files 2 were never sent (2.pdf, 3.pdf)" in str(caught.value)
    assert 'docnats.jobs("b", state="failed")' in str(caught.value)


async def test_looking_at_a_batch_shows_the_truth_at_once(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    await left_by(bus, dead_process())
    table = (await client.attach("b")).table
    assert [job.error_type or job.state for job in table.records()] == SETTLED


async def test_a_row_that_was_never_told_of_is_not_taken_by_mistake(bus: FakeBus) -> None:
    """Settling is a compare-and-set: what changed since it was read is left as it is."""
    await left_by(bus, dead_process())
    entry = bus.records["b", "j3"]
    await overwrite(bus, [entry.record.but(state=JobState.CANCELLED)])
    assert await bus.update_states([StateEntry(entry.record, entry.revision)]) == [None]
    await reconcile(bus)
    assert await states(bus) == ["queued", "queued", "not_sent", "cancelled"]
