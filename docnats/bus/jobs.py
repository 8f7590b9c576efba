"""The work queue: publish, lease, refuse."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from nats.aio.msg import Msg

from docnats.bus.connection import Connection
from docnats.bus.entries import Backlog
from docnats.bus.exchange import Answer, Refusal
from docnats.bus.inbox import status
from docnats.bus.link import Request
from docnats.bus.port import Lease
from docnats.bus.pulling import fetch
from docnats.bus.stream import purge, subjects_of
from docnats.errors import BusError, UnreadableMessage
from docnats.models import DeadLetter, JobMessage, utc_now
from docnats.names import Names

__all__ = ["JobQueue"]

log = logging.getLogger(__name__)

STORE_REFUSED = 10077
"""JetStream's error for a message the stream does not take; its words tell why not."""

OPEN_SECONDS = 5.0
"""How long one request for jobs stays open: what a server that hangs is sent of them is stuck."""

REFUSED_PAUSE = 0.25
"""Seconds before a pull that the server ended early is made again."""

_MESSAGE_ID = "Nats-Msg-Id"
"""By this header JetStream knows for a while what it has stored, also when a worker was so fast
that the job has ended before it is sent again because an answer was lost."""

LEADER_LEFT = frozenset({"leadership change", "server shutdown"})
"""What the server says on ending a pull because the consumer's leader changes."""


def _now() -> float:
    """Return the seconds of a clock that is never set and, on Linux, counts a suspend too."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class JobLease:
    """A lease on a message of the server's; see :class:`~docnats.bus.port.Lease`."""

    def __init__(
        self, connection: Connection, message: JobMessage, raw: Msg, asked_at: float
    ) -> None:
        self.message = message
        self.headers: Mapping[str, str] = raw.headers or {}
        self.attempt = raw.metadata.num_delivered
        self._connection = connection
        self._raw = raw
        self._began_at = asked_at
        self._lapsed = False

    @property
    def lapsed(self) -> bool:
        """Whether it may have run out at any time."""
        self._lapsed |= _now() - self._began_at > self._connection.config.ack_wait
        return self._lapsed

    def dead_letter(self, kind: str, reason: str) -> DeadLetter:
        """Return the message as a dead letter."""
        about = self._raw.metadata
        return DeadLetter(
            kind=kind,
            reason=reason,
            subject=self._raw.subject,
            job=(self.message.batch, self.message.request_id),
            sequence=about.sequence.stream,
            stored_at=about.timestamp,
            deliveries=self.attempt,
            consumer=about.consumer,
            data=self._raw.data,
            size=len(self._raw.data),
        )

    async def renew(self) -> None:
        """Start the lease's time anew."""
        sent_at = _now()
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
        await self._connection.ask(self._raw.reply, verdict, about=about)


class JobQueue:
    """The jobs stream and its consumer; a part of the bus."""

    _connection: Connection
    _names: Names

    @property
    def _consumer(self) -> str:
        return f"{self._names.jobs_stream}.{self._names.consumer()}"

    async def publish(
        self,
        messages: Iterable[JobMessage],
        headers: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Put jobs on the queue, those that are not on it already."""
        more = headers or {}
        requests = [self._job_request(m, more.get(m.request_id, {})) for m in messages]
        for answer in await self._connection.ask_all(requests):
            _check_stored(answer)

    def _job_request(self, message: JobMessage, headers: Mapping[str, str]) -> Request:
        return Request(
            self._names.job_subject(message.batch, message.request_id),
            message.to_json(),
            {_MESSAGE_ID: message.request_id, **headers},
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
                left, asked_at = max(0.0, deadline - clock()), _now()
                end = await fetch(link, self._consumer, arrived, limit, min(left, OPEN_SECONDS))
                leases = await self._decode(arrived, asked_at)
                if leases or clock() >= deadline:
                    break
                if end is not None and status(end) != "408" and not arrived:
                    # Early: a fault, or too many wait already.
                    await asyncio.sleep(min(REFUSED_PAUSE, deadline - clock()))
                arrived.clear()
        except asyncio.CancelledError:
            await self._hand_back(arrived)
            raise
        if end is not None and status(end) not in ("404", "408"):
            await self._check_consumer(end)
        return leases

    async def _check_consumer(self, end: Msg) -> None:
        """Raise the error that a pull ended with, unless only a leader is being elected."""
        words = (end.headers or {}).get("Description", "").strip()
        cause = None
        if status(end) == "503" or words.lower() in LEADER_LEFT:
            try:
                await self._connection.api(f"CONSUMER.INFO.{self._consumer}")
            except Refusal as refusal:
                cause = refusal
            else:
                return
        raise BusError(
            f"NATS gives no jobs from the consumer {self._consumer}: {status(end)} {words}. If it "
            "was removed, restart the worker, which creates it"
        ) from cause

    async def _hand_back(self, messages: Iterable[Msg]) -> None:
        """Return messages that nobody will work on; without a link they come back by time."""
        with suppress(BusError):
            link = await self._connection.link(timeout=0)
            for message in messages:
                await link.tell(message.reply, b"-NAK")

    async def _decode(self, messages: Iterable[Msg], asked_at: float) -> list[Lease]:
        leases: list[Lease] = []
        words: list[Request] = []
        for raw in messages:
            try:
                message = JobMessage.read(raw.data, self._names.addressee(raw.subject))
            except UnreadableMessage as error:
                log.error("%s: this message cannot be worked on: %s", raw.subject, error)
                words.append(self._refusal(raw, error))
            else:
                leases.append(JobLease(self._connection, message, raw, asked_at))
        if words:
            await self._refuse(words)
        return leases

    def _refusal(self, raw: Msg, why: UnreadableMessage) -> Request:
        """Return word of a message that makes no sense."""
        about = raw.metadata
        word = {
            "type": "docnats.refused",
            "stream_seq": about.sequence.stream,
            "consumer": about.consumer,
            "deliveries": about.num_delivered,
            "reason": str(why),
            "timestamp": utc_now().isoformat(),
        }
        return Request(self._names.refused_subject, json.dumps(word).encode())

    async def _refuse(self, words: Sequence[Request]) -> None:
        """Give word of messages; they stay on the queue until they are buried."""
        try:
            for told in await self._connection.ask_all(words):
                told.json()
        except BusError as error:
            log.error("not told, what makes no sense will be delivered again: %s", error)

    async def drop_queued(self, batch: str, job_ids: Iterable[str] | None = None) -> int:
        """Take a batch's jobs, or some, off the queue; return how many were on it."""
        names = self._names
        if job_ids is None:
            queued = [names.batch_jobs_filter(batch)]
        else:
            queued = [names.job_subject(batch, job_id) for job_id in job_ids]
        return await purge(self._connection, names.jobs_stream, queued)

    async def queued(self, batch: str | None = None) -> set[tuple[str, str]]:
        """Return the jobs of a batch, or all, that are on the queue or with a worker."""
        names = self._names
        subjects = names.jobs_filter if batch is None else names.batch_jobs_filter(batch)
        found = await subjects_of(self._connection, names.jobs_stream, subjects)
        return {job for subject in found if (job := names.addressee(subject))}

    async def backlog(self) -> Backlog:
        """Return how many jobs wait and how many are with workers."""
        info = await self._connection.api(f"CONSUMER.INFO.{self._consumer}")
        return Backlog(pending=info["num_pending"], leased=info["num_ack_pending"])


def _check_stored(answer: Answer) -> None:
    """Raise what JetStream says of a job that it did not store, unless it has it already."""
    try:
        answer.json()
    except Refusal as refusal:
        if refusal.code != STORE_REFUSED or "per subject" not in refusal.description:
            raise
