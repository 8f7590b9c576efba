"""Putting dead letters right: on the fake and on a real server, with deaths between the steps."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from docnats.bus import Bus, NatsBus, Why
from docnats.errors import BusError, ErrorType
from docnats.models import (
    DeadLetterKind,
    JobMessage,
    JobRecord,
    JobState,
    WorkerInfo,
    utc_now,
)
from docnats.reconcile import orphans, reconcile
from tests.fakes.bus import FakeBus
from tests.job_table import overwrite, write_new
from tests.ports.test_bus import LIMIT, counted, message, pull_one
from tests.ports.test_dead_letters import bus, exhaust, put, words

__all__ = ["bus"]

STEPS = 8
"""More calls than putting one message right takes."""


class Killed(BaseException):
    """What ends a process: nobody catches it."""


class Dying:
    """A bus on which the caller dies at its nth call, before or after it is done."""

    def __init__(self, bus: Bus, dies_at: int, *, done: bool) -> None:
        self._bus = bus
        self._left = dies_at
        self._done = done
        self.died = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._bus, name)

        async def call(*args: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.died = True
                if self._done:
                    await method(*args)
                raise Killed
            return await method(*args)

        return call


async def queue_a_job(bus: Bus) -> JobMessage:
    """Put a job on the queue, with its row."""
    sent = message(options={"password": "geheim", "ocr": False})
    await write_new(bus, [JobRecord.of(sent)])
    await bus.publish([sent])
    return sent


async def row(bus: Bus, sent: JobMessage) -> JobRecord:
    entry = await bus.get_state(sent.batch, sent.request_id)
    assert entry is not None
    return entry.record


async def is_put_right(bus: Bus, sent: JobMessage, error_type: ErrorType) -> None:
    """Assert that a job ended as a failed row and one dead letter, and nothing else is left."""
    (letter,) = await bus.dead_letters()
    found = await row(bus, sent)
    assert letter.job == (sent.batch, sent.request_id)
    assert (found.state, found.error_type) == (JobState.FAILED, error_type)
    assert found.error == letter.reason
    assert await bus.backlog() == (0, 0)
    assert await bus.drop_queued(sent.batch) == 0
    assert await bus.passed_over(10) == []


async def spoil(bus: Bus, sent: JobMessage) -> None:
    """Put the job on the queue in words that nobody understands, and have it refused."""
    await put(bus, sent.batch, sent.request_id, b'{"filename": "a.pdf"')
    assert await bus.pull(1, 0.1) == []


async def test_a_job_given_up_ends_as_a_failed_row_and_a_dead_letter(bus: Bus) -> None:
    sent = await queue_a_job(bus)
    deliveries = await exhaust(bus)
    await reconcile(bus)
    await is_put_right(bus, sent, ErrorType.CRASHED)
    (letter,) = await bus.dead_letters()
    assert letter.kind == DeadLetterKind.MAX_DELIVERIES
    assert f"after {deliveries} deliveries" in letter.reason
    assert letter.message() == sent
    await reconcile(bus)
    assert await bus.dead_letters() == [letter]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\xfe", DeadLetterKind.UNDECODABLE),
        (message(schema_version=99).to_json(), DeadLetterKind.SCHEMA),
        (message().to_json(), DeadLetterKind.MISPLACED),
    ],
)
async def test_a_message_that_makes_no_sense_ends_its_job(bus: Bus, data: bytes, kind: str) -> None:
    sent = message()
    await write_new(bus, [JobRecord.of(sent)])
    await put(bus, sent.batch, sent.request_id, data)
    assert await bus.pull(1, 0.1) == []
    await reconcile(bus)
    await is_put_right(bus, sent, ErrorType.UNREADABLE)
    (letter,) = await bus.dead_letters()
    assert (letter.kind, letter.data) == (kind, data)


async def test_a_message_without_a_row_gets_one(bus: Bus) -> None:
    """Whoever published it sees what became of it."""
    await put(bus, "b", "known-by-name", json.dumps({"filename": "naïve.pdf"}).encode())
    await put(bus, "b", "nameless", b"\x00")
    assert await bus.pull(2, 0.1) == []
    await reconcile(bus)
    rows = {entry.record.job_id: entry.record for entry in await bus.states("b")}
    assert rows["known-by-name"].filename == "naïve.pdf"
    assert "nameless" in rows["nameless"].filename
    assert {r.error_type for r in rows.values()} == {ErrorType.UNREADABLE}
    assert await bus.count_dead_letters() == 2


async def test_a_job_whose_word_was_lost_ends_too(bus: Bus) -> None:
    sent = await queue_a_job(bus)
    await exhaust(bus)
    if isinstance(bus, FakeBus):
        bus.lose_word()
    else:
        assert isinstance(bus, NatsBus)
        await bus._connection.api(f"STREAM.PURGE.{bus._names.advisories_stream}")
    await reconcile(bus)
    await is_put_right(bus, sent, ErrorType.CRASHED)


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
async def test_a_job_that_has_ended_stays_as_it_is_and_leaves_no_letter(
    bus: Bus, state: JobState
) -> None:
    sent = await queue_a_job(bus)
    ended = JobRecord.of(sent).but(state=state)
    await overwrite(bus, [ended])
    await exhaust(bus)
    await reconcile(bus)
    assert await row(bus, sent) == ended
    assert await bus.dead_letters() == []
    assert await bus.drop_queued(sent.batch) == 0


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("how", ["exhausted", "refused"])
async def test_whoever_dies_on_the_way_loses_nothing(bus: Bus, how: str, done: bool) -> None:
    """Die at every call in turn; whoever comes next finds word of it, and puts it right."""
    died = 0
    for step in range(1, STEPS + 1):
        sent = await queue_a_job(bus)
        if how == "exhausted":
            await exhaust(bus)
        else:
            await bus.drop_queued(sent.batch)
            await spoil(bus, sent)
        dying = Dying(bus, step, done=done)
        try:
            await reconcile(dying)  # type: ignore[arg-type] # it is one by its methods
        except Killed:
            died += 1
        await give_back(bus)
        await reconcile(bus)
        refused = ErrorType.UNREADABLE if how == "refused" else ErrorType.CRASHED
        await is_put_right(bus, sent, refused)
        await bus.discard_dead_letters(letter.id for letter in await bus.dead_letters())
    assert died >= 6, "take, get, look at the row, bury, end, remove, settle"


async def give_back(bus: Bus) -> None:
    """Let word that a dead process took come again."""
    if isinstance(bus, FakeBus):
        for receipt, (_, word) in bus._words.items():
            bus._words[receipt] = (0, word)
        return
    assert isinstance(bus, NatsBus)
    names, stream = bus._names, bus._names.advisories_stream
    consumer = f"{stream}.{names.reconcilers}"
    await bus._connection.api(f"CONSUMER.DELETE.{consumer}")
    await bus.ensure()


async def test_two_reconcilers_at_once_do_it_once(bus: Bus) -> None:
    jobs = [message() for _ in range(30)]
    for sent in jobs:
        await put(bus, sent.batch, sent.request_id, b"nonsense")
    seen = 0
    while seen < len(jobs):
        await bus.pull(30, 0)
        seen = (await bus.backlog()).leased
    await asyncio.gather(*(reconcile(bus) for _ in range(3)))
    assert await bus.count_dead_letters() == len(jobs)
    assert await bus.drop_queued("b") == 0
    assert all(entry.record.terminal for entry in await bus.states("b"))


async def test_a_thousand_at_once_are_all_put_right(bus: Bus) -> None:
    jobs = [message(schema_version=99) for _ in range(1000)]
    await bus.publish(jobs)
    await counted(bus, len(jobs))
    async with asyncio.timeout(3 * LIMIT):
        while (await bus.backlog()).pending:
            assert await bus.pull(256, 0) == []
        await reconcile(bus)
    assert await bus.count_dead_letters() == len(jobs)
    assert await bus.drop_queued("b") == 0


async def test_a_message_refused_elsewhere_that_makes_sense_here_stays(bus: Bus) -> None:
    """As when an older worker refuses what a newer one can read."""
    sent = message()
    await put(bus, sent.batch, sent.request_id, b"nonsense")
    assert await bus.pull(1, 0.1) == []
    (word,) = await bus.given_up(1)
    assert word.why is Why.REFUSED
    await give_back(bus)
    await bus.drop_queued(sent.batch)
    if isinstance(bus, FakeBus):
        await bus.put(sent.batch, sent.request_id, sent.to_json())
        queued = bus.queue[sent.batch, sent.request_id]
        bus._words[word.receipt] = (0, replace(word, sequence=queued.stored.sequence))
    else:
        assert isinstance(bus, NatsBus)
        await recreate_queue(bus)
        await bus.publish([sent])
    await reconcile(bus)
    assert await bus.dead_letters() == []
    assert (await pull_one(bus)).message == sent


async def recreate_queue(bus: NatsBus) -> None:
    """Make the queue anew, so that it counts from 1 again."""
    await bus._connection.api(f"STREAM.DELETE.{bus._names.jobs_stream}")
    await bus.ensure()


async def test_a_job_that_got_the_number_of_one_given_up_is_left_alone(bus: Bus) -> None:
    if not isinstance(bus, NatsBus):
        pytest.skip("the fake's numbers are never used again")
    await queue_a_job(bus)
    await exhaust(bus)
    await recreate_queue(bus)
    sent = await queue_a_job(bus)
    await reconcile(bus)
    assert await bus.dead_letters() == []
    assert (await pull_one(bus)).message == sent


async def test_a_consumer_made_anew_delivers_what_the_old_one_gave_up(bus: Bus) -> None:
    if not isinstance(bus, NatsBus):
        pytest.skip("the fake has one consumer for ever")
    names = bus._names
    sent = await queue_a_job(bus)
    await exhaust(bus)
    consumer = f"CONSUMER.DELETE.{names.jobs_stream}.{names.consumer()}"
    await bus._connection.api(consumer)
    await reconcile(bus)
    await bus.ensure()
    await reconcile(bus)
    assert await bus.dead_letters() == []
    assert (await pull_one(bus)).message == sent


async def drop(bus: Bus, reason: str) -> None:
    """Take the next job, and have the server drop it as a worker of another make does."""
    lease = await pull_one(bus)
    if isinstance(bus, FakeBus):
        bus.terminate(lease, reason)
        return
    assert isinstance(bus, NatsBus)
    term = f"+TERM {reason}".encode()
    await bus._connection.ask(lease._raw.reply, term)  # type: ignore[attr-defined] # as they do


async def reconcile_until_no_word_is_left(bus: Bus) -> None:
    """Reconcile; word of a drop may arrive a moment later than its confirmation."""
    if isinstance(bus, FakeBus):
        await reconcile(bus)
        return
    assert isinstance(bus, NatsBus)
    consumer = f"CONSUMER.INFO.{bus._names.advisories_stream}.{bus._names.reconcilers}"
    async with asyncio.timeout(LIMIT):
        while True:
            await reconcile(bus)
            info = await bus._connection.api(consumer)
            settled = info["ack_floor"]["stream_seq"]
            if settled and not info["num_pending"] and not info["num_ack_pending"]:
                return


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put right what was dropped without waiting for those who may still settle it."""
    monkeypatch.setattr(orphans, "PATIENCE", timedelta(0))


@pytest.mark.usefixtures("_at_once")
async def test_a_job_whose_message_another_worker_dropped_ends_with_its_reason(bus: Bus) -> None:
    sent = await queue_a_job(bus)
    await drop(bus, "no such processor")
    waiting = await queue_a_job(bus)
    await reconcile_until_no_word_is_left(bus)
    found = await row(bus, sent)
    assert (found.state, found.error_type) == (JobState.FAILED, ErrorType.UNREADABLE)
    assert found.error is not None
    assert "no such processor" in found.error
    (letter,) = await bus.dead_letters()
    assert (letter.kind, letter.reason) == (DeadLetterKind.TERMINATED, found.error)
    assert letter.job == (sent.batch, sent.request_id)
    assert (await row(bus, waiting)).state is JobState.QUEUED


async def test_a_job_whose_message_was_dropped_a_moment_ago_may_still_be_settled(bus: Bus) -> None:
    sent = await queue_a_job(bus)
    await drop(bus, "settled by hand")
    await reconcile(bus)
    assert (await row(bus, sent)).state is JobState.QUEUED
    await give_back(bus)
    assert (await words(bus))[0].why is Why.TERMINATED


@pytest.mark.usefixtures("_at_once")
async def test_a_job_that_a_live_worker_has_goes_on_without_its_message(bus: Bus) -> None:
    """As when an operator purges the queue."""
    sent = await queue_a_job(bus)
    await drop(bus, "purged")
    await bus.announce(
        WorkerInfo(
            worker="w",
            host="h",
            pid=1,
            parsers=1,
            processors=(),
            jobs=(sent.request_id,),
            version="1",
            started_at=utc_now(),
        )
    )
    await reconcile_until_no_word_is_left(bus)
    assert (await row(bus, sent)).state is JobState.QUEUED
    assert await bus.dead_letters() == []


@pytest.mark.usefixtures("_at_once")
async def test_cancelled_jobs_and_those_buried_leave_no_word_of_a_drop(bus: Bus) -> None:
    """The server tells of every leased message that is deleted, whoever does it."""
    cancelled, buried = await queue_a_job(bus), message()
    await pull_one(bus)
    entry = await bus.get_state(cancelled.batch, cancelled.request_id)
    assert entry is not None
    await bus.update_state(entry.record.but(state=JobState.CANCELLED), entry.revision)
    await bus.drop_queued(cancelled.batch)
    await put(bus, buried.batch, buried.request_id, b"nonsense")
    assert await bus.pull(1, 0.1) == []
    await reconcile_until_no_word_is_left(bus)
    (letter,) = await bus.dead_letters()
    assert letter.kind == DeadLetterKind.UNDECODABLE
    assert (await row(bus, cancelled)).state is JobState.CANCELLED


async def test_word_that_makes_no_sense_does_not_hold_up_the_others(bus: Bus) -> None:
    if not isinstance(bus, NatsBus):
        pytest.skip("the fake's words always make sense")
    for nonsense in (b"", b"{}", b'{"type": "docnats.refused", "stream_seq": -1}', b"\xff"):
        await bus._connection.ask(bus._names.refused_subject, nonsense)
    sent = await queue_a_job(bus)
    await exhaust(bus)
    await reconcile(bus)
    await is_put_right(bus, sent, ErrorType.CRASHED)
    assert await bus.given_up(10) == []


async def test_what_cannot_be_put_right_now_is_put_right_later(bus: Bus) -> None:
    """And the others are put right at once."""
    stuck, other = message(), message()
    for sent in (stuck, other):
        await put(bus, sent.batch, sent.request_id, b"nonsense")
    while (await bus.backlog()).pending:
        await bus.pull(2, 0.1)

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def bury(self, letter: Any) -> None:
            if letter.job == (stuck.batch, stuck.request_id):
                raise BusError("not now")
            await bus.bury(letter)

    with pytest.raises(BusError, match="not now"):
        await reconcile(Refusing())  # type: ignore[arg-type] # it is a bus by its methods
    assert (await row(bus, other)).error_type is ErrorType.UNREADABLE
    assert await bus.get_state(stuck.batch, stuck.request_id) is None
    await give_back(bus)
    await reconcile(bus)
    assert (await row(bus, stuck)).error_type is ErrorType.UNREADABLE


async def test_a_job_too_large_for_a_row_ends_all_the_same(bus: Bus) -> None:
    """Nobody can write its whole message into a row; the message itself is kept."""
    if not isinstance(bus, NatsBus):
        pytest.skip("the fake's rows may have any size")
    limit = (await bus._connection.link()).max_payload
    room = limit - 100 - len(message(options={"notes": ""}).to_json())
    sent = message(options={"notes": "x" * room})
    too_large = JobRecord.of(sent).failed(ErrorType.CRASHED, "given up")
    assert len(too_large.to_json()) > limit
    await bus.publish([sent])
    await exhaust(bus)
    await reconcile(bus)
    await is_put_right(bus, sent, ErrorType.CRASHED)
