"""The work queue: publish, lease, dead letters."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from nats.aio.msg import Msg
from pydantic import ValidationError

from docnats.bus.connection import Answer, Connection, Refusal
from docnats.bus.link import Link, LinkLost, Request, status
from docnats.bus.port import Backlog, Lease, listed, now
from docnats.errors import BusError
from docnats.models import SCHEMA_VERSION, JobMessage
from docnats.names import Names

__all__ = ["JobQueue"]

log = logging.getLogger(__name__)

STORE_REFUSED = 10077
"""JetStream's error for a message the stream does not take; its words tell why not."""

ANSWER_SECONDS = 1.0
"""How much later than its ``expires`` the end of a pull may arrive."""

REFUSED_PAUSE = 0.25
"""Seconds before a pull that the server ended early is made again."""

DEAD_LETTER_ROOM = 4096
"""Bytes of a dead letter left to its headers."""

REASON_HEADER = "Docnats-Reason"
SUBJECT_HEADER = "Docnats-Subject"


class JobLease:
    """A lease on a message of the server's; see :class:`~docnats.bus.port.Lease`."""

    def __init__(
        self, connection: Connection, message: JobMessage, raw: Msg, asked_at: float
    ) -> None:
        self.message = message
        self.attempt = raw.metadata.num_delivered
        self._connection = connection
        self._reply = raw.reply
        self._began_at = asked_at
        self._lapsed = False

    @property
    def lapsed(self) -> bool:
        """Whether it may have run out at any time."""
        self._lapsed |= now() - self._began_at > self._connection.config.ack_wait
        return self._lapsed

    async def renew(self) -> None:
        """Start the lease's time anew."""
        sent_at = now()
        await self._tell(b"+WPI", "renewal")
        if not self.lapsed:
            self._began_at = sent_at

    async def ack(self) -> None:
        """Take the job off the queue for good."""
        await self._tell(b"+ACK", "ack")

    async def release(self, delay: float = 0) -> None:
        """Hand the job back, to be delivered again after ``delay`` seconds."""
        await self._tell(b'-NAK {"delay": %d}' % max(0, delay * 1e9), "release")

    async def _tell(self, verdict: bytes, what: str) -> None:
        about = f"the {what} of job {self.message.request_id}"
        await self._connection.ask(self._reply, verdict, about=about)


class JobQueue:
    """The jobs stream and its consumer; a part of the bus."""

    _connection: Connection
    _names: Names

    @property
    def _consumer(self) -> str:
        return f"{self._names.jobs_stream}.{self._names.consumer()}"

    async def publish(self, messages: Iterable[JobMessage]) -> None:
        """Put jobs on the queue, those that are not on it already."""
        answers = await self._connection.ask_all([self._job_request(m) for m in messages])
        again = [answer.request for answer in answers if _stored(answer).get("duplicate")]
        # JetStream remembers an id longer than the job is on the queue: without the id, the
        # stream's limit of one message a subject tells what is still there.
        repeated = [Request(r.subject, r.payload, about=r.about) for r in again]
        for answer in await self._connection.ask_all(repeated):
            _stored(answer)

    def _job_request(self, message: JobMessage) -> Request:
        return Request(
            self._names.job_subject(message.batch, message.request_id),
            message.to_json(),
            {"Nats-Msg-Id": message.request_id},
            f"the control message of job {message.request_id} ({message.filename})",
        )

    async def pull(self, limit: int, wait: float) -> list[Lease]:
        """Take up to ``limit`` jobs off the queue; ``[]`` after ``wait`` seconds without any."""
        if limit < 1:
            return []
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait
        arrived: list[Msg] = []
        try:
            while True:
                link = await self._connection.link()
                asked_at = now()
                end = await self._fetch(link, arrived, limit, max(0.0, deadline - clock()))
                leases = await self._decode(arrived, asked_at)
                if leases or clock() >= deadline:
                    break
                if end is not None and not arrived:  # early: a fault, or too many wait already
                    await asyncio.sleep(min(REFUSED_PAUSE, deadline - clock()))
                arrived.clear()
        except asyncio.CancelledError:
            await self._hand_back(arrived)
            raise
        if end is not None and status(end) not in ("404", "408"):
            raise self._no_consumer(end)
        return leases

    def _no_consumer(self, end: Msg) -> BusError:
        words = (end.headers or {}).get("Description", "").strip()
        return BusError(
            f"NATS gives no jobs from the consumer {self._consumer}: {status(end)} {words}. If it "
            "was removed, restart the worker, which creates it"
        )

    async def _fetch(self, link: Link, arrived: list[Msg], limit: int, wait: float) -> Msg | None:
        """Make one pull request; return the status message that ended it, if one did."""
        # With no_wait and a time, the server answers with what there is as soon as there is any.
        request = {"batch": limit, "no_wait": True, "expires": int(wait * 1e9)}
        async with link.inbox() as inbox:
            try:
                await link.tell(
                    f"$JS.API.CONSUMER.MSG.NEXT.{self._consumer}",
                    json.dumps(request).encode(),
                    inbox.subject,
                )
                async with asyncio.timeout(wait + ANSWER_SECONDS):
                    while len(arrived) < limit:
                        message = await inbox.get()
                        if status(message):
                            return message
                        arrived.append(message)
            except (TimeoutError, LinkLost) as error:
                log.info("a pull of jobs did not end well: %s", error or "no answer")
                arrived += await inbox.drain()
            except asyncio.CancelledError:
                arrived += await inbox.drain()
                raise
        return None

    async def _hand_back(self, messages: Iterable[Msg]) -> None:
        """Return messages that nobody will work on; without a link they come back by time."""
        with suppress(BusError):
            link = await self._connection.link(timeout=0)
            for message in messages:
                await link.tell(message.reply, b"-NAK")

    async def _decode(self, messages: Iterable[Msg], asked_at: float) -> list[Lease]:
        leases: list[Lease] = []
        for raw in messages:
            try:
                message = JobMessage.from_json(raw.data)
            except ValueError as error:
                await self._bury(raw, "undecodable", _why(error))
                continue
            if message.schema_version != SCHEMA_VERSION:
                why = f"schema_version {message.schema_version} is not {SCHEMA_VERSION}"
                await self._bury(raw, "schema", why)
                continue
            leases.append(JobLease(self._connection, message, raw, asked_at))
        return leases

    async def _bury(self, raw: Msg, kind: str, why: str) -> None:
        """Copy a message to the dead letters, then take it off the queue."""
        log.error("%s: moved to the dead letters: %s", raw.subject, why)
        headers = {
            REASON_HEADER: quote(why[: DEAD_LETTER_ROOM // 8]),
            SUBJECT_HEADER: quote(raw.subject),
            "Nats-Msg-Id": f"{raw.metadata.stream}.{raw.metadata.sequence.stream}",
        }
        subject = self._names.dead_letter_subject(kind)
        try:
            room = (await self._connection.link()).max_payload - DEAD_LETTER_ROOM
            copied = await self._connection.ask(subject, raw.data[:room], headers)
            copied.json()
            await self._connection.ask(raw.reply, f"+TERM {kind}".encode())
        except BusError as error:
            log.error("%s: not moved, it will be delivered again: %s", raw.subject, error)

    async def drop_queued(self, batch: str, job_ids: Iterable[str] | str | None = None) -> int:
        """Take a batch's jobs, or some, off the queue; return how many were on it."""
        names = self._names
        if job_ids is None:
            queued = [names.batch_jobs_filter(batch)]
        else:
            queued = [names.job_subject(batch, job_id) for job_id in listed(job_ids)]
        purge = f"$JS.API.STREAM.PURGE.{names.jobs_stream}"
        requests = [Request(purge, json.dumps({"filter": subject}).encode()) for subject in queued]
        answers = await self._connection.ask_all(requests)
        return sum(answer.json()["purged"] for answer in answers)

    async def backlog(self) -> Backlog:
        """Return how many jobs wait and how many are with workers."""
        info = await self._connection.api(f"CONSUMER.INFO.{self._consumer}")
        return Backlog(pending=info["num_pending"], leased=info["num_ack_pending"])


def _stored(answer: Answer) -> dict[str, Any]:
    """Return what JetStream says of a job it stored, or did not since it has it already."""
    try:
        return answer.json()
    except Refusal as refusal:
        if refusal.code == STORE_REFUSED and "per subject" in refusal.description:
            return {}
        raise


def _why(error: ValueError) -> str:
    """Return what is wrong with a message, without what is in it."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in found)
