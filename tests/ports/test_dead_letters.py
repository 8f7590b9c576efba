"""Dead letters on the bus port: one suite for the fake and for a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from docnats.bus import Bus, GivenUp, NatsBus, Why
from docnats.bus.dead_letters import ROOM
from docnats.config import NatsConfig
from docnats.errors import UnreadableMessage
from docnats.models import DeadLetter, DeadLetterKind, utc_now
from docnats.names import Names
from tests.fakes.bus import FakeBus
from tests.ports.test_bus import LIMIT, message, pull_one


@pytest_asyncio.fixture(params=["fake", "nats"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """Yield an open bus that delivers a job a few times at most."""
    if request.param == "fake":
        yield FakeBus(ack_wait=2, max_deliver=1)
        return
    config: NatsConfig = request.getfixturevalue("nats_config")
    async with NatsBus(config.but(ack_wait=2, max_deliver=1)) as bus:
        await bus.ensure()
        yield bus


async def put(bus: Bus, batch: str, job_id: str, data: bytes) -> None:
    """Put anything on the queue."""
    if isinstance(bus, FakeBus):
        await bus.put(batch, job_id, data)
    else:
        assert isinstance(bus, NatsBus)
        await bus._connection.ask(bus._names.job_subject(batch, job_id), data)


async def exhaust(bus: Bus) -> int:
    """Take the one job on the queue until it is not delivered any more; return how often it was."""
    await (await pull_one(bus)).release()
    deliveries = 1
    while leases := await bus.pull(1, 0.2):
        await leases[0].release()
        deliveries += 1
    return deliveries


async def words(bus: Bus, count: int = 1) -> list[GivenUp]:
    """Take word of so many messages."""
    found: list[GivenUp] = []
    async with asyncio.timeout(LIMIT):
        while len(found) < count:
            found += await bus.given_up(10)
            await asyncio.sleep(0.01)
    return found


def letter(**changes: object) -> DeadLetter:
    made = DeadLetter(
        kind=DeadLetterKind.UNDECODABLE,
        reason="ünlesbar: 100 %\r\nX: y",
        subject="docnats.fake.jobs.normal.b.j",
        job=("b", "j"),
        sequence=7,
        stored_at=utc_now(),
        deliveries=3,
        consumer="workers",
        data=b"\xff\x00",
        size=2,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_nothing_is_given_up_at_first(bus: Bus) -> None:
    await bus.publish([message()])
    assert await bus.given_up(10) == []
    assert await bus.passed_over(10) == []
    await bus.settle([])
    await bus.discard_dead_letters([])


async def test_there_is_word_of_a_job_that_is_not_delivered_any_more(bus: Bus) -> None:
    sent = message()
    await bus.publish([sent])
    deliveries = await exhaust(bus)
    (word,) = await words(bus)
    assert (word.why, word.deliveries) == (Why.MAX_DELIVERIES, deliveries)
    stored = await bus.still_given_up(word)
    assert stored is not None
    assert (stored.job, stored.data) == ((sent.batch, sent.request_id), sent.to_json())
    assert await bus.given_up(10) == [], "each word goes to one caller"
    await bus.remove(stored)
    assert await bus.still_given_up(word) is None
    await bus.remove(stored)
    assert await bus.backlog() == (0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfe not JSON", "JSON"),
        (b"{}", "request_id: Field required"),
        (message(schema_version=7).to_json(), "schema_version 7 is not 1"),
        (message().to_json(), "not those of the subject"),
    ],
)
async def test_there_is_word_of_a_message_that_makes_no_sense(
    bus: Bus, data: bytes, reason: str
) -> None:
    """And the jobs that came with it are worked on."""
    await put(bus, "b", "j", data)
    await bus.publish([good := message()])
    assert (await pull_one(bus)).message == good
    (word,) = await words(bus)
    assert word.why is Why.REFUSED
    assert reason in word.reason
    stored = await bus.still_given_up(word)
    assert stored is not None
    assert (stored.job, stored.data) == (("b", "j"), data)


async def test_the_words_for_a_message_do_not_show_what_is_in_it(bus: Bus) -> None:
    body = json.loads(message().to_json()) | {"options": {"password": "geheim"}, "file_size": -1}
    await put(bus, "b", "j", json.dumps(body).encode())
    assert await bus.pull(10, 0.1) == []
    (word,) = await words(bus)
    assert "file_size" in word.reason
    assert "geheim" not in word.reason


async def test_word_that_is_not_settled_comes_again_and_settled_word_does_not() -> None:
    """On the fake, whose time is short; the server's is the consumer's ``ack_wait``."""
    bus = FakeBus(ack_wait=0.05)
    await bus.put("b", "j", b"")
    assert await bus.pull(1, 0) == []
    (word,) = await words(bus)
    assert await words(bus) == [word]
    await bus.settle([word])
    await asyncio.sleep(0.1)
    assert await bus.given_up(1) == []


async def test_settled_word_does_not_come_again(bus: Bus) -> None:
    await put(bus, "b", "j", b"")
    assert await bus.pull(1, 0.1) == []
    await bus.settle(await words(bus))
    if isinstance(bus, NatsBus):
        names = bus._names
        endpoint = f"CONSUMER.INFO.{names.advisories_stream}.{names.reconcilers}"
        info = await bus._connection.api(endpoint)
        assert (info["num_pending"], info["num_ack_pending"]) == (0, 0)
    assert await bus.given_up(1) == []


async def test_a_job_whose_word_was_lost_is_found_all_the_same(bus: Bus) -> None:
    await bus.publish([sent := message()])
    await exhaust(bus)
    if isinstance(bus, FakeBus):
        bus.lose_word()
    else:
        assert isinstance(bus, NatsBus)
        await bus._connection.api(f"STREAM.PURGE.{bus._names.advisories_stream}")
    assert await bus.given_up(10) == []
    (word,) = await bus.passed_over(10)
    stored = await bus.still_given_up(word)
    assert stored is not None
    assert stored.job == (sent.batch, sent.request_id)


async def test_jobs_that_wait_or_are_worked_on_are_not_passed_over(bus: Bus) -> None:
    await bus.publish([message() for _ in range(6)])
    first, second, third = await bus.pull(3, 1)
    await second.ack()
    assert await bus.passed_over(10) == []
    await third.release(30)
    await first.ack()
    assert await bus.passed_over(10) == []


async def test_a_dead_letter_is_kept_as_it_is(bus: Bus) -> None:
    subject = Names("fake").job_subject("b", "j")
    if isinstance(bus, NatsBus):
        subject = bus._names.job_subject("b", "j")
    sent = letter(subject=subject)
    await bus.bury(sent)
    (found,) = await bus.dead_letters()
    assert replace(found, id=0, at=sent.at, stored_at=sent.stored_at) == sent
    assert found.id > 0
    assert abs(found.stored_at - sent.stored_at) < timedelta(milliseconds=1)
    assert await bus.count_dead_letters() == 1


async def test_a_dead_letter_is_kept_once_however_often_it_is_buried(bus: Bus) -> None:
    one = letter()
    others = [letter(sequence=8), letter(stored_at=one.stored_at + timedelta(seconds=1))]
    for each in (one, one, *others, one):
        await bus.bury(each)
    last = letter(sequence=9)
    await asyncio.gather(*(bus.bury(last) for _ in range(5)))
    assert [found.sequence for found in await bus.dead_letters()] == [7, 8, 7, 9]


async def test_dead_letters_are_discarded_by_their_ids(bus: Bus) -> None:
    for number in range(1, 4):
        await bus.bury(letter(sequence=number))
    first, second, third = await bus.dead_letters()
    await bus.discard_dead_letters([first.id, third.id, 10**6])
    await bus.discard_dead_letters([first.id])
    assert await bus.dead_letters() == [second]


async def test_of_a_message_of_the_largest_size_all_but_the_end_is_kept(
    nats_config: NatsConfig,
) -> None:
    async with NatsBus(nats_config) as bus:
        await bus.ensure()
        size = (await bus._connection.link()).max_payload
        reason = "☂" * 5000
        await bus.bury(letter(data=b"x" * size, size=size, reason=reason))
        (found,) = await bus.dead_letters()
        assert found.truncated
        assert (found.size, len(found.data)) == (size, size - ROOM)
        assert len(found.reason) > 100
        assert reason.startswith(found.reason)
        with pytest.raises(UnreadableMessage, match="were kept"):
            found.message()


async def test_what_others_put_among_the_dead_letters_is_listed(nats_config: NatsConfig) -> None:
    async with NatsBus(nats_config) as bus:
        await bus.ensure()
        subject = bus._names.dead_letter_subject("strange", "1")
        await bus._connection.ask(subject, b"?", {"Docnats-Sequence": "seven"})
        (found,) = await bus.dead_letters()
        assert (found.data, found.size, found.job, found.sequence) == (b"?", 1, None, 0)
