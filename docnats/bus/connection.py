"""The connection to NATS: always one live link, opened anew for ever when it is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping, Sequence
from datetime import timedelta
from secrets import SystemRandom
from typing import Any

from nats.errors import Error as NatsError

from docnats.bus.exchange import Answer, Exchange
from docnats.bus.link import Link, NoTls, Request
from docnats.config import NatsConfig
from docnats.errors import BusError
from docnats.models import utc_now

__all__ = ["Connection"]

log = logging.getLogger(__name__)

_dice = SystemRandom()
"""Not the module random: that is the user's, who may have seeded it."""

WINDOW = 512
"""Requests in flight at a time; more gain nothing, and the server bounds its own queues."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to connect again."""

ELECTION_PAUSE = 0.1
"""Seconds before a request that nobody answered is sent again; a leader is being elected."""


class Connection:
    """Sends requests, and gives out the live link for everything else.

    Parameters
    ----------
    config : NatsConfig
        Servers, credentials and time-outs.
    """

    def __init__(self, config: NatsConfig) -> None:
        self.config = config
        self._link: asyncio.Task[Link] | None = None
        self._lost_at: float | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect to the first server that takes us.

        Raises
        ------
        BusError
            None does; the message says what each one answered and what to check.
        """
        self._link = asyncio.create_task(self._connect())
        try:
            await self._link
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection; whoever waits for something on it gets a BusError."""
        task, self._link = self._link, None
        if task is None:
            return
        for pending in (task, *self._telling):
            pending.cancel()
        await asyncio.wait({task, *self._telling})
        if not task.cancelled() and not task.exception():
            await task.result().close()

    @property
    def outage(self) -> float | None:
        """Seconds since the link was lost; None while there is one."""
        if self._lost_at is None:
            return None
        return asyncio.get_running_loop().time() - self._lost_at

    @property
    def time_allowed(self) -> float:
        """Seconds that what is asked now may take, reconnecting included."""
        return self.config.request_timeout

    def patient(self, limit: float) -> Connection:
        """Return the same connection for those who wait while an outage lasts."""
        return _Patient(self, limit)

    async def link(self, timeout: float | None = None) -> Link:
        """Return the live link, after at most ``timeout`` seconds of reconnecting.

        The default is :attr:`time_allowed`.

        Raises
        ------
        BusError
            There is none, or the bus is closed.
        """
        if self._link is None:
            raise BusError(_CLOSED)
        if self._link.done():
            if self._link.result().alive:
                return self._link.result()
            self._replace(self._link.result())  # noticed here before nats-py tells
        timeout = self.time_allowed if timeout is None else timeout
        done, _ = await asyncio.wait({self._link}, timeout=timeout)
        if not done:
            raise self._still_lost(timeout)
        if self._link is None:
            raise BusError(_CLOSED)
        return done.pop().result()

    async def ask_all(
        self,
        requests: Sequence[Request],
        patience: float | None = None,
        within: float | None = None,
    ) -> list[Answer]:
        """Send many requests, pipelined, and return the answers in order.

        What was lost with the connection is sent again, and what nobody answers, since a
        leader may be being elected: so a request must bear being done twice. What nobody even
        takes is sent again only for ``patience`` seconds.

        Raises
        ------
        BusError
            One was not answered ``within`` so many seconds, by default :attr:`time_allowed`, or
            is over ``max_payload``; then nothing was sent.
        """
        await self._check_sizes(requests)
        answers: list[Answer] = []
        for first in range(0, len(requests), WINDOW):
            window = requests[first : first + WINDOW]
            answers += await self._ask_window(window, patience, within)
        return answers

    async def ask(
        self,
        subject: str,
        payload: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        about: str = "",
    ) -> Answer:
        """Send one request and return its answer; see :meth:`ask_all`."""
        return (await self.ask_all([Request(subject, payload, headers, about)]))[0]

    async def api(
        self,
        endpoint: str,
        body: Mapping[str, Any] | None = None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        """Call JetStream's API, for example ``STREAM.INFO.name``.

        Raises
        ------
        Refusal
            The server answered with an error.
        """
        payload = json.dumps(body).encode() if body else b""
        (answer,) = await self.ask_all([Request(f"$JS.API.{endpoint}", payload)], patience)
        return answer.json()

    def tell_soon(self, subject: str, payload: bytes) -> None:
        """Send a message that may be lost, without waiting for anything."""
        task = asyncio.create_task(self._tell(subject, payload))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, subject: str, payload: bytes) -> None:
        try:
            await (await self.link(timeout=0)).tell(subject, payload)
        except BusError as error:
            log.debug("%s was not told: %s", subject, error)

    async def _check_sizes(self, requests: Sequence[Request]) -> None:
        limit = (await self.link()).max_payload
        for request in requests:
            if request.size > limit:
                raise BusError(
                    f"{request.about or request.subject} has {request.size:,} bytes, over the "
                    f"{limit:,} that NATS takes; raise max_payload on the server, or shorten it"
                )

    async def _ask_window(
        self, requests: Sequence[Request], patience: float | None, within: float | None
    ) -> list[Answer]:
        clock = asyncio.get_running_loop().time
        began = clock()
        deadline = began + (self.time_allowed if within is None else within)
        give_up = deadline if patience is None else began + patience
        exchange = Exchange(requests)
        try:
            while exchange.missing:
                link = await self.link(max(0.0, deadline - clock()))
                await exchange.over(link, deadline)
                if not exchange.missing:
                    break
                if clock() >= (give_up if exchange.untaken and link.alive else deadline):
                    return _with_refusals(exchange, link, clock() - began)
                if link.alive:
                    await asyncio.sleep(ELECTION_PAUSE)
        finally:
            exchange.close()
        return [exchange.answers[i] for i in range(len(requests))]

    async def _connect(self, worst: str | None = None) -> Link:
        """Open a link to one of the servers, tried once each in random order, one last."""
        servers = _dice.sample(self.config.servers, k=len(self.config.servers))
        servers.sort(key=lambda url: url == worst)
        reasons = []
        for url in servers:
            link = Link(url, self._replace)
            try:
                await link.open(self.config)
            except (NatsError, OSError, TimeoutError, ssl.SSLError, ValueError) as error:
                reasons.append(_explain(error, url, self.config))
            else:
                return link
        raise BusError(f"cannot connect to NATS: {'; '.join(reasons)}")

    def _replace(self, lost: Link) -> None:
        """Begin to open a new link in place of the one that was just lost."""
        task = self._link
        if task is None or not task.done() or task.cancelled() or task.exception():
            return
        if task.result() is lost:
            log.info("lost the connection to NATS at %s; connecting again", lost.url)
            self._lost_at = asyncio.get_running_loop().time()
            self._link = asyncio.create_task(self._reconnect(lost))

    async def _reconnect(self, lost: Link) -> Link:
        await lost.close()
        pause = FIRST_PAUSE
        while self._link is not None:  # asked, since nats-py may swallow the cancel of close()
            try:
                # The one just lost may be hung: it would take all of connect_timeout.
                link = await self._connect(lost.url)
            except BusError as error:
                log.info("%s", error)
                await asyncio.sleep(pause * _dice.uniform(0.5, 1))  # spreads a herd
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                log.info("connected to NATS again, at %s", link.url)
                self._lost_at = None
                return link
        raise BusError(_CLOSED)

    def _still_lost(self, waited: float) -> BusError:
        servers = ", ".join(self.config.servers)
        since = utc_now() - timedelta(seconds=self.outage or waited)
        return BusError(
            f"the connection to NATS ({servers}) was lost at {since:%H:%M:%S} UTC and not back "
            f"within {waited:.3g} s; see that the server runs"
        )


class _Patient(Connection):
    """A connection for those who wait while an outage lasts, up to a limit."""

    def __init__(self, connection: Connection, limit: float) -> None:
        self.config = connection.config
        self._telling = connection._telling  # noqa: SLF001 - two views of one
        self._connection = connection
        self._limit = limit

    @property
    def outage(self) -> float | None:
        return self._connection.outage

    @property
    def time_allowed(self) -> float:
        """What is left of the limit; who asks late is not refused at once."""
        return max(self._limit - (self.outage or 0.0), self.config.request_timeout)

    async def link(self, timeout: float | None = None) -> Link:
        return await self._connection.link(self.time_allowed if timeout is None else timeout)


def _with_refusals(exchange: Exchange, link: Link, seconds: float) -> list[Answer]:
    """Return the answers when those that are missing are refusals that did not pass."""
    for i, request in exchange.missing.items():
        if i not in exchange.refused:
            raise _unanswered(request, link, seconds)
    answers = {**exchange.answers, **exchange.refused}
    return [answers[i] for i in sorted(answers)]


def _unanswered(request: Request, link: Link, seconds: float) -> BusError:
    return BusError(
        f"nobody at {link.url} answered {request.about or request.subject} within {seconds:.1f} s; "
        "see that JetStream is enabled there and that this user may use it"
    )


_CLOSED = "the connection to NATS is closed; open the bus with `async with`"


def _explain(error: Exception, url: str, config: NatsConfig) -> str:
    """Say why a server could not be used and what to check."""
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {url}; start nats-server there, or set NATS_URL"
    if isinstance(error, ssl.SSLError):
        return (
            f"{url}: TLS failed ({error.reason}); check NATS_CA, NATS_CERT and NATS_KEY, and tls://"
            " or nats:// in NATS_URL"
        )
    if isinstance(error, NoTls):
        return (
            f"{url} does not speak TLS, so it was told nothing; check that it is the right server. "
            "Without NATS_CA, NATS_CERT and tls:// in NATS_URL there would be no TLS"
        )
    if isinstance(error, TimeoutError):
        return f"{url} did not answer within {config.connect_timeout:g} s; check NATS_URL"
    # A server may close the connection before its reason could be read.
    if (
        isinstance(error, ConnectionResetError | BrokenPipeError)
        or "authorization" in str(error).lower()
    ):
        return (
            f"{url} refuses us: {error}; check the credentials: NATS_USER and NATS_PASSWORD, "
            "NATS_TOKEN, NATS_NKEY or NATS_CREDS, or the certificate: NATS_CERT"
        )
    return f"{url}: {error}; check NATS_URL"
