"""A subscription of a link, whose messages wait in a queue."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from docnats.errors import BusError

if TYPE_CHECKING:
    from docnats.bus.link import Link

__all__ = ["Denied", "Inbox", "LinkLost", "status"]


class Denied(BusError):  # noqa: N818 - what happened, as in docnats.errors
    """The server's permissions do not let this user do something."""


class LinkLost(BusError):  # noqa: N818 - what happened, as in docnats.errors
    """The link ended before the answer came; whether the request was done is unknown."""


class Inbox:
    """A subscription whose messages are queued; an async context manager."""

    def __init__(self, link: Link, subject: str, queue: str = "") -> None:
        self.subject = subject
        self.queue = queue
        self._link = link
        self._messages: deque[Msg | None] = deque()
        self._words = 0  # of JetStream's own among them, or the end of the link
        self._wanted = 1
        self._enough = asyncio.Event()
        self._denied: Denied | None = None
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._subscription = await self._link._subscribe(self)  # noqa: SLF001 - two halves of one
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def put(self, message: Msg | None) -> None:
        """Queue a message; None: the link is lost."""
        self._messages.append(message)
        self._words += message is None or bool(status(message))
        if self._has_enough():
            self._enough.set()

    def deny(self, error: Denied) -> None:
        """Have whoever waits know that the server lets nothing through."""
        self._denied = error
        self.put(None)

    async def get(self, timeout: float | None = None) -> Msg:
        """Return the next message.

        Raises
        ------
        TimeoutError
            There was none for ``timeout`` seconds.
        LinkLost
            There will be none any more.
        Denied
            This user may not subscribe to it.
        """
        await self._wait(1, timeout)
        return self._pop()

    async def take(self, at_least: int, timeout: float | None = None) -> list[Msg]:
        """Return all that arrived, up to the first word of JetStream's own; that comes last.

        Parameters
        ----------
        at_least : int
            Messages to wait for, if JetStream does not say something before.

        Raises
        ------
        TimeoutError
            There was none for ``timeout`` seconds.
        LinkLost
            There will be none any more.
        """
        await self._wait(at_least, timeout)
        taken = [self._pop()]
        while self._messages and self._messages[0] is not None and not status(taken[-1]):
            taken.append(self._pop())
        return taken

    async def _wait(self, count: int, timeout: float | None) -> None:
        """Wait for messages, or for a word of JetStream's own, or for the end of the link."""
        self._wanted = count
        while not self._has_enough():
            self._enough.clear()
            before = len(self._messages)
            try:
                async with asyncio.timeout(timeout):
                    await self._enough.wait()
            except TimeoutError:
                if len(self._messages) == before:
                    raise

    def _has_enough(self) -> bool:
        return self._words > 0 or len(self._messages) >= self._wanted

    def _pop(self) -> Msg:
        message = self._messages[0]
        if message is None and self._denied is not None:
            raise self._denied
        if message is None:
            raise LinkLost(f"the connection to {self._link.url} was lost")
        self._words -= bool(status(message))
        return self._messages.popleft()  # type: ignore[return-value] # it is the message above

    async def drain(self) -> list[Msg]:
        """End the subscription; return the stored messages that had arrived for nobody."""
        if self._subscription is not None and self._link.alive:
            await self._link._silence(self._subscription)  # noqa: SLF001 - two halves of one
        arrived = [message for message in self._messages if message and not status(message)]
        self._messages.clear()
        self._words = 0
        return arrived

    async def close(self) -> None:
        """End the subscription."""
        self._link._leave(self)  # noqa: SLF001 - two halves of one
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(NatsError, OSError):  # drained, or ended with its connection
                await subscription.unsubscribe()


def status(message: Msg) -> str:
    """Return the status code of a message that JetStream itself sent on a pull, else ``""``.

    Stored messages differ by the subject to ack them on, whatever their headers say.
    """
    return "" if message.reply else (message.headers or {}).get("Status", "")
