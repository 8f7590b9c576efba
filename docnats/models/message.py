"""The control message of a job, and what can be wrong with one."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, JsonValue, ValidationError

from docnats.errors import UnreadableMessage
from docnats.models.record import Record

__all__ = ["SCHEMA_VERSION", "SECRET_OPTIONS", "DeadLetterKind", "JobMessage", "JobUrls"]

SCHEMA_VERSION = 1


SECRET_OPTIONS = frozenset({"password"})
"""Options that only the control message carries; no record and no result has them."""


INT64 = 2**63
"""Sizes must fit into a column of the job table."""


_LONGEST_REASON = 500
"""Characters that tell what is wrong with a message: they must fit into a row and a header."""


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
    FORBIDDEN = "forbidden"
    """It names a place outside of the workers' storage."""
    TERMINATED = "terminated"
    """A worker of another make took it off the queue unread; only word of it is left."""


class JobMessage(Record):
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
    custom_prompt : str or None
        What a language model is asked about the document's text.
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
    file_size: int = Field(ge=0, lt=INT64)
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


class JobUrls(Record):
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
