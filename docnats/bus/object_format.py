"""How the NATS Object Store describes an object: the format of ADR-20, and what docnats adds.

docnats says in the headers of each chunk which object it is of and how much of it has arrived:
chunks without a description can then be told from others, and cleaned up.
"""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote

from nats.aio.msg import Msg

from docnats.bus.stream import Stored
from docnats.models import StoredObject, UnfinishedUpload, utc_now
from docnats.names import ObjectNames

__all__ = [
    "CHUNK",
    "CHUNKS_AT_A_TIME",
    "Described",
    "chunk_headers",
    "described",
    "described_in",
    "description",
    "orphan_of",
]

log = logging.getLogger(__name__)

CHUNK = 128 * 1024
"""Bytes of a chunk, as other clients make them; a message holds 1 MiB by default."""

CHUNKS_AT_A_TIME = 8
"""Chunks that one writer sends, or one reader asks for, at a time; more would only take memory."""

_ALGORITHM = "SHA-256"
_NAME, _END = "Docnats-Name", "Docnats-End"


@dataclass(frozen=True, slots=True)
class Described:
    """An object as its description tells.

    Attributes
    ----------
    upload_id : str
        Names its chunks.
    revision : int
        Of the description.
    """

    stored: StoredObject
    upload_id: str
    chunks: int
    revision: int


def chunk_headers(upload_id: str, number: int, name: str, end: int) -> dict[str, str]:
    """Return the headers of a chunk; by them the server drops a repeated one.

    Parameters
    ----------
    number : int
        Of the chunk, from 1.
    end : int
        Bytes of the object up to its end.
    """
    return {"Nats-Msg-Id": f"{upload_id}.{number}", _NAME: quote(name), _END: str(end)}


def description(names: ObjectNames, stored: StoredObject, upload_id: str, chunks: int) -> bytes:
    """Return the message that makes chunks an object."""
    digest = base64.urlsafe_b64encode(bytes.fromhex(stored.sha256 or "")).decode()
    return json.dumps(
        {
            "name": stored.key,
            "options": {"max_chunk_size": CHUNK},
            "bucket": names.bucket,
            "nuid": upload_id,
            "size": stored.size,
            "chunks": chunks,
            "digest": f"{_ALGORITHM}={digest}",
            "mtime": utc_now().isoformat().replace("+00:00", "Z"),
        }
    ).encode()


def described(names: ObjectNames, found: Stored | None) -> Described | None:
    """Return what a description tells; None if there is no object."""
    if found is None:
        return None
    return _read(names, found.subject, found.data, found.stored_at, found.sequence)


def described_in(names: ObjectNames, message: Msg) -> Described | None:
    """Return what a description in a message tells; None if that is no object."""
    about = message.metadata
    return _read(names, message.subject, message.data, about.timestamp, about.sequence.stream)


def _read(
    names: ObjectNames, subject: str, data: bytes, at: datetime, revision: int
) -> Described | None:
    """Return what a description tells; None of a deleted object, a link or an unreadable one."""
    try:
        told = json.loads(data)
        if told.get("deleted"):
            return None
        algorithm, _, digest = told.get("digest", "").partition("=")
        if algorithm.upper() != _ALGORITHM:
            log.warning("%s/%s has a digest of another kind", names.bucket, told["name"])
            return None
        sha256 = base64.urlsafe_b64decode(digest).hex()
        return Described(
            stored=StoredObject(told["name"], int(told.get("size", 0)), sha256, at),
            upload_id=told["nuid"],
            chunks=int(told.get("chunks", 0)),
            revision=revision,
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        name = names.object_of(subject)
        log.warning("the object %s in %s cannot be read: %s", name, names.bucket, error)
        return None


def orphan_of(names: ObjectNames, last: Stored) -> UnfinishedUpload | None:
    """Return what the last chunk of an upload tells; None if another client wrote it."""
    headers = last.headers
    if _NAME not in headers or _END not in headers:
        return None
    return UnfinishedUpload(
        key=unquote(headers[_NAME]),
        upload_id=names.upload_of(last.subject),
        size=int(headers[_END]),
        begun=last.stored_at,
    )
