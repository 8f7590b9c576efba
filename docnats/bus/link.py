"""One connection to one NATS server: requests in flight and subscriptions.

A link is never repaired, only replaced: when nats-py loses its connection, everything that
waits on the link is told at once, and :class:`~docnats.bus.connection.Connection` opens a
new one. So there is one way back after any fault, a server's error and expired credentials
included, for which nats-py gives up.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from docnats.bus.inbox import Denied, Inbox, LinkLost
from docnats.bus.login import credentials, needs_tls, tls_context
from docnats.config import NatsConfig

__all__ = ["Expected", "Link", "NoTls", "Request"]

log = logging.getLogger(__name__)

PING_SECONDS = 5
"""A peer that went away, or hangs, without a word is noticed after three of these."""

ECHO_SECONDS = 2.0
"""A server that does not even return our own message within this is left for another."""

CLOSE_SECONDS = 2.0
"""Closing flushes; to a peer that takes nothing any more that could last for minutes."""


_DENIED = re.compile(r'permissions violation for (publish|subscription) to "(\S+)"')
"""What the server says, as nats-py passes it on: in small letters."""


@dataclass(frozen=True, slots=True)
class Request:
    """A message that is answered.

    Attributes
    ----------
    about : str
        What it is, in words for errors.
    """

    subject: str
    payload: bytes = b""
    headers: Mapping[str, str] | None = None
    about: str = ""

    @property
    def size(self) -> int:
        """Bytes, as the server counts them against ``max_payload``."""
        headers = self.headers or {}
        lines = sum(len(name) + len(value) + 4 for name, value in headers.items())
        return len(self.payload) + (lines + len("NATS/1.0\r\n\r\n") if headers else 0)


class Expected(NamedTuple):
    """A subject to answer to, and what comes there."""

    subject: str
    answer: asyncio.Future[Msg]


class NoTls(NatsError):  # noqa: N818 - what happened, as in docnats.errors
    """A server that was to speak TLS does not, or somebody in between says so."""


class _Client(Client):
    """nats-py's client, with a faster reading of headers: most state records come with one."""

    needs_tls = False

    def _connect_command(self) -> bytes:
        """Say who we are, but not in the clear: nats-py leaves it to the server to ask for TLS."""
        if self.needs_tls and not self._server_info.get("tls_required"):
            raise NoTls
        return super()._connect_command()

    def say_that_it_is_tls(self) -> None:
        """Tell asyncio what nats-py leaves out: it would warn when the server hangs up."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None and writer.get_extra_info("ssl_object") is not None:
            writer.transport.get_protocol()._over_ssl = True  # noqa: SLF001 - as start_tls does

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        lines = (line.partition(":") for line in raw.decode(errors="replace").split("\r\n"))
        return {name.strip(): value.strip() for name, colon, value in lines if colon}


class Link:
    """One nats-py client.

    Parameters
    ----------
    url : str
        The server.
    on_lost : callable
        Called once, when the link is of no use any more.
    """

    def __init__(self, url: str, on_lost: Callable[[Link], None]) -> None:
        self.url = url
        self._on_lost = on_lost
        self._client = _Client()
        self._prefix = ""
        self._tokens = itertools.count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._asked: dict[str, str] = {}
        self._pulling: dict[str, str] = {}
        self._denials: set[str] = set()
        self._deaf: Denied | None = None
        self._inboxes: set[Inbox] = set()
        self._answers: Subscription | None = None
        self._fault: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._lost = False

    async def open(self, config: NatsConfig) -> None:
        """Connect; raises the error of nats-py or of the socket that tells why not."""
        connecting = asyncio.create_task(self._connect(config))
        ends: set[asyncio.Future[Any]] = {connecting, self._fault}
        try:
            # nats-py tells of a fault and tries again; after one of TLS it would never end.
            await asyncio.wait(
                ends, timeout=config.connect_timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if self._fault.done():
                raise self._fault.result()
            if not connecting.done():
                raise TimeoutError
            connecting.result()
            if not self._client.is_connected:
                raise ConnectionResetError("it closed the connection at once")
        except BaseException:
            await _give_up(connecting)
            await self.close()
            raise

    async def _connect(self, config: NatsConfig) -> None:
        self._client.needs_tls = needs_tls(self.url, config)
        await self._client.connect(
            servers=[self.url],
            name="docnats",
            allow_reconnect=True,  # nats-py then tells of a loss before it touches the socket
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=config.connect_timeout,  # type: ignore[arg-type] # seconds, of any kind
            ping_interval=PING_SECONDS,
            flush_timeout=config.request_timeout,
            inbox_prefix=config.inbox_prefix,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            closed_cb=self._on_closed,
            tls=tls_context(config),
            **credentials(config),
        )
        self._client.say_that_it_is_tls()
        self._prefix = f"{self._client.new_inbox()}."
        self._answers = await self._client.subscribe(f"{self._prefix}*", cb=self._on_answer)

    @property
    def alive(self) -> bool:
        """Whether it is worth to send anything."""
        return not self._lost and self._client.is_connected

    @property
    def max_payload(self) -> int:
        """Bytes of one message, headers included, that the server takes."""
        return self._client.max_payload

    def lose(self) -> None:
        """Give the link up: whoever waits for something on it gets a :class:`LinkLost`."""
        if self._lost:
            return
        self._lost = True
        for future in self._waiting.values():
            future.cancel()
        for inbox in self._inboxes:
            inbox.put(None)
        self._on_lost(self)

    async def close(self) -> None:
        """Close the connection and end every task of it."""
        self.lose()
        for inbox in tuple(self._inboxes):
            await inbox.close()
        if self._answers is not None:
            with suppress(NatsError, OSError):  # it ends with its connection
                await self._answers.unsubscribe()
        # In a task of its own: nats-py may raise the CancelledError of one of its tasks.
        closing = asyncio.create_task(self._client.close())
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        await _give_up(closing)
        transport = self._client._transport  # noqa: SLF001 - left open when its last write fails
        if transport is not None:
            transport.close()  # type: ignore[no-untyped-call]

    async def send(self, request: Request, expected: Expected) -> None:
        """Send a request whose answer is expected; it may be sent again."""
        token = expected.subject[len(self._prefix) :]
        if token in self._waiting:  # else the link was just lost
            self._asked[token] = request.subject
        await self.tell(request.subject, request.payload, expected.subject, request.headers)

    def expect(self) -> Expected:
        """Return a subject to answer to; what comes there is cancelled when the link is lost."""
        token = str(next(self._tokens))
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        if self._deaf is not None:  # no answer will come
            future.set_exception(self._deaf)
        self._waiting[token] = future
        future.add_done_callback(lambda _: self._forget(token))
        if self._lost:
            future.cancel()
        return Expected(self._prefix + token, future)

    def _forget(self, token: str) -> None:
        self._waiting.pop(token, None)
        self._asked.pop(token, None)

    async def check(self, limit: float = ECHO_SECONDS) -> None:
        """Lose the link unless the server returns a message to ourselves in time.

        After ``limit`` seconds, if that is earlier, nothing is known and nothing happens.
        """
        echo = self.expect()
        try:
            async with asyncio.timeout(min(limit, ECHO_SECONDS)):
                await self.tell(echo.subject)
                await asyncio.wait({echo.answer})
        except LinkLost:
            pass
        except TimeoutError:
            if limit >= ECHO_SECONDS:
                log.info("NATS at %s says nothing any more", self.url)
                self.lose()
        finally:
            echo.answer.cancel()

    async def tell(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message without waiting for anything."""
        if reply and not reply.startswith(self._prefix):
            self._pulling[reply] = subject
        try:
            await self._client.publish(subject, payload, reply, dict(headers) if headers else None)
        except (NatsError, OSError) as error:
            raise self._lost_by(error) from error

    def inbox(self, subject: str | None = None, queue: str = "") -> Inbox:
        """Return a subscription to a subject, by default to one of its own; enter it.

        Of those who name the same ``queue``, each message goes to one.
        """
        return Inbox(self, subject or self._client.new_inbox(), queue)

    async def _subscribe(self, inbox: Inbox) -> Subscription:
        async def receive(message: Msg) -> None:
            inbox.put(message)

        self._inboxes.add(inbox)
        try:
            return await self._client.subscribe(inbox.subject, inbox.queue, cb=receive)
        except (NatsError, OSError) as error:
            raise self._lost_by(error) from error

    async def _silence(self, subscription: Subscription) -> None:
        """Have the server send no more, and take in what it has sent.

        nats-py's own ``drain`` asks for its PONG before it ends the subscription, so that
        what arrives in between is lost; a message to oneself keeps its place in the line.
        """
        number = subscription._id  # noqa: SLF001 - as said above
        echo = self.expect()
        try:
            await self._client._send_unsubscribe(number)  # noqa: SLF001 - as said above
            await self.tell(echo.subject)
            await asyncio.wait({echo.answer}, timeout=CLOSE_SECONDS)
        except LinkLost:
            return
        finally:
            echo.answer.cancel()
        while subscription.pending_msgs and self.alive:  # noqa: ASYNC110 - nats-py's task takes them
            await asyncio.sleep(0)

    def _lost_by(self, error: Exception) -> LinkLost:
        self.lose()
        return LinkLost(f"the connection to {self.url} was lost: {error}")

    def _leave(self, inbox: Inbox) -> None:
        self._inboxes.discard(inbox)
        self._pulling.pop(inbox.subject, None)

    async def _on_answer(self, message: Msg) -> None:
        future = self._waiting.get(message.subject[len(self._prefix) :])
        if future is not None and not future.done():
            future.set_result(message)

    async def _on_error(self, error: Exception) -> None:
        if denied := _DENIED.search(str(error)):
            self._deny(*denied.groups())
            return
        if not self._fault.done():
            self._fault.set_result(error)
        log.info("NATS at %s: %r", self.url, error)

    def _deny(self, what: str, subject: str) -> None:
        """Tell whoever waits for it that the server does not let this user use a subject."""
        verb = "publish" if what == "publish" else "subscribe"
        known = (
            *self._asked.values(),
            *self._pulling.values(),
            *(i.subject for i in self._inboxes),
            answers := f"{self._prefix}*",
        )
        named = next((name for name in known if name.lower() == subject), subject)
        prefix = "NATS_INBOX_PREFIX and " if named == answers else ""
        error = Denied(
            f"NATS at {self.url} does not let this user {verb} to {named}: check {prefix}its "
            "permissions, see deploy/nats"
        )
        if named == answers:
            self._deaf = error
        concerned = self._waiting_for(subject) if verb == "publish" else self._hearing(subject)
        for one in concerned:
            if isinstance(one, Inbox):
                one.deny(error)
            else:
                one.set_exception(error)
        if not concerned and named != answers and subject not in self._denials:
            self._denials.add(subject)
            log.warning("%s", error)

    def _waiting_for(self, subject: str) -> list[asyncio.Future[Msg] | Inbox]:
        tokens = [token for token, asked in self._asked.items() if asked.lower() == subject]
        futures = [self._waiting[token] for token in tokens if not self._waiting[token].done()]
        pulls = {inbox for inbox, asked in self._pulling.items() if asked.lower() == subject}
        return [*futures, *(inbox for inbox in self._inboxes if inbox.subject in pulls)]

    def _hearing(self, subject: str) -> list[asyncio.Future[Msg] | Inbox]:
        if subject.startswith(self._prefix.lower()):
            return [future for future in self._waiting.values() if not future.done()]
        return [inbox for inbox in self._inboxes if inbox.subject.lower() == subject]

    async def _on_closed(self) -> None:
        self.lose()

    async def _on_disconnected(self) -> None:
        self.lose()
        if not self._client.is_closed:
            # nats-py would now connect again by itself; close() ends this wait.
            await asyncio.get_running_loop().create_future()


async def _give_up(task: asyncio.Task[None]) -> None:
    """End a task of nats-py's whose outcome does not matter any more."""
    task.cancel()
    await asyncio.wait({task}, timeout=CLOSE_SECONDS)
    if task.done() and not task.cancelled() and task.exception():
        log.debug("nats-py: %r", task.exception())
