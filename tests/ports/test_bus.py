"""The bus port: one suite for the fake and for a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pytest
import pytest_asyncio

from docnats.bus import Backlog, Bus, Lease, NatsBus, PoisonEntry, StateEntry, schema
from docnats.config import NatsConfig
from docnats.errors import BusError, ErrorType, StateConflict
from docnats.models import (
    ArchivedBatch,
    JobMessage,
    JobRecord,
    JobState,
    JobUrls,
    KnownResult,
    PageProgress,
    Poison,
    SenderInfo,
    WorkerInfo,
    utc_now,
)
from docnats.names import new_job_id, poison_key
from tests.fakes.bus import FakeBus
from tests.job_table import overwrite, write_new
from tests.waiting import until

T = TypeVar("T")

ACK_WAIT = 2.0
LIMIT = 20.0
"""Seconds that anything in here may take; far longer than it does."""


@pytest_asyncio.fixture(params=["fake", "nats_config", "cluster_config"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """Yield an open bus whose leases last for ACK_WAIT seconds."""
    if request.param == "fake":
        yield FakeBus(ack_wait=ACK_WAIT)
        return
    config: NatsConfig = request.getfixturevalue(request.param)
    async with NatsBus(config.but(ack_wait=ACK_WAIT)) as bus:
        await bus.ensure()
        yield bus


def message(batch: str = "b", **changes: object) -> JobMessage:
    job_id = new_job_id()
    made = JobMessage(
        request_id=job_id,
        batch=batch,
        s3_bucket="documents",
        s3_key=f"raw/{job_id}.pdf",
        timestamp=utc_now(),
        file_size=1234,
        processing_timeout=600,
        filename="a.pdf",
    )
    return made.but(**changes)


def record(batch: str = "b", **changes: object) -> JobRecord:
    job_id = new_job_id()
    made = JobRecord(
        job_id=job_id,
        batch=batch,
        filename="a.pdf",
        state=JobState.UPLOADING,
        s3_bucket="documents",
        s3_key=f"raw/{job_id}.pdf",
        submitted_at=utc_now(),
    )
    return made.but(**changes)


async def pull_all(bus: Bus, count: int) -> list[Lease]:
    """Pull until there are so many leases."""
    leases: list[Lease] = []
    async with asyncio.timeout(LIMIT):
        while len(leases) < count:
            leases += await bus.pull(count - len(leases), 5)
    return leases


async def pull_one(bus: Bus) -> Lease:
    (lease,) = await pull_all(bus, 1)
    return lease


async def counted(bus: Bus, jobs: int) -> Backlog:
    """Return the backlog once it has so many jobs: the server stores them before it counts them."""
    found: Backlog = await until(bus.backlog, lambda found: sum(found) == jobs, within=LIMIT)
    return found


async def begun_pull(bus: Bus, limit: int, wait: float) -> asyncio.Task[list[Lease]]:
    """Begin a pull, and return once the queue knows that it waits."""
    pull = asyncio.create_task(bus.pull(limit, wait))
    await until(partial(waiting_pulls, bus), within=LIMIT)
    return pull


async def waiting_pulls(bus: Bus) -> int:
    if isinstance(bus, FakeBus):
        return bus.waiting_pulls
    assert isinstance(bus, NatsBus)
    info = await bus._connection.api(f"CONSUMER.INFO.{bus._consumer}")
    count: int = info["num_waiting"]
    return count


async def begun_hearing(bus: Bus, told: AsyncIterator[T]) -> asyncio.Future[T]:
    """Begin to wait for what is told, and return once whatever is told will be heard."""
    heard = asyncio.ensure_future(anext(told))
    for _ in range(2):  # during the first it subscribes; the server reads that before the second
        await bus.round_trip()
    return heard


# --- the queue


async def test_a_published_job_arrives_as_it_was(bus: Bus) -> None:
    sent = message(
        filename="Grüße/論文 №1.pdf",
        s3_url="https://s3.example.org/raw?signature=%2B",
        options={"password": "geheim ☂", "n": [1, None]},
        custom_prompt="line one\r\nline two",
    )
    await bus.publish([sent])
    lease = await pull_one(bus)
    assert (lease.message, lease.attempt) == (sent, 1)


async def test_what_travels_along_with_a_job_comes_again_with_it(bus: Bus) -> None:
    traced, plain = message(), message()
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    await bus.publish([traced, plain], {traced.request_id: headers})
    first, second = await pull_all(bus, 2)
    assert headers.items() <= first.headers.items()
    assert "traceparent" not in second.headers
    await first.release()
    again = await pull_one(bus)
    assert (again.message, again.attempt) == (traced, 2)
    assert headers.items() <= again.headers.items()


async def test_jobs_arrive_in_the_order_of_publication_and_never_more_than_asked(bus: Bus) -> None:
    sent = [message() for _ in range(7)]
    await bus.publish(sent)
    first = await bus.pull(3, 1)
    rest = await bus.pull(10, 1)
    assert [lease.message for lease in first + rest] == sent
    assert len(first) == 3


async def test_publishing_nothing_and_asking_for_nothing_are_fine(bus: Bus) -> None:
    await bus.publish([])
    assert await bus.pull(0, 1) == []
    assert await bus.update_states([]) == []


async def test_a_job_that_is_queued_or_leased_is_not_queued_again(bus: Bus) -> None:
    sent = message()
    await bus.publish([sent, sent])
    await bus.publish([sent])
    lease = await pull_one(bus)
    await bus.publish([sent])
    assert await bus.pull(10, 0.1) == []
    await lease.ack()
    assert await bus.backlog() == (0, 0)


async def test_a_job_that_has_just_ended_is_not_queued_again(bus: Bus) -> None:
    """As when the answer to its sender was lost; a retry is a new job."""
    sent = message()
    await bus.publish([sent])
    await (await pull_one(bus)).ack()
    await bus.publish([sent, other := message()])
    assert [lease.message for lease in await pull_all(bus, 1)] == [other]
    assert await bus.pull(1, 0.2) == []


async def test_a_pull_without_jobs_returns_nothing(bus: Bus) -> None:
    assert await bus.pull(5, 0.2) == []
    assert await bus.pull(5, 0) == []


async def test_a_waiting_pull_returns_as_soon_as_there_is_one_job(bus: Bus) -> None:
    pull = await begun_pull(bus, 8, 10 * LIMIT)
    await bus.publish([message()])
    assert len(await asyncio.wait_for(pull, LIMIT)) == 1


async def test_no_job_goes_to_two_at_a_time(bus: Bus) -> None:
    sent = [message() for _ in range(60)]
    await bus.publish(sent)
    pulls = await asyncio.gather(*(bus.pull(10, 1) for _ in range(6)))
    pulled = [lease.message.request_id for leases in pulls for lease in leases]
    assert sorted(pulled) == sorted(job.request_id for job in sent)


async def test_a_job_comes_back_when_its_lease_is_over(bus: Bus) -> None:
    await bus.publish([message()])
    first = await pull_one(bus)
    second = await pull_one(bus)
    assert second.message == first.message
    assert (first.attempt, second.attempt) == (1, 2)


async def test_a_renewed_lease_is_not_over(bus: Bus) -> None:
    await bus.publish([message()])
    lease = await pull_one(bus)
    for _ in range(12):
        assert await bus.pull(1, ACK_WAIT / 8) == []
        await lease.renew()
    assert not lease.lapsed
    await lease.ack()
    assert await bus.backlog() == (0, 0)


async def test_a_lease_that_may_have_run_out_is_doubtful_for_good(bus: Bus) -> None:
    await bus.publish([message()])
    lease = await pull_one(bus)
    assert not lease.lapsed
    await pull_one(bus)
    assert lease.lapsed, "somebody else has the job"
    await lease.renew()
    assert lease.lapsed


async def test_a_released_job_comes_back(bus: Bus) -> None:
    await bus.publish([message()])
    await (await pull_one(bus)).release()
    assert (await pull_one(bus)).attempt == 2


async def test_a_job_released_with_a_delay_comes_back_later(bus: Bus) -> None:
    sent = message(), message()
    await bus.publish(sent)
    first = await pull_one(bus)
    await first.release(delay=1)
    second, third = await pull_all(bus, 2)
    assert [first.message, second.message, third.message] == [*sent, sent[0]]


async def test_an_ack_does_not_fence(bus: Bus) -> None:
    """The queue takes the ack of a lease that is over, so only a state write may decide."""
    await bus.publish([message()])
    stale = await pull_one(bus)
    await pull_one(bus)
    await stale.ack()
    assert await bus.backlog() == (0, 0)


async def test_deliveries_leave_room_for_hand_backs_beside_those_that_workers_die_of(
    bus: Bus,
) -> None:
    await bus.publish([message()])
    attempts = []
    for _ in range(5 + schema.HAND_BACKS):
        lease = await pull_one(bus)
        attempts.append(lease.attempt)
        await lease.release()
    assert attempts == list(range(1, 6 + schema.HAND_BACKS))
    assert await bus.pull(1, 0.2) == []


async def test_a_cancelled_pull_loses_nothing(bus: Bus) -> None:
    pull = await begun_pull(bus, 8, LIMIT)
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    await bus.publish([message()])
    assert (await pull_one(bus)).attempt == 1


async def test_the_backlog_counts_waiting_and_leased_jobs(bus: Bus) -> None:
    await bus.publish([message() for _ in range(5)])
    leases = await pull_all(bus, 2)
    assert await counted(bus, 5) == (3, 2)
    await leases[0].ack()
    found = await bus.backlog()
    assert (found.pending, found.leased) == (3, 1)


async def test_a_batch_or_one_job_can_be_taken_off_the_queue(bus: Bus) -> None:
    kept, gone = [message("kept") for _ in range(3)], [message("gone") for _ in range(4)]
    await bus.publish([*kept, *gone])
    assert await bus.drop_queued("gone") == 4
    assert await bus.drop_queued("kept", [kept[1].request_id, "unknown"]) == 1
    assert [lease.message for lease in await bus.pull(10, 1)] == [kept[0], kept[2]]


async def test_a_dropped_job_that_was_leased_is_not_delivered_again(bus: Bus) -> None:
    await bus.publish([message()])
    lease = await pull_one(bus)
    assert await bus.drop_queued("b") == 1
    await lease.renew()
    await lease.release()
    assert await bus.pull(1, 0.2) == []


async def test_a_message_over_the_servers_limit_names_its_job_and_nothing_is_published(
    bus: Bus,
) -> None:
    large = message(filename="huge.pdf", custom_prompt="x" * 2 * 1024 * 1024)
    with pytest.raises(BusError, match=rf"{large.request_id} \(huge.pdf\)"):
        await bus.publish([message(), large])
    assert await bus.backlog() == (0, 0)


async def test_a_message_of_another_schema_is_never_delivered(bus: Bus) -> None:
    understood = message()
    await bus.publish([message(schema_version=99), understood])
    assert (await pull_one(bus)).message == understood
    assert await bus.pull(10, 0.2) == []


# --- states


async def test_a_state_comes_back_as_it_was(bus: Bus) -> None:
    written = record(
        filename="Grüße/論文.pdf",
        state=JobState.FAILED,
        error_type=ErrorType.TIMEOUT,
        error="no\nend",
        pages=3,
        finished_at=datetime(2026, 1, 31, 9, 45, tzinfo=UTC),
        options={"n": 1},
    )
    (revision,) = await write_new(bus, [written])
    assert await bus.get_state("b", written.job_id) == StateEntry(written, revision)


async def test_an_unknown_state_is_none(bus: Bus) -> None:
    assert await bus.get_state("b", "unknown") is None
    assert await bus.states("b") == await bus.states() == []


async def test_a_state_is_updated_only_from_the_revision_that_was_read(bus: Bus) -> None:
    queued = record(state=JobState.QUEUED)
    (revision,) = await write_new(bus, [queued])
    running = queued.but(state=JobState.RUNNING)
    newer = await bus.update_state(running, revision)
    assert newer > revision
    with pytest.raises(StateConflict, match=queued.job_id):
        await bus.update_state(queued.but(state=JobState.DONE), revision)
    assert await bus.get_state("b", queued.job_id) == StateEntry(running, newer)


async def test_revision_0_stands_for_no_record(bus: Bus) -> None:
    new = record()
    revision = await bus.update_state(new, 0)
    with pytest.raises(StateConflict):
        await bus.update_state(new, 0)
    assert await bus.get_state("b", new.job_id) == StateEntry(new, revision)


async def test_of_many_writers_one_wins(bus: Bus) -> None:
    (revision,) = await write_new(bus, [job := record()])
    rivals = [job.but(worker=f"w{i}") for i in range(20)]
    outcomes = await asyncio.gather(
        *(bus.update_state(rival, revision) for rival in rivals), return_exceptions=True
    )
    winners = [w for w, outcome in zip(rivals, outcomes, strict=True) if isinstance(outcome, int)]
    assert len(winners) == 1
    stored = await bus.get_state("b", job.job_id)
    assert stored is not None
    assert [stored.record] == winners


async def test_many_updates_tell_each_ones_outcome(bus: Bus) -> None:
    jobs = [record(position=i) for i in range(6)]
    revisions = await write_new(bus, jobs)
    assert revisions == sorted({*revisions})
    await bus.update_state(jobs[2].but(state=JobState.CANCELLED), revisions[2])
    queued = [
        StateEntry(job.but(state=JobState.QUEUED), revision)
        for job, revision in zip(jobs, revisions, strict=True)
    ]
    outcomes = await bus.update_states(queued)
    assert [position for position, outcome in enumerate(outcomes) if outcome is None] == [2]
    states = {entry.record.position: entry for entry in await bus.states("b")}
    assert states[2].record.state is JobState.CANCELLED
    assert all(states[i].revision == outcomes[i] for i in (0, 1, 3, 4, 5))


async def test_a_snapshot_holds_each_job_once_with_its_last_state(bus: Bus) -> None:
    jobs = [record(f"b{i % 2}", position=i) for i in range(2500)]
    revisions = await write_new(bus, jobs)
    await bus.update_states(
        [StateEntry(jobs[i].but(state=JobState.DONE), revisions[i]) for i in range(1200)]
    )
    every = {entry.record.position: entry.record for entry in await bus.states()}
    assert [every[i].state is JobState.DONE for i in range(2500)] == [i < 1200 for i in range(2500)]
    assert len(await bus.states()) == 2500
    assert {entry.record.batch for entry in await bus.states("b1")} == {"b1"}
    assert len(await bus.states("b1")) == 1250


async def test_a_watch_gives_what_is_there_then_a_mark_then_each_change(bus: Bus) -> None:
    jobs = [record(position=i) for i in range(3)]
    revisions = await write_new(bus, [*jobs, record("other")])
    async with asyncio.timeout(LIMIT), aclosing(bus.watch("b")) as entries:
        seen = [await anext(entries) for _ in range(4)]
        there = [StateEntry(*pair) for pair in zip(jobs, revisions[:3], strict=True)]
        assert sorted(filter(None, seen), key=lambda entry: entry.revision) == there
        assert seen[3] is None
        await write_new(bus, [record("other")])
        queued = jobs[1].but(state=JobState.QUEUED)
        revision = await bus.update_state(queued, revisions[1])
        assert await anext(entries) == StateEntry(queued, revision)
        (revision,) = await write_new(bus, [new := record()])
        assert await anext(entries) == StateEntry(new, revision)


async def test_a_watch_of_an_empty_batch_begins_with_the_mark(bus: Bus) -> None:
    async with asyncio.timeout(LIMIT), aclosing(bus.watch("b")) as entries:
        assert await anext(entries) is None
        await write_new(bus, [record()])
        assert await anext(entries) is not None


async def test_watches_do_not_take_entries_from_each_other(bus: Bus) -> None:
    async with (
        asyncio.timeout(LIMIT),
        aclosing(bus.watch("b")) as one,
        aclosing(bus.watch("b")) as two,
    ):
        assert (await anext(one), await anext(two)) == (None, None)
        await write_new(bus, [record()])
        first = await anext(one)
        assert first is not None
        assert first == await anext(two)


async def test_a_watch_sees_the_last_state_of_every_job_under_a_storm_of_writes(bus: Bus) -> None:
    jobs = [record(position=i) for i in range(300)]
    last: dict[int, JobState] = {}

    async def watch() -> None:
        async with aclosing(bus.watch("b")) as entries:
            async for entry in entries:
                if entry is not None:
                    last[entry.record.position] = entry.record.state
                if len(last) == 300 and set(last.values()) == {JobState.DONE}:
                    return

    watching = asyncio.create_task(watch())
    await write_new(bus, jobs)
    for state in JobState.QUEUED, JobState.RUNNING, JobState.DONE:
        await overwrite(bus, [job.but(state=state) for job in jobs])
    await asyncio.wait_for(watching, LIMIT)


# --- poison


KEY = poison_key("ab" * 32, "docling-parse", "7.23.1", {"n": 1})


def poison(**changes: object) -> Poison:
    made = Poison(
        error_type=ErrorType.CRASHED,
        error="died of SIGSEGV",
        job_id="j",
        batch="b",
        filename="Grüße.pdf",
        processing_timeout=600,
        memory_limit=2 << 30,
        seen_at=datetime(2026, 1, 31, 9, 45, tzinfo=UTC),
    )
    return made.but(**changes)


async def test_poison_that_is_known_comes_first_then_a_mark_then_what_others_find(
    bus: Bus,
) -> None:
    await bus.put_poison(KEY, poison(error="before"))
    await bus.put_poison(KEY, known := poison())
    async with asyncio.timeout(LIMIT), aclosing(bus.watch_poison()) as entries:
        assert await anext(entries) == PoisonEntry(KEY, known)
        assert await anext(entries) is None
        other = poison_key("cd" * 32, "docling-parse", "7.23.1", {})
        await bus.put_poison(other, known)
        assert await anext(entries) == PoisonEntry(other, known)


async def test_poison_that_was_removed_is_told_as_such(bus: Bus) -> None:
    await bus.remove_poison(KEY)
    await bus.put_poison(KEY, known := poison())
    async with asyncio.timeout(LIMIT), aclosing(bus.watch_poison()) as entries:
        while await anext(entries):
            pass
        await bus.remove_poison(KEY)
        assert await anext(entries) == PoisonEntry(KEY, None)
        await bus.put_poison(KEY, known)
        assert await anext(entries) == PoisonEntry(KEY, known)


# --- known results


def known(**changes: object) -> KnownResult:
    made = KnownResult(
        job_id="j",
        batch="b",
        s3_bucket="documents",
        s3_key="raw/j.pdf",
        result_key="processed/j/",
        bytes=9,
        pages=1,
    )
    return made.but(**changes)


async def test_known_results_are_found_by_key_and_the_last_note_counts(bus: Bus) -> None:
    other = poison_key("ab" * 32, "docling-parse", "7.24", {"n": 1})
    await bus.put_results({KEY: known(job_id="before")})
    await bus.put_results({KEY: known(), other: known(job_id="o")})
    unknown = poison_key("cd" * 32, "docling-parse", "7.24", {})
    assert await bus.known_results([unknown, other, KEY]) == [None, known(job_id="o"), known()]
    assert await bus.known_results([]) == []


async def test_all_that_is_known_of_a_document_is_forgotten_and_no_other(bus: Bus) -> None:
    twin = poison_key("ab" * 32, "docling-parse", "7.24", {})
    other = poison_key("cd" * 32, "docling-parse", "7.24", {})
    await bus.put_results({KEY: known(), twin: known(), other: known()})
    await bus.forget_results(["ab" * 32, "ef" * 32])
    assert await bus.known_results([KEY, twin, other]) == [None, None, known()]
    await bus.forget_results()
    assert await bus.known_results([other]) == [None]


# --- progress, cancels, workers


async def test_page_progress_reaches_those_who_listen_to_the_batch(bus: Bus) -> None:
    told = PageProgress(job_id="j", batch="b", pages_done=3, pages=9)
    async with asyncio.timeout(LIMIT), aclosing(bus.progress("b")) as progress:
        heard = await begun_hearing(bus, progress)
        bus.tell_progress(told.but(batch="other"))
        bus.tell_progress(told)
        assert await heard == told


async def test_a_cancel_reaches_the_workers(bus: Bus) -> None:
    async with asyncio.timeout(LIMIT), aclosing(bus.cancellations()) as cancels:
        heard = await begun_hearing(bus, cancels)
        await bus.broadcast_cancel("b", ["j1", "j2"])
        assert (await heard, await anext(cancels)) == (("b", "j1"), ("b", "j2"))


async def test_a_request_for_urls_is_answered_by_one_of_those_who_sign(bus: Bus) -> None:
    asked: list[tuple[str, str, str]] = []

    async def sign(name: str) -> None:
        async with aclosing(bus.url_requests()) as requests:
            async for request in requests:
                asked.append((name, request.batch, request.job_id))
                await request.answer(JobUrls(s3_url=f"https://{request.job_id}", refused=name))

    signers = [asyncio.create_task(sign(name)) for name in ("one", "two")]
    async with asyncio.timeout(LIMIT):
        await bus.round_trip()
        await bus.round_trip()  # as in begun_hearing
        answers = await asyncio.gather(*(bus.ask_for_urls("b", f"j{i}") for i in range(20)))
    assert [answer.s3_url for answer in answers if answer] == [f"https://j{i}" for i in range(20)]
    assert sorted(job_id for _, _, job_id in asked) == sorted(f"j{i}" for i in range(20))
    for signer in signers:
        signer.cancel()
    await asyncio.gather(*signers, return_exceptions=True)


async def test_a_request_for_urls_that_nobody_hears_is_answered_at_once_with_none(
    bus: Bus,
) -> None:
    async with asyncio.timeout(LIMIT):
        assert await bus.ask_for_urls("b", "j") is None


def worker(name: str, **changes: object) -> WorkerInfo:
    made = WorkerInfo(
        worker=name,
        host="höst",
        pid=1,
        parsers=2,
        processors=("docling-parse",),
        version="0",
        started_at=utc_now(),
    )
    return made.but(**changes)


async def test_workers_are_listed_from_their_announcement_to_their_withdrawal(bus: Bus) -> None:
    one, two = worker("host-1-aa"), worker("host-2-bb")
    await bus.announce(one)
    await bus.announce(two)
    busy = two.but(jobs=("j1",))
    await bus.announce(busy)
    assert sorted(await bus.workers(), key=lambda w: w.worker) == [one, busy]
    await bus.withdraw("host-1-aa")
    await bus.withdraw("never-there")
    assert await bus.workers() == [busy]


# --- senders


def sender(batch: str = "b", **changes: object) -> SenderInfo:
    made = SenderInfo(batch=batch, host="laptop", pid=17, started_at=utc_now())
    return made.but(**changes)


async def test_senders_are_listed_until_they_leave_and_each_sign_of_life_is_fresh(bus: Bus) -> None:
    assert await bus.senders() == []
    mine = sender()
    first = await bus.enlist(mine)
    await bus.enlist(sender("c"))
    found = {entry.sender.batch: entry for entry in await bus.senders()}
    assert 0 <= found["c"].silent < found["b"].silent < LIMIT
    second = await bus.enlist(mine, first)
    found = {entry.sender.batch: entry for entry in await bus.senders()}
    assert (found["b"].sender, found["b"].revision) == (mine, second)
    assert found["b"].silent < found["c"].silent
    assert second > first
    await bus.delist("b")
    await bus.delist("b")
    assert [entry.sender.batch for entry in await bus.senders()] == ["c"]


async def test_a_batch_has_one_sender_and_one_that_was_removed_learns_of_it(bus: Bus) -> None:
    mine = sender()
    revision = await bus.enlist(mine)
    with pytest.raises(StateConflict):
        await bus.enlist(mine.but(pid=18))
    assert await bus.enlist(mine) > 0  # its own, written twice
    (entry,) = await bus.senders()
    with pytest.raises(StateConflict):
        await bus.enlist(mine.but(suspected=True), entry.revision + 1)
    await bus.enlist(mine.but(suspected=True), entry.revision)
    with pytest.raises(StateConflict):
        await bus.enlist(mine, revision)
    await bus.delist("b")
    with pytest.raises(StateConflict):
        await bus.enlist(mine, entry.revision)
    assert await bus.senders() == []


async def test_the_jobs_on_the_queue_are_known_whether_leased_or_not(bus: Bus) -> None:
    jobs = [message(), message(), message("c")]
    await bus.publish(jobs)
    lease = await pull_one(bus)
    keys = [(job.batch, job.request_id) for job in jobs]
    assert await bus.queued("b") == set(keys[:2])
    assert await bus.queued() == set(keys)
    await lease.ack()
    # Copies learn of it later.
    await until(partial(bus.queued, "b"), lambda found: found == {keys[1]}, within=LIMIT)
    assert await bus.queued("nothing") == set()


async def test_a_round_trip_leaves_no_trace(bus: Bus) -> None:
    assert await bus.round_trip() >= 0
    assert await bus.workers() == []
    assert await bus.states() == []


# --- archived batches


def archived(batch: str = "b", **changes: object) -> ArchivedBatch:
    made = ArchivedBatch(
        batch=batch,
        submitted_at=utc_now(),
        finished_at=utc_now(),
        jobs=3,
        counts={JobState.DONE: 2, JobState.FAILED: 1},
        pages=7,
        bytes=1234,
        borrows=False,
        receipt_sha256="ab" * 32,
        archived_at=utc_now(),
    )
    return made.but(**changes)


async def test_the_index_tells_of_archived_batches(bus: Bus) -> None:
    assert await bus.archives() == []
    assert await bus.archive("b") is None
    first, second = archived(), archived("c")
    await bus.put_archive(first)
    await bus.put_archive(second)
    assert await bus.archive("b") == first
    again = first.but(borrows=True)
    await bus.put_archive(again)
    assert await bus.archive("b") == again
    assert sorted(await bus.archives(), key=lambda one: one.batch) == [again, second]


async def test_all_records_of_one_batch_are_forgotten_and_no_others(bus: Bus) -> None:
    gone, kept = record(), record("b2")
    await write_new(bus, [gone, record(), kept])
    await bus.forget_batch("b")
    await bus.forget_batch("b")
    assert await bus.states("b") == []
    assert await bus.get_state("b", gone.job_id) is None
    assert await bus.update_state(gone, 0) > 0
    await bus.forget_batch("b")
    assert [entry.record for entry in await bus.states()] == [kept]
