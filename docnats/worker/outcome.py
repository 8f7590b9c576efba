"""What becomes of a job: the record it leaves behind when it ends or goes back to the queue.

Three kinds of faults lead to three kinds of ends. What is wrong with a document is wrong at
once and for good. What may pass is tried again, later and perhaps on another machine, until
ten minutes are over, or six hours where it only waits for somebody who signs URLs. And a job
whose workers died, without a word, is given to some more.
"""

from __future__ import annotations

import errno
import logging
import tempfile

from docnats.errors import BusError, ErrorType, ParseError, PromptError, StorageError, Unsigned
from docnats.models import JobRecord, JobState
from docnats.worker.retries import PATIENT_RETRIES, RETRIES, retry_delay

__all__ = ["after_fault", "deaths", "given_up", "handed_back", "stalled", "time_is_up"]

log = logging.getLogger(__name__)


def deaths(record: JobRecord) -> int:
    """Return how many workers began a job and were not heard of again."""
    return max(0, record.attempt - record.releases)


def given_up(record: JobRecord) -> JobRecord:
    """Return the record of a job that too many workers died of."""
    lost = f"{deaths(record)} workers died, stalled or were cut off"
    msg = f"given up: {lost} while they had this document"
    return record.failed(ErrorType.CRASHED, msg)


def handed_back(record: JobRecord) -> JobRecord:
    """Return the record of a running job that its worker, alive, gives to another."""
    return record.but(state=JobState.QUEUED, releases=record.releases + 1)


def time_is_up(seconds: float) -> ParseError:
    """Return the error of a job that took longer than it may."""
    return ParseError(ErrorType.TIMEOUT, f"not done within its limit of {seconds:g} s")


def stalled(worker: str) -> ParseError:
    """Return what any time limit means to a worker whose own clock stood still: try again."""
    msg = f"worker {worker} was stopped or cut off for a while, so its time limits tell nothing"
    return ParseError(ErrorType.TIMEOUT, msg, transient=True)


def after_fault(record: JobRecord, error: Exception, worker: str) -> JobRecord:
    """Return the record of a running job that met a fault: failed, or queued once more."""
    error_type, message, passing = _told(error, worker)
    if error_type is ErrorType.INTERNAL:
        log.error("job %s: internal error", record.job_id, exc_info=error)
    if not passing:
        return record.failed(error_type, message)
    retries = PATIENT_RETRIES if isinstance(error, Unsigned) else RETRIES
    if record.releases >= retries:
        return record.failed(error_type, f"{message}; given up after {retries} retries")
    queued = handed_back(record)
    delay = retry_delay(record.releases)
    told = f"{message}; tried again in {delay:.0f} s (retry {queued.releases} of {retries})"
    return queued.but(error_type=error_type, error=told)


def _told(error: Exception, worker: str) -> tuple[ErrorType, str, bool]:
    """Return the type of a fault, what to say of it, and whether it may pass."""
    match error:
        case ParseError():
            return error.error_type, str(error), error.transient
        case StorageError() | PromptError():
            kind = ErrorType.PROMPT if isinstance(error, PromptError) else ErrorType.STORAGE
            return kind, str(error), error.transient
        case BusError():
            return ErrorType.STORAGE, str(error), True
        case OSError(errno=errno.ENOSPC):
            told = f"no space left on worker {worker} ({tempfile.gettempdir()})"
            return ErrorType.STORAGE, told, True
        case OSError():
            return ErrorType.STORAGE, f"worker {worker}: {error}", True
    return ErrorType.INTERNAL, f"{type(error).__name__}: {error}", False
