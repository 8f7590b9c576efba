"""The records that travel: the control message, the state record, progress.

They are the public wire contract, JSON in UTF-8; workers in other languages may read and
write them. Unknown fields are ignored, so that a newer docnats can add some.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from docnats.errors import ErrorType, UnreadableMessage

__all__ = [
    "ACTIVE",
    "SCHEMA_VERSION",
    "SECRET_OPTIONS",
    "TERMINAL",
    "DeadLetter",
    "DeadLetterKind",
    "JobMessage",
    "JobRecord",
    "JobState",
    "JobUrls",
    "KnownResult",
    "Outage",
    "PageProgress",
    "Poison",
    "Progress",
    "RunningJob",
    "SenderInfo",
    "WorkerActivity",
    "WorkerInfo",
    "utc_now",
]

SCHEMA_VERSION = 1

SECRET_OPTIONS = frozenset({"password"})
"""Options that only the control message carries; no record and no result has them."""

_INT64 = 2**63
"""Sizes must fit into a column of the job table."""

_LONGEST_REASON = 500
"""Characters that tell what is wrong with a message: they must fit into a row and a header."""


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


class JobState(StrEnum):
    """Where a job is; the order is the order of a job's life."""

    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = frozenset({JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING})
TERMINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """Return the record as it goes over the wire."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a record from the wire; a ``ValueError`` says what is wrong with it."""
        return cls.model_validate_json(data)

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return self.model_copy(update=changes)


class JobMessage(_Record):
    """The control message of one job: where its bytes are, never the bytes themselves.

    Attributes
    ----------
    s3_url, result_url : str or None
        Presigned GET of the document and presigned PUT of ``document.json``, for workers
        without credentials of their own.
    part_urls : dict
        Presigned PUTs of the other result objects, by their name.
    file_size : int
        Bytes.
    processing_timeout : float
        Seconds the whole job may take on a worker.
    options : dict
        Options of the processor; for docling-parse a ``password``.
    force : bool
        Parse the document even if it is known to kill the parser.
    """

    request_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    batch: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    s3_bucket: str
    s3_key: str
    s3_url: str | None = Field(default=None, repr=False)
    result_url: str | None = Field(default=None, repr=False)
    part_urls: dict[str, str] = Field(default_factory=dict, repr=False)
    timestamp: AwareDatetime
    file_size: int = Field(ge=0, lt=_INT64)
    processing_timeout: float = Field(gt=0, allow_inf_nan=False)
    sha256: str | None = None
    filename: str
    processor: str = "docling-parse"
    options: dict[str, JsonValue] = Field(default_factory=dict, repr=False)
    custom_prompt: str | None = None
    force: bool = False
    schema_version: int = SCHEMA_VERSION

    @property
    def shown_options(self) -> dict[str, JsonValue]:
        """The options without secrets."""
        return {name: value for name, value in self.options.items() if name not in SECRET_OPTIONS}

    @classmethod
    def read(cls, data: bytes, job: tuple[str, str] | None) -> Self:
        """Read the message of a job as it comes off the queue.

        Parameters
        ----------
        job : (batch, job_id) or None
            What the subject says that it belongs to.

        Raises
        ------
        UnreadableMessage
            This version cannot work on it; ``kind`` is one of :class:`DeadLetterKind`.
        """
        try:
            message = cls.from_json(data)
        except ValueError as error:
            raise UnreadableMessage(DeadLetterKind.UNDECODABLE, _what_is_wrong(error)) from None
        if message.schema_version != SCHEMA_VERSION:
            why = f"schema_version {message.schema_version} is not {SCHEMA_VERSION}"
            raise UnreadableMessage(DeadLetterKind.SCHEMA, why)
        if (message.batch, message.request_id) != job:
            why = "its batch and request_id are not those of the subject it was published on"
            raise UnreadableMessage(DeadLetterKind.MISPLACED, why)
        return message


def _what_is_wrong(error: ValueError) -> str:
    """Return what is wrong with a message, without what is in it."""
    if not isinstance(error, ValidationError):
        return str(error)[:_LONGEST_REASON]
    found = error.errors(include_url=False, include_context=False, include_input=False)
    words = (f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in found)
    return "; ".join(words)[:_LONGEST_REASON]


class JobUrls(_Record):
    """Fresh presigned URLs of one job, or why there are none.

    Attributes
    ----------
    s3_url, result_url, part_urls
        As in :class:`JobMessage`.
    refused : str or None
        Why whoever could sign does not.
    """

    s3_url: str | None = Field(default=None, repr=False)
    result_url: str | None = Field(default=None, repr=False)
    part_urls: dict[str, str] = Field(default_factory=dict, repr=False)
    refused: str | None = None


class JobRecord(_Record):
    """The state of one job, as kept in the state bucket: one row of the job table.

    Attributes
    ----------
    position : int
        Place in the submission, from 0.
    s3_bucket, s3_key : str
        Where the document is; under ``raw/`` when docnats put it there.
    bytes : int or None
        Size of the document.
    attempt : int
        Times that a worker began it; fences off a worker that lost its lease.
    releases : int
        Times that a worker handed it back alive: told to stop, or after a passing fault.
    result_key : str or None
        S3 prefix of the result objects, once the job is done.
    reused_from : str or None
        The job that made the result, where an earlier one was given for a known document.
    cleaned_at : datetime or None
        When it was cleaned up, if objects of it were kept since other jobs need them.
    options : dict
        The processor's options without secrets.
    """

    job_id: str
    batch: str
    position: int = 0
    filename: str
    state: JobState
    s3_bucket: str
    s3_key: str
    bytes: int | None = None
    sha256: str | None = None
    pages: int | None = None
    pages_failed: int | None = None
    attempt: int = 0
    releases: int = 0
    worker: str | None = None
    error_type: ErrorType | None = None
    error: str | None = None
    submitted_at: AwareDatetime
    queued_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    result_key: str | None = None
    reused_from: str | None = None
    cleaned_at: AwareDatetime | None = None
    processor: str = "docling-parse"
    processing_timeout: float = 600
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @classmethod
    def from_json(cls, data: builtins.bytes) -> Self:
        """Read a record from the wire; a ``ValueError`` says what is wrong with it."""
        record = cls.__pydantic_validator__.validate_json(data)
        # Pydantic notes which fields were given in a set of 2 KiB a record: half of its memory.
        object.__setattr__(record, "__pydantic_fields_set__", _EVERY_FIELD)
        return cast("Self", record)

    @classmethod
    def of(cls, message: JobMessage) -> Self:
        """Return the record of a job that is on the queue."""
        return cls(
            job_id=message.request_id,
            batch=message.batch,
            filename=message.filename,
            state=JobState.QUEUED,
            s3_bucket=message.s3_bucket,
            s3_key=message.s3_key,
            bytes=message.file_size,
            sha256=message.sha256,
            submitted_at=message.timestamp,
            queued_at=message.timestamp,
            processor=message.processor,
            processing_timeout=message.processing_timeout,
            options=message.shown_options,
        )

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL

    def failed(self, error_type: ErrorType, error: str) -> Self:
        """Return the record as it is once the job has failed."""
        return self.but(
            state=JobState.FAILED, error_type=error_type, error=error, finished_at=utc_now()
        )


_EVERY_FIELD = set(JobRecord.model_fields)


class DeadLetterKind(StrEnum):
    """What brought a job message among the dead letters."""

    MAX_DELIVERIES = "max_deliveries"
    """It was delivered as often as it may be, and no worker settled it."""
    UNDECODABLE = "undecodable"
    """It is no job message."""
    SCHEMA = "schema"
    """Its ``schema_version`` is not one that the workers know."""
    MISPLACED = "misplaced"
    """It speaks of another job than the subject it was published on."""
    TERMINATED = "terminated"
    """A worker of another make took it off the queue unread; only word of it is left."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job message that no worker could settle, kept for people to look at.

    Attributes
    ----------
    id : int
        Its place among the dead letters; 0 while it is not there yet.
    at : datetime
        When it came there.
    kind, reason : str
        Why, in one word (:class:`DeadLetterKind`) and in many.
    subject : str
        Where it was published; the bus fills it in for a job of which only word is left.
    job : (batch, job_id) or None
        The job it belongs to, as its subject says.
    sequence : int
        What number it had on the queue.
    stored_at : datetime
        When it came onto the queue.
    deliveries : int
        Times it was handed to a worker.
    consumer : str
        Through whom.
    data : bytes
        The message, or as much of it as NATS takes; it may hold passwords and signed URLs.
    size : int
        Bytes of the whole message.
    """

    kind: str
    reason: str
    subject: str
    job: tuple[str, str] | None
    sequence: int
    stored_at: datetime
    deliveries: int
    consumer: str
    data: bytes = field(repr=False)
    size: int
    id: int = 0
    at: datetime = field(default_factory=utc_now)

    @property
    def truncated(self) -> bool:
        """Whether the end of the message was cut off."""
        return len(self.data) < self.size

    @property
    def filename(self) -> str | None:
        """The document's name, as far as the message can be understood."""
        try:
            name = json.loads(self.data)["filename"]
        except (ValueError, TypeError, LookupError, RecursionError):
            return None
        # JSON can hold halves of characters, which neither NATS nor pandas take.
        return name.encode(errors="replace").decode() if isinstance(name, str) else None

    def message(self) -> JobMessage:
        """Return the job message; ``UnreadableMessage`` if this version cannot work on it."""
        if self.kind == DeadLetterKind.TERMINATED:
            why = "a worker took it off the queue, and the server keeps nothing of it"
            raise UnreadableMessage(self.kind, why)
        if self.truncated:
            why = f"only {len(self.data):,} of its {self.size:,} bytes were kept"
            raise UnreadableMessage(self.kind, why)
        return JobMessage.read(self.data, self.job)


class PageProgress(_Record):
    """How far a worker is with a document; lossy, never needed for correctness.

    Attributes
    ----------
    ranges : tuple of (int, int)
        The page ranges that are being parsed now, from 1, both ends included.
    """

    job_id: str
    batch: str
    pages_done: int
    pages: int
    ranges: tuple[tuple[int, int], ...] = ()


class WorkerInfo(_Record):
    """A live worker's entry in the registry.

    Attributes
    ----------
    versions : dict
        Of what makes results, by processor: others may make other ones.
    """

    worker: str
    host: str
    pid: int
    parsers: int
    processors: tuple[str, ...]
    jobs: tuple[str, ...] = ()
    version: str
    versions: dict[str, str] = Field(default_factory=dict)
    started_at: AwareDatetime


class Poison(_Record):
    """What is known of a document that killed the parser, whatever was tried.

    Attributes
    ----------
    job_id, batch, filename : str
        The job that found out.
    processing_timeout : float
        Seconds that job had; one with more may still succeed.
    memory_limit : int
        Bytes that a parser process had there.
    """

    error_type: ErrorType
    error: str
    job_id: str
    batch: str
    filename: str
    processing_timeout: float
    memory_limit: int
    seen_at: AwareDatetime


class KnownResult(_Record):
    """The result that a document is known to have; only a cache of the job table.

    Attributes
    ----------
    job_id, batch : str
        The job that made it.
    s3_bucket, s3_key : str
        Where its document is.
    result_key : str
        S3 prefix of the result objects.
    """

    job_id: str
    batch: str
    s3_bucket: str
    s3_key: str
    result_key: str
    bytes: int
    pages: int


class SenderInfo(_Record):
    """A process that sends a batch: its entry in the registry for as long as it does.

    Attributes
    ----------
    machine : str
        Tells apart machines, boots and containers; equal only where process ids mean the same.
    born : str
        When the process was started, in whatever its machine counts; empty if not known.
    suspected : bool
        Somebody missed its signs of life; the next one makes it good.
    """

    batch: str
    host: str
    pid: int
    machine: str = ""
    born: str = ""
    suspected: bool = False
    started_at: AwareDatetime


@dataclass(frozen=True, slots=True)
class RunningJob:
    """What a worker does with one document at this moment.

    Attributes
    ----------
    pages : int or None
        Pages of the document, once they are known.
    ranges : tuple of (int, int)
        The page ranges that are being parsed, from 1, both ends included.
    """

    filename: str
    pages: int | None = None
    pages_done: int = 0
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerActivity:
    """One live worker, as the followers of a batch see it.

    Attributes
    ----------
    parsers : int
        Its parser processes.
    jobs : tuple of RunningJob
        The batch's documents it works at.
    other_jobs : int
        Jobs of other batches it holds.
    """

    worker: str
    parsers: int
    jobs: tuple[RunningJob, ...] = ()
    other_jobs: int = 0


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that is out of reach and waited for.

    Attributes
    ----------
    server : {"NATS", "S3"}
    seconds : float
        For how long by now.
    """

    server: Literal["NATS", "S3"]
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch at one moment: what a progress panel shows.

    Attributes
    ----------
    counts : mapping of JobState to int
        Jobs in each state.
    pages : int
        Pages parsed so far, those of running jobs included.
    bytes_total, bytes_done, bytes_sent : int
        Bytes of all documents known so far, of those that ended, of those uploaded.
    elapsed : float
        Seconds since the submission.
    failures : tuple of JobRecord
        The newest failed jobs, the newest first; capped.
    snapshot : bytes
        One byte a job, in the order of the table's rows: the place of its state in
        :class:`JobState`.
    pages_per_second : float or None
        The rate of late, and over the whole time once finished; None before the first page.
    bytes_sent_per_second : float or None
        The rate of late; None when nothing is being uploaded.
    remaining : tuple of float, or None
        Seconds left, at least and at most as far as it can be told.
    workers : tuple of WorkerActivity, or None
        The live workers; None before they are known.
    outages : tuple of Outage
        The servers that are waited for at this moment.
    """

    batch: str
    total: int
    counts: Mapping[JobState, int]
    pages: int
    bytes_total: int
    bytes_done: int
    elapsed: float
    failures: tuple[JobRecord, ...] = ()
    snapshot: bytes = b""
    bytes_sent: int = 0
    pages_per_second: float | None = None
    bytes_sent_per_second: float | None = None
    remaining: tuple[float, float] | None = None
    workers: tuple[WorkerActivity, ...] | None = None
    outages: tuple[Outage, ...] = ()

    @property
    def ended(self) -> int:
        """Jobs in a terminal state."""
        return sum(self.counts.get(state, 0) for state in TERMINAL)

    @property
    def finished(self) -> bool:
        """Whether every job has ended."""
        return self.ended >= self.total
