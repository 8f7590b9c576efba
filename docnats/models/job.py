"""The state record of a job: one row of the job table."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from enum import StrEnum
from typing import Self, TypeVar, cast

from pydantic import AwareDatetime, Field, JsonValue

from docnats.errors import ErrorType
from docnats.models.message import JobMessage, JobUrls
from docnats.models.record import Part, Record, utc_now

__all__ = ["ACTIVE", "TERMINAL", "JobRecord", "JobState"]


R = TypeVar("R", bound=Record)


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


class JobRecord(Record):
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
    parts : tuple of str
        Result objects that its processor makes beside the usual ones.
    options : dict
        The processor's options without secrets.
    custom_prompt : str or None
        What a language model is asked about the document's text.
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
    parts: tuple[Part, ...] = ()
    reused_from: str | None = None
    cleaned_at: AwareDatetime | None = None
    processor: str = "docling-parse"
    processing_timeout: float = 600
    options: dict[str, JsonValue] = Field(default_factory=dict)
    custom_prompt: str | None = None

    @classmethod
    def from_json(cls, data: builtins.bytes) -> Self:
        """Read a record from the wire; a ``ValueError`` says what is wrong with it."""
        return _lean(cast("Self", cls.__pydantic_validator__.validate_json(data)))

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """Return the record with these fields; a ``ValueError`` says what is wrong with them."""
        return _lean(cast("Self", cls.__pydantic_validator__.validate_python(dict(values))))

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
            custom_prompt=message.custom_prompt,
        )

    def message(
        self,
        urls: JobUrls | None = None,
        *,
        options: Mapping[str, JsonValue] | None = None,
        force: bool = False,
    ) -> JobMessage:
        """Return the message that puts the job on the queue.

        Parameters
        ----------
        urls : JobUrls, optional
            For a worker without credentials.
        options : mapping, optional
            The processor's, secrets included; by default those of the record.
        force : bool
            Parse the document even if it is known to kill the parser.
        """
        urls = urls or JobUrls()
        return JobMessage(
            request_id=self.job_id,
            batch=self.batch,
            s3_bucket=self.s3_bucket,
            s3_key=self.s3_key,
            s3_url=urls.s3_url,
            result_url=urls.result_url,
            part_urls=urls.part_urls,
            timestamp=self.submitted_at,
            file_size=self.bytes or 0,
            processing_timeout=self.processing_timeout,
            sha256=self.sha256,
            filename=self.filename,
            processor=self.processor,
            options=dict(self.options if options is None else options),
            custom_prompt=self.custom_prompt,
            force=force,
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


def _lean(record: R) -> R:
    """Share what pydantic notes of a record: the set of its fields, 2 KiB, half of its memory."""
    object.__setattr__(record, "__pydantic_fields_set__", _EVERY_FIELD)
    return record
