"""Keys of objects in S3 or in the Object Store, and of known documents."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping

from docnats.names.tokens import TOKEN, token

__all__ = [
    "ARCHIVE_PREFIX",
    "ARCHIVE_TABLE",
    "DOCUMENT",
    "PAGES",
    "PROBE_PREFIX",
    "RAW_PREFIX",
    "RESULT_PARTS",
    "RESULT_PREFIX",
    "WORDS",
    "archived_batch",
    "kept_in_nats",
    "known_key",
    "owner",
    "part_key",
    "poison_key",
    "probe_key",
    "raw_key",
    "result_key",
    "result_part",
    "where",
]

RAW_PREFIX = "raw/"
RESULT_PREFIX = "processed/"
PROBE_PREFIX = "health/"
ARCHIVE_PREFIX = "batches/"
PAGES = "pages.parquet"
WORDS = "words.parquet"
DOCUMENT = "document.json"
RESULT_PARTS = (PAGES, WORDS, DOCUMENT)
ARCHIVE_TABLE = "jobs.parquet"

_UPLOAD = re.compile(rf"{RAW_PREFIX}({TOKEN.pattern})\.pdf")
_RESULT = re.compile(rf"{RESULT_PREFIX}({TOKEN.pattern})/")
_ARCHIVE = re.compile(rf"{ARCHIVE_PREFIX}({TOKEN.pattern})/({TOKEN.pattern})/{ARCHIVE_TABLE}")
_OBJECTS = re.compile(rf"docnats_({TOKEN.pattern})_objects")


def raw_key(request_id: str) -> str:
    """Return the S3 key of an uploaded document."""
    return f"{RAW_PREFIX}{request_id}.pdf"


def result_key(request_id: str) -> str:
    """Return the S3 prefix under which a job's result objects are."""
    return f"{RESULT_PREFIX}{request_id}/"


def result_part(request_id: str, part: str) -> str:
    """Return the S3 key of one result object, for example of ``words.parquet``."""
    return f"{result_key(request_id)}{part}"


def part_key(result_key: str, part: str) -> str:
    """Return the S3 key of one result object of those under a job record's ``result_key``."""
    return f"{result_key}{part}"


def probe_key() -> str:
    """Return a fresh S3 key for a health check's put, get and delete."""
    return f"{PROBE_PREFIX}{uuid.uuid4().hex}"


def owner(key: str) -> str | None:
    """Return the id of the job that an S3 key was made for; None for a key of another kind."""
    found = _UPLOAD.fullmatch(key) or _RESULT.match(key)
    return found[1] if found else None


def archived_batch(key: str) -> tuple[str, str] | None:
    """Return the namespace and the batch of an archive's table; None for another S3 key."""
    found = _ARCHIVE.fullmatch(key)
    return (found[1], found[2]) if found else None


def kept_in_nats(bucket: str) -> bool:
    """Tell whether a bucket is one of docnats' own in the NATS Object Store.

    No bucket in S3 is taken for one: those have no ``_`` in their names.
    """
    return _OBJECTS.fullmatch(bucket) is not None


def where(bucket: str, key: str) -> str:
    """Return in words where an object is, for people.

    Examples
    --------
    >>> where("documents", "raw/1.pdf"), where("docnats_default_objects", "raw/1.pdf")
    ('s3://documents/raw/1.pdf', 'nats://docnats_default_objects/raw/1.pdf')
    """
    return f"{'nats' if kept_in_nats(bucket) else 's3'}://{bucket}/{key}"


def poison_key(sha256: str, processor: str, version: str, options: Mapping[str, object]) -> str:
    """Return the KV key of what is known of a document, put through one processor in one way."""
    return known_key(sha256, processor, version, options, None)


def known_key(
    sha256: str,
    processor: str,
    version: str,
    options: Mapping[str, object],
    prompt: tuple[str, str | None] | None,
) -> str:
    """Return the KV key of a document's known result; a prompt comes with its model's name."""
    how: list[object] = [processor, version, options]
    if prompt is not None:
        how.append(prompt)
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()
    return f"{token(sha256)}.{digest[:16]}"
