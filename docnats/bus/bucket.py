"""Reading a KV bucket: what it holds now, every change from then on, or its keys alone."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import NamedTuple, TypeVar

from nats.aio.msg import Msg

from docnats.bus.connection import Connection
from docnats.bus.link import Inbox, Link, LinkLost, status
from docnats.names import new_watcher

__all__ = ["Sequences", "current", "follow", "sequences", "subjects_of", "uncollected"]

T = TypeVar("T")

PULL_SIZE = 5000
"""Messages asked for, and held, at a time; with more, the server's pauses hardly shrink."""

WORDS_WITHOUT_DOMAIN = 9
"""Words of the subject to ack a message on, where JetStream has no domain."""

HEARTBEAT_SECONDS = 5.0
"""How often the server says that a request is still open."""

IDLE_SECONDS = 60.0
"""Time after which the server forgets a reader that went away."""

TRIES = 3
"""Times that reading a bucket is begun, when the connection is lost on the way."""

_SECOND = 1_000_000_000
_WHAT_IS_THERE = json.dumps({"batch": PULL_SIZE, "no_wait": True}).encode()
_WHAT_COMES = json.dumps(
    {
        "batch": PULL_SIZE,
        "expires": int(6 * HEARTBEAT_SECONDS * _SECOND),
        "idle_heartbeat": int(HEARTBEAT_SECONDS * _SECOND),
    }
).encode()


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
        The connection was lost, again and again.
    """
    for attempt in range(1, TRIES + 1):
        link = await connection.link()
        last: dict[str, T | None] = {}
        try:
            async with aclosing(follow(connection, link, stream, subject)) as pages:
                async for page in pages:
                    if page is None:
                        break
                    with uncollected():
                        last.update((message.subject, read(message)) for message in page)
        except LinkLost:
            if attempt == TRIES:
                raise
        else:
            break
    return [found for found in last.values() if found is not None]


async def follow(
    connection: Connection, link: Link, stream: str, subject: str
) -> AsyncGenerator[list[Msg] | None, None]:
    """Iterate over the last message of each subject in pages, one None, then new messages.

    Raises
    ------
    LinkLost
        Something was missed, or may have been: begin anew.
    """
    consumer = f"{stream}.{new_watcher()}"
    async with link.inbox() as inbox:
        await _create(connection, consumer, subject)
        try:
            seen = 0
            request, at_least = _WHAT_IS_THERE, PULL_SIZE
            while True:
                await link.tell(f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", request, inbox.subject)
                end, ended = seen + PULL_SIZE, False
                while seen < end and not ended:
                    page, ended = await _page(inbox, at_least)
                    seen += len(page)
                    if page and sequences(page[-1]).consumer != seen:
                        raise LinkLost(f"messages of {stream} were lost on the way")
                    if page:
                        yield page
                if ended and request is _WHAT_IS_THERE:
                    request, at_least = _WHAT_COMES, 1
                    yield None
        finally:
            with suppress(LinkLost):  # it is then forgotten after IDLE_SECONDS
                await link.tell(f"$JS.API.CONSUMER.DELETE.{consumer}")


async def subjects_of(connection: Connection, stream: str, subject: str) -> list[str]:
    """Return the subjects that match of which a stream holds a message."""
    found: list[str] = []
    while True:
        request = {"subjects_filter": subject, "offset": len(found)}
        info = await connection.api(f"STREAM.INFO.{stream}", request)
        page = info["state"].get("subjects") or {}
        found += page
        # The server gives at most 100,000 at a time.
        if not page or len(found) >= info.get("total", 0):
            return found


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


class Sequences(NamedTuple):
    """The numbers of a message: in its stream, and among those its consumer delivered."""

    stream: int
    consumer: int


def sequences(message: Msg) -> Sequences:
    """Return the numbers of a stored message; nats-py reads much else beside them."""
    words = message.reply.split(".")
    first = 5 if len(words) == WORDS_WITHOUT_DOMAIN else 7
    return Sequences(int(words[first]), int(words[first + 1]))


async def _create(connection: Connection, consumer: str, subject: str) -> None:
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
    await connection.api(
        f"CONSUMER.CREATE.{consumer}.{subject}", {"stream_name": stream, "config": config}
    )


async def _page(inbox: Inbox, at_least: int) -> tuple[list[Msg], bool]:
    """Return the next stored messages, and whether they are the last of a request."""
    while True:
        try:
            page = await inbox.take(at_least, 2 * HEARTBEAT_SECONDS)
        except TimeoutError as error:
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
