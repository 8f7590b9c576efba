"""Says in plain words what happened to jobs that did not end well, and what to do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from docnats.errors import ErrorType, JobFailed, JobTimeout, ObjectMissing
from docnats.models import JobRecord, JobState
from docnats.names import PAGES, part_key, result_key
from docnats.storage import Storage
from docnats.table.quantities import many

__all__ = ["Explanation", "advice_on", "explain_jobs", "failure_of"]

_REASONS = 3
"""Pages whose fault is told in words; the others are named only."""

_FETCHES = 16
"""Results read at a time."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one job is not simply done.

    Attributes
    ----------
    what_happened : str
        In words.
    pages : tuple of int
        The pages it happened on, as far as that is known.
    what_was_tried : str
        Deliveries, the last worker, time and time limit.
    what_to_do : str
        The next step, if there is one.
    """

    job_id: str
    filename: str
    what_happened: str
    pages: tuple[int, ...]
    what_was_tried: str
    what_to_do: str


async def explain_jobs(storage: Storage, jobs: Iterable[JobRecord]) -> list[Explanation]:
    """Explain those of some jobs that failed, were cancelled or lost pages, in their order."""
    slots = asyncio.Semaphore(_FETCHES)

    async def explain(job: JobRecord) -> Explanation:
        if job.state is not JobState.DONE:
            return _explain_end(job)
        async with slots:
            return _explain_pages(job, await _failed_pages(storage, job))

    return await asyncio.gather(*(explain(job) for job in jobs if _unwell(job)))


def failure_of(job: JobRecord) -> JobFailed | JobTimeout:
    """Return the error that a job is which has no result."""
    message = f"{job.filename}: {job.error or job.state}"
    if job.error_type is ErrorType.TIMEOUT:
        return JobTimeout(message)
    return JobFailed(message, job_id=job.job_id, error_type=job.error_type)


def advice_on(error_type: ErrorType) -> str:
    """Return what to do about failed rows of a type, as far as the type alone tells."""
    return _ADVICE[error_type]


def _unwell(job: JobRecord) -> bool:
    return job.state in (JobState.FAILED, JobState.CANCELLED) or bool(job.pages_failed)


def _explain_end(job: JobRecord) -> Explanation:
    if job.state is JobState.CANCELLED:
        happened, advice = "It was cancelled before it ended.", _CANCELLED
    else:
        happened, advice = _happened(job), _advice(job)
    return _explanation(job, happened, _pages_named(job.error or ""), advice)


def _happened(job: JobRecord) -> str:
    if job.error_type is ErrorType.UNREADABLE and job.error:  # it names fields of a message
        return f"Its job message was given up: {job.error.removesuffix('.')}."
    return _sentence(job.error) or _HAPPENED[_type(job)]


def _explain_pages(job: JobRecord, failed: Sequence[tuple[int, str]] | None) -> Explanation:
    happened = f"{job.pages_failed} of {job.pages} pages could not be read; the others are there"
    if failed is None:
        return _explanation(job, f"{happened}. Its results were cleaned up.", (), _REPAIR)
    told = "; ".join(f"page {page}: {error}" for page, error in failed[:_REASONS])
    more = len(failed) - _REASONS
    happened += f": {told}" + (f"; and {more} more" if more > 0 else "")
    return _explanation(job, f"{happened}.", tuple(page for page, _ in failed), _REPAIR)


def _explanation(job: JobRecord, happened: str, pages: tuple[int, ...], advice: str) -> Explanation:
    return Explanation(job.job_id, job.filename, happened, pages, _tried(job), advice)


def _type(job: JobRecord) -> ErrorType:
    return job.error_type or ErrorType.INTERNAL


def _sentence(error: str | None) -> str:
    return f"{error[0].upper()}{error[1:].removesuffix('.')}." if error else ""


def _tried(job: JobRecord) -> str:
    if job.reused_from:
        return f"Nothing: the result of job {job.reused_from} was given."
    if not job.attempt:
        return "No worker has begun it."
    words = [f"{many(job.attempt, 'attempt')}, the last on worker {job.worker}"]
    if job.started_at and job.finished_at:
        words.append(f"{(job.finished_at - job.started_at).total_seconds():.1f} s")
    return f"{', '.join(words)} (limit {job.processing_timeout:g} s)."


def _advice(job: JobRecord) -> str:
    if job.error_type is ErrorType.STORAGE and not job.attempt:
        return _NOT_UPLOADED
    if job.error_type is ErrorType.TOO_LARGE and job.attempt:
        return _TOO_MANY_PAGES
    return advice_on(_type(job))


def _pages_named(error: str) -> tuple[int, ...]:
    """Return the page that a message tells of, if it does."""
    found = re.search(r"\bpage (\d+)\b", error)
    return (int(found[1]),) if found else ()


async def _failed_pages(storage: Storage, job: JobRecord) -> list[tuple[int, str]] | None:
    try:
        data = await storage.get_bytes(part_key(job.result_key or result_key(job.job_id), PAGES))
    except ObjectMissing:
        return None
    table = pq.read_table(pa.BufferReader(data), columns=["page_no", "error"])
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return [(page, error) for page, error in rows if error is not None]


_HAPPENED = {
    ErrorType.NOT_A_PDF: "This is not a PDF.",
    ErrorType.ENCRYPTED: "It is locked with a password that was not given or does not fit.",
    ErrorType.MALFORMED: "It is a PDF, but too damaged to be read.",
    ErrorType.TIMEOUT: "It took longer than it was allowed to and was stopped.",
    ErrorType.OUT_OF_MEMORY: "It needed more memory than one parser may use.",
    ErrorType.CRASHED: "The parser crashed on it; no other document was harmed.",
    ErrorType.TOO_LARGE: "It is larger than the configured limit.",
    ErrorType.STORAGE: "The document or its result could not be moved to or from the storage.",
    ErrorType.NOT_SENT: "The process that submitted it ended before its turn came.",
    ErrorType.UNREADABLE: "The workers cannot make sense of its job message.",
    ErrorType.PROCESSOR: "No worker could put it through its processor.",
    ErrorType.PROMPT: "The language model did not answer its prompt.",
    ErrorType.CANCELLED: "It was cancelled before it ended.",
    ErrorType.INTERNAL: "A fault of docnats itself.",
}

_CANCELLED = "Nothing, or run it again: .docnats.retry()."
_NOT_UPLOADED = "Check that the file can be read and the storage reached, then submit it again."
_TOO_MANY_PAGES = "Split it, or raise DOCNATS_MAX_PAGES on the workers, then .docnats.retry()."
_REPAIR = (
    "Use the other pages as they are; or open the file in a viewer: if it shows these pages, save "
    "or print it to a new PDF and submit that one."
)

_SKIPPED = (
    "Where its pages stopped the parser, they were tried again in fresh processes, so the same "
    "file is skipped until docling-parse is updated; .docnats.retry(force=True) runs it anyway."
)

_ADVICE = {
    ErrorType.NOT_A_PDF: "Open the file, and get the document again: this is something else.",
    ErrorType.ENCRYPTED: "Give its password: .docnats.retry(password=...).",
    ErrorType.MALFORMED: (
        "Get the file again; or repair it (qpdf broken.pdf repaired.pdf) and submit the new file. "
        "A retry would fail in the same way."
    ),
    ErrorType.TIMEOUT: f"Give it more time: .docnats.retry(timeout=...). {_SKIPPED}",
    ErrorType.OUT_OF_MEMORY: (
        f"Raise DOCNATS_MEMORY_LIMIT on the workers, then .docnats.retry(). {_SKIPPED}"
    ),
    ErrorType.CRASHED: (
        f"The file shows a fault of the parser: please report it to docling-parse. {_SKIPPED}"
    ),
    ErrorType.TOO_LARGE: "Split it, or raise DOCNATS_MAX_FILE_SIZE, then submit it again.",
    ErrorType.STORAGE: "Check the storage with docnats.health(), then .docnats.retry().",
    ErrorType.NOT_SENT: "Submit the file again; it was never sent.",
    ErrorType.UNREADABLE: (
        "Run workers of the client's version, then `docnats requeue`; docnats.dead_letters() has "
        "the message."
    ),
    ErrorType.PROCESSOR: (
        "Where no worker offers the processor, install its package on one and start it, then "
        ".docnats.retry(); else report what it says to the processor's author."
    ),
    ErrorType.PROMPT: (
        "Check the endpoint that the workers are configured with (DOCNATS_LLM_BASE_URL and its "
        "like), then .docnats.retry()."
    ),
    ErrorType.CANCELLED: _CANCELLED,
    ErrorType.INTERNAL: "Please report this as a fault of docnats, with the message.",
}
