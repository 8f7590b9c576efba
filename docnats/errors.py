"""Every error docnats raises on purpose, and the vocabulary of failed rows.

::

    DocnatsError
    ├── ConfigError      a setting is wrong (also a ValueError)
    ├── SourceError      the sources of a submission are wrong (also a ValueError)
    ├── TableError       a DataFrame is not a table of jobs (also a ValueError)
    ├── StorageError     S3 did not do what was asked
    │   ├── ObjectMissing    there is no such object
    │   ├── UrlRefused       a presigned URL has expired, or never was good
    │   └── PlaceForbidden   a job names a place that this worker may not use
    ├── BusError         NATS did not do what was asked
    │   └── StateConflict    somebody else wrote the job's state first
    ├── UnreadableMessage    a job message makes no sense (also a ValueError)
    ├── StackError       the embedded servers or workers could not be started
    ├── ParseError       one document could not be parsed; carries an ``error_type``
    ├── PromptError      the language model did not answer
    ├── JobFailed        a job that was waited for ended in failed or cancelled
    └── JobTimeout       a job did not end in time (also a TimeoutError)

Errors of third-party libraries are wrapped where they appear, with ``raise … from``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

__all__ = [
    "BusError",
    "ConfigError",
    "DocnatsError",
    "ErrorType",
    "JobFailed",
    "JobTimeout",
    "ObjectMissing",
    "ParseError",
    "PlaceForbidden",
    "PromptError",
    "SourceError",
    "StackError",
    "StateConflict",
    "StorageError",
    "TableError",
    "UnreadableMessage",
    "UrlRefused",
    "ungrouped",
]


class ErrorType(StrEnum):
    """Why a row failed: the column ``error_type`` of the job table."""

    NOT_A_PDF = "not_a_pdf"
    """The bytes are not a PDF: empty, HTML, an image, …"""
    ENCRYPTED = "encrypted"
    """The PDF needs a password, or the one given does not open it."""
    MALFORMED = "malformed"
    """It is a PDF, but too damaged to be read."""
    TIMEOUT = "timeout"
    """Parsing did not end within its time limit, or no page of it did, and was stopped."""
    OUT_OF_MEMORY = "out_of_memory"
    """Parsing needed more memory than one parser process may use."""
    CRASHED = "crashed"
    """The parser process died on every page; or ``max_deliver`` workers died of the job."""
    TOO_LARGE = "too_large"
    """The file or its page count is over the configured limit."""
    STORAGE = "storage"
    """The document or its result could not be read from or written to the storage."""
    NOT_SENT = "not_sent"
    """The process that submitted it ended before the job was on the queue."""
    UNREADABLE = "unreadable"
    """Workers cannot make sense of its job message, or somebody dropped it; see dead letters."""
    PROCESSOR = "processor"
    """No worker offers its processor, its options do not fit there, or the processor failed."""
    PROMPT = "prompt"
    """The language model refused the prompt, or did not answer for ten minutes."""
    CANCELLED = "cancelled"
    """The job was cancelled before it ended."""
    INTERNAL = "internal"
    """A fault of docnats itself; please report it."""


class DocnatsError(Exception):
    """The root of all errors docnats raises on purpose."""


class ConfigError(DocnatsError, ValueError):
    """A setting is wrong; the message names the field, the value and what is accepted."""


class SourceError(DocnatsError, ValueError):
    """The sources given to a submission cannot be used; nothing was uploaded."""


class TableError(DocnatsError, ValueError):
    """A DataFrame is not a table of docnats jobs."""


class StorageError(DocnatsError):
    """S3 did not do what was asked.

    Parameters
    ----------
    message : str
        What happened, where, and what to do next.
    transient : bool
        Whether the same request may succeed later or on another machine.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class ObjectMissing(StorageError):
    """There is no object under the key asked for."""


class UrlRefused(StorageError):
    """A presigned URL has expired, or was signed with wrong credentials."""


class Unsigned(StorageError):
    """No presigned URL of a job is valid any more, and nobody is there who signs another."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=True)


class PlaceForbidden(StorageError):
    """A job names a URL or a bucket that is outside of the configured storage."""


class BusError(DocnatsError):
    """NATS did not do what was asked."""


class StateConflict(BusError):
    """A state record was written by somebody else since it was read."""


class UnreadableMessage(DocnatsError, ValueError):
    """A job message makes no sense to this version; the words do not show what is in it.

    Parameters
    ----------
    kind : str
        What is wrong with it, in one word: the kind of the dead letter it becomes.
    message : str
        The same in words.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class StackError(DocnatsError):
    """The embedded servers or workers could not be started or reached."""


class ParseError(DocnatsError):
    """One document could not be parsed.

    Parameters
    ----------
    error_type : ErrorType
        The class of the failure, as it appears in the job table.
    message : str
        What happened, in words for the user.
    transient : bool
        Whether the document may be innocent: the machine ended its parser process.
    """

    def __init__(self, error_type: ErrorType, message: str, *, transient: bool = False) -> None:
        super().__init__(error_type, message)
        self.error_type = error_type
        self.message = message
        self.transient = transient

    def __str__(self) -> str:
        return self.message


class PromptError(DocnatsError):
    """The language model did not answer a prompt.

    Parameters
    ----------
    message : str
        What happened, at which endpoint, and what to do next.
    transient : bool
        Whether the same prompt may be answered later.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class JobFailed(DocnatsError):
    """A job that was waited for ended in ``failed`` or ``cancelled``."""

    def __init__(self, message: str, *, job_id: str, error_type: str | None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.error_type = error_type


class JobTimeout(DocnatsError, TimeoutError):
    """A job did not reach a terminal state in the time given."""


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise the first error of a task group as itself; what callers catch has a name."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
