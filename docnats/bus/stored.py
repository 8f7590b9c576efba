"""How the NATS Object Store describes an object: the format of ADR-20, and what docnats adds.

docnats says in the headers of each chunk which object it is of and how much of it has arrived:
chunks without a description can then be told from others, and cleaned up.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from nats.aio.msg import Msg

from docnats.bus.exchange import Answer
from docnats.bus.link import Request
from docnats.errors import StorageError
from docnats.models import utc_now
from docnats.names import ObjectNames

__all__ = [
    "CHUNK",
    "FoundObject",
    "OrphanedChunks",
    "Writing",
    "described",
    "description_in",
    "orphan_of",
]

log = logging.getLogger(__name__)

CHUNK = 128 * 1024
"""Bytes of a chunk, as other clients make them; a message holds 1 MiB by default."""

_ALGORITHM = "SHA-256"
_NAME, _END = "Docnats-Name", "Docnats-End"


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object as its description tells.

    Attributes
    ----------
    sha256 : str
        Hexadecimal.
    upload_id : str
        Names its chunks.
    revision : int
        Of the description.
    """

    name: str
    size: int
    sha256: str
    modified: datetime
    upload_id: str
    chunks: int
    revision: int


@dataclass(frozen=True, slots=True)
class OrphanedChunks:
    """Chunks of an object that was never described: it is being written, or never was to its end.

    Attributes
    ----------
    name : str
        The object's.
    size : int
        Bytes that have arrived.
    last : datetime
        When the last one arrived.
    """

    name: str
    upload_id: str
    size: int
    last: datetime


class Writing:
    """An object on its way: what was sent of it, and how."""

    def __init__(self, names: ObjectNames, name: str, upload_id: str) -> None:
        self.names = names
        self.name = name
        self.upload_id = upload_id
        self.subject = names.chunks_subject(upload_id)
        self.chunks = 0
        self.resent = False
        self._size = 0
        self._last = 0
        self._digest = hashlib.sha256()

    def request(self, chunk: bytes) -> Request:
        """Return the message of the next chunk; the server drops a repeated one."""
        self.chunks += 1
        self._size += len(chunk)
        self._digest.update(chunk)
        headers = {
            "Nats-Msg-Id": f"{self.upload_id}.{self.chunks}",
            _NAME: quote(self.name),
            _END: str(self._size),
        }
        return Request(self.subject, chunk, headers, f"a chunk of {self.name}")

    def take(self, answer: Answer) -> None:
        """Note where a chunk was stored."""
        number = int(answer.json()["seq"])
        self.resent |= answer.resent
        if number <= self._last:
            raise StorageError("its chunks arrived in disorder", transient=True)
        self._last = number

    def description(self) -> bytes:
        """Return the message that makes the chunks an object."""
        digest = base64.urlsafe_b64encode(self._digest.digest()).decode()
        return json.dumps(
            {
                "name": self.name,
                "options": {"max_chunk_size": CHUNK},
                "bucket": self.names.bucket,
                "nuid": self.upload_id,
                "size": self._size,
                "chunks": self.chunks,
                "digest": f"{_ALGORITHM}={digest}",
                "mtime": utc_now().isoformat().replace("+00:00", "Z"),
            }
        ).encode()

    def found(self, revision: int) -> FoundObject:
        """Return the object, once it is one."""
        return FoundObject(
            self.name,
            self._size,
            self._digest.hexdigest(),
            utc_now(),
            self.upload_id,
            self.chunks,
            revision,
        )


def described(names: ObjectNames, stored: dict[str, Any]) -> FoundObject | None:
    """Return what a description that JetStream's API gave tells; None if that is no object."""
    data, at = base64.b64decode(stored.get("data", "")), datetime.fromisoformat(stored["time"])
    return _found(names, stored["subject"], data, at, stored["seq"])


def description_in(names: ObjectNames, message: Msg) -> FoundObject | None:
    """Return what a description in a message tells; None if that is no object."""
    metadata = message.metadata
    return _found(
        names, message.subject, message.data, metadata.timestamp, metadata.sequence.stream
    )


def _found(
    names: ObjectNames, subject: str, data: bytes, at: datetime, revision: int
) -> FoundObject | None:
    """Return what a description tells; None of a deleted object, a link or an unreadable one."""
    try:
        told = json.loads(data)
        if told.get("deleted"):
            return None
        algorithm, _, digest = told.get("digest", "").partition("=")
        if algorithm.upper() != _ALGORITHM:
            log.warning("%s/%s has a digest of another kind", names.bucket, told["name"])
            return None
        return FoundObject(
            name=told["name"],
            size=int(told.get("size", 0)),
            sha256=base64.urlsafe_b64decode(digest).hex(),
            modified=at,
            upload_id=told["nuid"],
            chunks=int(told.get("chunks", 0)),
            revision=revision,
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        name = names.object_of(subject)
        log.warning("the object %s in %s cannot be read: %s", name, names.bucket, error)
        return None


def orphan_of(names: ObjectNames, stored: dict[str, Any]) -> OrphanedChunks | None:
    """Return what the last chunk of an upload tells; None if another client wrote it."""
    headers = _headers(stored)
    if _NAME not in headers or _END not in headers:
        return None
    return OrphanedChunks(
        name=unquote(headers[_NAME]),
        upload_id=names.upload_of(stored["subject"]),
        size=int(headers[_END]),
        last=datetime.fromisoformat(stored["time"]),
    )


def _headers(stored: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a message that JetStream's API gave."""
    lines = base64.b64decode(stored.get("hdrs", "")).decode(errors="replace").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}
