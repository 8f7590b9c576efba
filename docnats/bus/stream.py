"""What is asked of one stream: its last messages, the subjects in it, and to purge some."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from docnats.bus.connection import Connection
from docnats.bus.exchange import Answer, Refusal
from docnats.bus.link import Request

__all__ = [
    "NO_MESSAGE",
    "WRONG_REVISION",
    "Stored",
    "get_request",
    "last_message",
    "last_messages",
    "purge",
    "stored_in",
    "stored_message",
    "subjects_of",
]

WRONG_REVISION = frozenset({10071, 10164})
"""JetStream's errors for a write that expected another last message of its subject."""

NO_MESSAGE = frozenset({10037, 10043, 10057})
"""JetStream's errors for a message that does not exist, to get or to delete."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as JetStream's API gives it."""

    _found: Mapping[str, Any]

    @property
    def subject(self) -> str:
        """The subject it was published on."""
        subject: str = self._found["subject"]
        return subject

    @property
    def sequence(self) -> int:
        """Its number in the stream."""
        sequence: int = self._found["seq"]
        return sequence

    @property
    def stored_at(self) -> datetime:
        """When the server took it in."""
        return datetime.fromisoformat(self._found["time"])

    @property
    def data(self) -> bytes:
        """What is in it."""
        return base64.b64decode(self._found.get("data", ""))

    @property
    def headers(self) -> dict[str, str]:
        """What was published along with it."""
        lines = base64.b64decode(self._found.get("hdrs", "")).decode(errors="replace")
        pairs = (line.partition(":") for line in lines.split("\r\n"))
        return {name.strip(): value.strip() for name, colon, value in pairs if colon}


async def stored_message(connection: Connection, stream: str, **query: object) -> Stored | None:
    """Return a message as the stream's leader has it, or None; ``query`` is the API's."""
    (found,) = await _stored(connection, stream, [query])
    return found


async def last_message(connection: Connection, stream: str, subject: str) -> Stored | None:
    """Return the last message of a subject as the stream's leader has it, or None."""
    return await stored_message(connection, stream, last_by_subj=subject)


async def last_messages(
    connection: Connection, stream: str, subjects: Iterable[str]
) -> list[Stored | None]:
    """Return the last message of each subject, in their order."""
    return await _stored(connection, stream, [{"last_by_subj": subject} for subject in subjects])


async def _stored(
    connection: Connection, stream: str, queries: Iterable[Mapping[str, object]]
) -> list[Stored | None]:
    requests = [get_request(stream, **query) for query in queries]
    return [stored_in(answer) for answer in await connection.ask_all(requests)]


def get_request(stream: str, **query: object) -> Request:
    """Return the request for a message, answered by the stream's leader; the API's query."""
    return Request(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps(query).encode())


def stored_in(answer: Answer) -> Stored | None:
    """Return the message that a :func:`get_request` was answered with, or None."""
    try:
        return Stored(answer.json()["message"])
    except Refusal as refusal:
        if refusal.code not in NO_MESSAGE:
            raise
        return None


async def purge(connection: Connection, stream: str, filters: Iterable[str]) -> int:
    """Delete all messages whose subjects match; return how many there were."""
    endpoint = f"$JS.API.STREAM.PURGE.{stream}"
    requests = [Request(endpoint, json.dumps({"filter": one}).encode()) for one in filters]
    return sum(answer.json()["purged"] for answer in await connection.ask_all(requests))


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
