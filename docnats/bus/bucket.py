"""Reading a KV bucket: what it holds now, every change from then on, or its keys alone."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import NamedTuple, Self, TypeVar

from nats.aio.msg import Msg

from docnats.bus.connection import Connection
from docnats.bus.exchange import Refusal
from docnats.bus.inbox import Denied, Inbox, LinkLost, status
from docnats.bus.link import Link, Request
from docnats.bus.stream import Stored, get_request, last_message, stored_in
from docnats.errors import BusError
from docnats.models.record import Record
from docnats.names import new_watcher

__all__ = ["current", "record_in", "sequences", "uncollected", "watch"]

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=Record)

PULL_SIZE = 5000
"""Messages asked for, and held, at a time; with more, the server's pauses hardly shrink."""

WORDS_WITHOUT_DOMAIN = 9
"""Words of the subject to ack a message on, where JetStream has no domain."""

HEARTBEAT_SECONDS = 2.0
"""How often the server says that a request is still open; two missed ones are too many."""

OPEN_SECONDS = 30.0
"""How long a request for what comes stays open."""

BEGIN_SECONDS = 2.5
"""Time to begin to read; a cluster may have chosen a server that hangs for it."""

BEHIND_SECONDS = 0.25
"""How long to wait for a copy that has not got everything yet, before looking anew."""

RESUME_PAUSE = 0.2
"""Seconds before a watch that was interrupted begins anew."""

IDLE_SECONDS = 60.0
"""Time after which the server forgets a reader that went away."""

_SECOND = 1_000_000_000


class _Pull(NamedTuple):
    """A request for messages: at most so many, looked at as soon as so many have come."""

    payload: bytes
    most: int
    at_least: int

    @classmethod
    def of(cls, most: int, at_least: int, **body: object) -> Self:
        return cls(json.dumps({"batch": most, **body}).encode(), most, at_least)


_WHAT_IS_THERE = _Pull.of(PULL_SIZE, PULL_SIZE, no_wait=True)
_ONE_MORE = _Pull.of(1, 1, expires=int(BEHIND_SECONDS * _SECOND))
_WHAT_COMES = _Pull.of(
    PULL_SIZE,
    1,
    expires=int(OPEN_SECONDS * _SECOND),
    idle_heartbeat=int(HEARTBEAT_SECONDS * _SECOND),
)


async def current(
    connection: Connection, stream: str, subject: str, read: Callable[[Msg], T | None]
) -> list[T]:
    """Return what the last message of each subject that matches says, the oldest first.

    Parameters
    ----------
    read : callable
        Reads a message; None: there is nothing in it.

    Raises
    ------
    BusError
        It could not be read within ``request_timeout``, for want of a connection or a leader.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + connection.config.request_timeout
    while True:
        link = await connection.link(max(0.0, deadline - clock()))
        last: dict[str, T | None] = {}
        try:
            async with aclosing(follow(connection, link, stream, subject)) as pages:
                async for page in pages:
                    if page is None:
                        return [found for found in last.values() if found is not None]
                    with uncollected():
                        last.update((message.subject, read(message)) for message in page)
        except LinkLost as error:
            if clock() >= deadline:
                raise
            log.info("reading %s begins anew: %s", stream, error)


async def watch(
    connection: Connection, stream: str, subject: str, outage: float | None = None
) -> AsyncGenerator[list[Msg] | None, None]:
    """Iterate as :func:`follow` does; begun anew after a fault, but with one None only.

    Parameters
    ----------
    outage : float, optional
        Seconds that a fault may last; by default what the connection allows.

    Raises
    ------
    BusError
        It lasted for longer, or the server refuses.
    """
    clock = asyncio.get_running_loop().time
    complete = False
    failing_since: float | None = None
    while True:
        link = await connection.link(outage)
        try:
            async with aclosing(follow(connection, link, stream, subject)) as pages:
                async for page in pages:
                    failing_since = None
                    if page is not None:
                        yield page
                    elif not complete:
                        complete = True
                        yield None
        except (Refusal, Denied):
            raise
        except BusError as error:
            failing_since = failing_since or clock()
            if clock() - failing_since > (connection.time_allowed if outage is None else outage):
                raise
            log.info("the watch of %s begins anew: %s", subject, error)
        await asyncio.sleep(RESUME_PAUSE)


async def follow(
    connection: Connection, link: Link, stream: str, subject: str
) -> AsyncGenerator[list[Msg] | None, None]:
    """Iterate over the last message of each subject in pages, one None, then new messages.

    On a cluster the server reads any one of the stream's copies, which may lag behind. So
    the None comes only after the newest message that the leader had when this was called.

    Raises
    ------
    LinkLost
        Something was missed, or may have been: begin anew.
    """
    consumer = f"{stream}.{new_watcher()}"
    async with link.inbox() as inbox:
        newest = await _begin(connection, link, consumer, subject)
        try:
            seen = reached = 0
            pull = _WHAT_IS_THERE
            while True:
                next_messages = f"$JS.API.CONSUMER.MSG.NEXT.{consumer}"
                await link.tell(next_messages, pull.payload, inbox.subject)
                end, ended = seen + pull.most, False
                while seen < end and not ended:
                    page, ended = await _page(link, inbox, pull.at_least)
                    seen += len(page)
                    if page:
                        reached = _position(page[-1], seen)
                        yield page
                if pull is _WHAT_COMES or (pull is _WHAT_IS_THERE and not ended):
                    continue
                if reached < newest:
                    newest = await _newest(connection, stream, subject)  # it may be gone
                if reached >= newest:
                    yield None
                    pull = _WHAT_COMES
                else:
                    pull = _WHAT_IS_THERE if pull is _ONE_MORE else _ONE_MORE
        finally:
            with suppress(LinkLost):  # it is then forgotten after IDLE_SECONDS
                await link.tell(f"$JS.API.CONSUMER.DELETE.{consumer}")


def _position(message: Msg, seen: int) -> int:
    """Return a message's number in its stream, if none is missing among those delivered."""
    numbers = sequences(message)
    if numbers.consumer != seen:
        raise LinkLost(f"{message.subject}: messages before it were lost on the way")
    return numbers.stream


@contextmanager
def uncollected() -> Iterator[None]:
    """Make many objects that stay; Python's collector would look for garbage in them all along."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def record_in(kind: type[R], subject: str, data: bytes) -> R | None:
    """Return a record that a bucket holds; None, and a word in the log, if it makes no sense."""
    try:
        return kind.from_json(data)
    except ValueError:
        log.warning("%s: this %s cannot be read and is passed over", subject, kind.__name__)
        return None


class Sequences(NamedTuple):
    """The numbers of a message: in its stream, and among those its consumer delivered."""

    stream: int
    consumer: int


def sequences(message: Msg) -> Sequences:
    """Return the numbers of a stored message; nats-py reads much else beside them."""
    words = message.reply.split(".")
    first = 5 if len(words) == WORDS_WITHOUT_DOMAIN else 7
    return Sequences(int(words[first]), int(words[first + 1]))


async def _begin(connection: Connection, link: Link, consumer: str, subject: str) -> int:
    """Create a consumer; return the number of the newest message that it will have to reach."""
    stream, name = consumer.split(".")
    config = {
        "name": name,
        "filter_subject": subject,
        "deliver_policy": "last_per_subject",
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": int(IDLE_SECONDS * _SECOND),
    }
    creation = Request(
        f"$JS.API.CONSUMER.CREATE.{consumer}.{subject}",
        json.dumps({"stream_name": stream, "config": config}).encode(),
    )
    requests = [creation, get_request(stream, last_by_subj=subject)]
    try:
        created, newest = await connection.ask_all(requests, within=BEGIN_SECONDS)
    except Denied:
        raise
    except BusError as error:
        await link.check()
        raise LinkLost(str(error)) from error
    created.json()
    return _number(stored_in(newest))


async def _newest(connection: Connection, stream: str, subject: str) -> int:
    return _number(await last_message(connection, stream, subject))


def _number(newest: Stored | None) -> int:
    return newest.sequence if newest else 0


async def _page(link: Link, inbox: Inbox, at_least: int) -> tuple[list[Msg], bool]:
    """Return the next stored messages, and whether they are the last of a request."""
    while True:
        try:
            page = await inbox.take(at_least, 2 * HEARTBEAT_SECONDS)
        except TimeoutError as error:
            await link.check()
            raise LinkLost("the server fell silent") from error
        match status(page[-1]):
            case "":
                return page, False
            case "404" | "408":
                return page[:-1], True
            case "100":
                if len(page) > 1:
                    return page[:-1], False
            case other:
                raise LinkLost(f"the server ended the reading of a bucket with status {other}")
