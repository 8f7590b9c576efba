"""Reading a KV bucket: what it holds now, and every change from then on."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from nats.aio.msg import Msg

from docnats.bus.connection import Connection
from docnats.bus.link import Inbox, Link, LinkLost, status
from docnats.names import new_watcher

__all__ = ["current", "follow"]

PULL_SIZE = 1000
"""Messages asked for at a time."""

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


async def current(connection: Connection, stream: str, subject: str) -> list[Msg]:
    """Return the last message of each subject that matches, the oldest first.

    Raises
    ------
    BusError
        The connection was lost, again and again.
    """
    for attempt in range(1, TRIES + 1):
        link = await connection.link()
        last: dict[str, Msg] = {}
        try:
            async with aclosing(follow(connection, link, stream, subject)) as messages:
                async for message in messages:
                    if message is None:
                        break
                    last[message.subject] = message
        except LinkLost:
            if attempt == TRIES:
                raise
        else:
            break
    return list(last.values())


async def follow(
    connection: Connection, link: Link, stream: str, subject: str
) -> AsyncGenerator[Msg | None, None]:
    """Iterate over the last message of each subject, one None, then each new message.

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
            request = _WHAT_IS_THERE
            while True:
                await link.tell(f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", request, inbox.subject)
                before = seen
                while seen < before + PULL_SIZE and (message := await _next(inbox)) is not None:
                    seen += 1
                    if message.metadata.sequence.consumer != seen:
                        raise LinkLost(f"messages of {stream} were lost on the way")
                    yield message
                if request is _WHAT_IS_THERE and seen < before + PULL_SIZE:
                    request = _WHAT_COMES
                    yield None
        finally:
            with suppress(LinkLost):  # it is then forgotten after IDLE_SECONDS
                await link.tell(f"$JS.API.CONSUMER.DELETE.{consumer}")


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


async def _next(inbox: Inbox) -> Msg | None:
    """Return the next stored message, or None at the end of a request."""
    while True:
        try:
            message = await inbox.get(2 * HEARTBEAT_SECONDS)
        except TimeoutError as error:
            raise LinkLost("the server fell silent") from error
        match status(message):
            case "":
                return message
            case "404" | "408":
                return None
            case "100":
                continue
            case other:
                raise LinkLost(f"the server ended the reading of a bucket with status {other}")
