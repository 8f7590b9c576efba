"""Messages that nobody will work on: word of them, their way to the dead letters, those letters."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from nats.aio.msg import Msg
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from docnats.bus.bucket import current, sequences
from docnats.bus.connection import Connection
from docnats.bus.entries import GivenUp, StoredJob, Why
from docnats.bus.exchange import Refusal
from docnats.bus.link import Request
from docnats.bus.pulling import fetch
from docnats.bus.stream import NO_MESSAGE, WRONG_REVISION, Stored, stored_message
from docnats.models import DeadLetter, DeadLetterKind
from docnats.names import Names

__all__ = ["DeadLetters"]

log = logging.getLogger(__name__)

ROOM = 16 * 1024
"""Bytes of a dead letter left to its headers."""

LONGEST = 500
"""Characters of a reason or subject; percent-encoded, each may take twelve bytes."""

NO_CONSUMER = 10014
"""JetStream's error for a consumer that does not exist."""

_KIND = "Docnats-Kind"
_REASON = "Docnats-Reason"
_SUBJECT = "Docnats-Subject"
_SEQUENCE = "Docnats-Sequence"
_STORED_AT = "Docnats-Stored-At"
_DELIVERIES = "Docnats-Deliveries"
_CONSUMER = "Docnats-Consumer"
_SIZE = "Docnats-Size"

_WHYS = {
    "io.nats.jetstream.advisory.v1.max_deliver": Why.MAX_DELIVERIES,
    "io.nats.jetstream.advisory.v1.terminated": Why.TERMINATED,
    "docnats.refused": Why.REFUSED,
}


class _Advisory(BaseModel):
    """What NATS, or a worker, says of a message that nobody will work on."""

    type: str
    stream_seq: int = Field(gt=0, lt=2**63)
    consumer: str = Field(default="", pattern=r"^[^\s.*>]*$")
    deliveries: int = Field(default=0, ge=0, lt=2**63)
    reason: str = ""
    timestamp: AwareDatetime


class DeadLetters:
    """Advisories and dead letters; a part of the bus."""

    _connection: Connection
    _names: Names

    async def given_up(self, limit: int) -> list[GivenUp]:
        """Take word of up to ``limit`` messages that nobody will work on; ``[]``: there is none."""
        link = await self._connection.link()
        consumer = f"{self._names.advisories_stream}.{self._names.reconcilers}"
        arrived: list[Msg] = []
        await fetch(link, consumer, arrived, limit, 0)
        return [self._word(message) for message in arrived]

    def _word(self, message: Msg) -> GivenUp:
        try:
            advisory = _Advisory.model_validate_json(message.data)
        except ValidationError as error:
            log.error("%s: this advisory cannot be read: %s", message.subject, error)
            return GivenUp(Why.UNKNOWN, 0, message.metadata.timestamp, receipt=message.reply)
        return GivenUp(
            why=_WHYS.get(advisory.type, Why.UNKNOWN),
            sequence=advisory.stream_seq,
            at=advisory.timestamp,
            deliveries=advisory.deliveries,
            consumer=advisory.consumer,
            reason=advisory.reason,
            receipt=message.reply,
        )

    async def passed_over(self, limit: int) -> list[GivenUp]:
        """Return up to ``limit`` messages that the workers' consumer has left behind."""
        stream, consumer = self._names.jobs_stream, self._names.consumer()
        subjects = self._names.priority_filter()
        info = await self._consumer_info(consumer)
        floor = _settled_up_to(info) if info else 0
        found: list[GivenUp] = []
        sequence = 0
        while floor and len(found) < limit:
            stored = await stored_message(
                self._connection, stream, seq=sequence + 1, next_by_subj=subjects
            )
            if stored is None or stored.sequence > floor:
                break
            sequence = stored.sequence
            found.append(GivenUp(Why.PASSED_OVER, sequence, datetime.now(UTC), consumer=consumer))
        return found

    async def still_given_up(self, word: GivenUp) -> StoredJob | None:
        """Return the message that was given up; None if it is gone or to be delivered anew."""
        stream = self._names.jobs_stream
        stored = await stored_message(self._connection, stream, seq=word.sequence)
        if stored is None:
            return None
        job = self._stored_job(stored)
        if word.why is not Why.MAX_DELIVERIES:
            return job
        if job.stored_at > word.at:
            return None  # the stream was made anew, and counts from 1 again
        info = await self._consumer_info(word.consumer) if word.consumer else None
        if info is None or datetime.fromisoformat(info["created"]) > word.at:
            return None  # a consumer made anew delivers everything anew
        return job

    def _stored_job(self, stored: Stored) -> StoredJob:
        return StoredJob(
            sequence=stored.sequence,
            subject=stored.subject,
            job=self._names.addressee(stored.subject),
            stored_at=stored.stored_at,
            data=stored.data,
        )

    async def _consumer_info(self, consumer: str) -> dict[str, Any] | None:
        try:
            return await self._connection.api(f"CONSUMER.INFO.{self._names.jobs_stream}.{consumer}")
        except Refusal as refusal:
            if refusal.code != NO_CONSUMER:
                raise
            return None

    async def settle(self, words: Iterable[GivenUp]) -> None:
        """Have no more word of some messages."""
        receipts = [Request(word.receipt, b"+ACK") for word in words if word.receipt]
        await self._connection.ask_all(receipts)

    async def bury(self, letter: DeadLetter) -> None:
        """Put a message among the dead letters, if it is not there yet."""
        published = letter.subject
        if not published and letter.job is not None:
            published = self._names.job_subject(*letter.job)
        origin = f"{letter.sequence} {letter.stored_at.isoformat()} {published}"
        token = hashlib.sha256(origin.encode()).hexdigest()[:32]
        subject = self._names.dead_letter_subject(letter.kind, token)
        headers = {
            _KIND: letter.kind,
            _REASON: quote(letter.reason[:LONGEST]),
            _SUBJECT: quote(published[:LONGEST]),
            _SEQUENCE: str(letter.sequence),
            _STORED_AT: letter.stored_at.isoformat(),
            _DELIVERIES: str(letter.deliveries),
            _CONSUMER: quote(letter.consumer),
            _SIZE: str(letter.size),
            # Unlike a Nats-Msg-Id, this is not forgotten after a while.
            "Nats-Expected-Last-Subject-Sequence": "0",
        }
        room = (await self._connection.link()).max_payload - ROOM
        answer = await self._connection.ask(subject, letter.data[:room], headers)
        try:
            answer.json()
        except Refusal as refusal:
            if refusal.code not in WRONG_REVISION:
                raise

    async def remove(self, job: StoredJob) -> None:
        """Take a message off the queue, wherever it stands."""
        await self._delete(self._names.jobs_stream, [job.sequence])

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters, the oldest first."""
        stream, subject = self._names.dead_letters_stream, self._names.dead_letters_filter
        return await current(self._connection, stream, subject, self._letter)

    def _letter(self, message: Msg) -> DeadLetter:
        headers = message.headers or {}
        about = {name: unquote(headers.get(name, "")) for name in (_KIND, _REASON, _CONSUMER)}
        subject = unquote(headers.get(_SUBJECT, ""))
        try:
            numbers = {name: int(headers[name]) for name in (_SEQUENCE, _DELIVERIES, _SIZE)}
            stored_at = datetime.fromisoformat(headers[_STORED_AT])
        except (LookupError, ValueError):  # somebody else put it there
            numbers = {_SEQUENCE: 0, _DELIVERIES: 0, _SIZE: len(message.data)}
            stored_at = message.metadata.timestamp
        return DeadLetter(
            id=sequences(message).stream,
            at=message.metadata.timestamp,
            kind=about[_KIND] or DeadLetterKind.UNDECODABLE,
            reason=about[_REASON],
            subject=subject,
            job=self._names.addressee(subject),
            sequence=numbers[_SEQUENCE],
            stored_at=stored_at,
            deliveries=numbers[_DELIVERIES],
            consumer=about[_CONSUMER],
            data=message.data,
            size=numbers[_SIZE],
        )

    async def count_dead_letters(self) -> int:
        """Return how many dead letters there are."""
        info = await self._connection.api(f"STREAM.INFO.{self._names.dead_letters_stream}")
        count: int = info["state"]["messages"]
        return count

    async def discard_dead_letters(self, ids: Iterable[int]) -> None:
        """Remove dead letters; those that are not there are passed over."""
        await self._delete(self._names.dead_letters_stream, list(ids))

    async def _delete(self, stream: str, numbers: Sequence[int]) -> None:
        endpoint = f"$JS.API.STREAM.MSG.DELETE.{stream}"
        bodies = [json.dumps({"seq": number, "no_erase": True}).encode() for number in numbers]
        for answer in await self._connection.ask_all([Request(endpoint, body) for body in bodies]):
            try:
                answer.json()
            except Refusal as refusal:
                if refusal.code not in NO_MESSAGE:
                    raise


def _settled_up_to(consumer: dict[str, Any]) -> int:
    """Return up to which number a consumer counts messages as settled."""
    # The floor itself moves only with the next ack.
    place = "ack_floor" if consumer["num_ack_pending"] else "delivered"
    number: int = consumer[place]["stream_seq"]
    return number
