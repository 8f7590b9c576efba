"""What is said of jobs that did not end well."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from docnats.errors import ErrorType, JobFailed, JobTimeout
from docnats.models import JobRecord, JobState, utc_now
from docnats.names import PAGES, raw_key, result_part
from docnats.service.explain import explain_jobs, failure_of
from tests.fakes.storage import FakeStorage

NOW = utc_now()


def job(state: JobState, **fields: Any) -> JobRecord:
    return JobRecord(
        job_id="j1",
        batch="b1",
        filename="report.pdf",
        state=state,
        s3_bucket="documents",
        s3_key=raw_key("j1"),
        submitted_at=NOW,
        **fields,
    )


def failed(error_type: ErrorType, error: str = "it is so", **fields: Any) -> JobRecord:
    return job(JobState.FAILED, error_type=error_type, error=error, **fields)


@pytest.mark.parametrize("error_type", ErrorType)
async def test_every_kind_of_failure_has_words_and_advice(
    storage: FakeStorage, error_type: ErrorType
) -> None:
    (told,) = await explain_jobs(storage, [failed(error_type, attempt=1, worker="w1")])
    assert told.what_happened.lower().endswith("it is so.")
    assert told.what_to_do.endswith((".", ")."))
    (told,) = await explain_jobs(storage, [job(JobState.FAILED, error_type=error_type)])
    assert told.what_happened.endswith(".")


@pytest.mark.parametrize("attempt", [0, 1])
@pytest.mark.parametrize("error_type", ErrorType)
async def test_what_is_told_holds_for_both_kinds_of_storage(
    storage: FakeStorage, error_type: ErrorType, attempt: int
) -> None:
    record = job(JobState.FAILED, error_type=error_type, attempt=attempt)
    (told,) = await explain_jobs(storage, [record])
    assert "S3" not in told.what_happened + told.what_to_do


async def test_what_was_tried_is_told_in_numbers(storage: FakeStorage) -> None:
    record = failed(
        ErrorType.TIMEOUT,
        attempt=3,
        worker="w1",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=12.34),
        processing_timeout=12,
    )
    (told,) = await explain_jobs(storage, [record])
    assert told.what_was_tried == "3 attempts, the last on worker w1, 12.3 s (limit 12 s)."
    assert "retry(timeout=...)" in told.what_to_do


@pytest.mark.parametrize(
    "error_type", [ErrorType.CRASHED, ErrorType.TIMEOUT, ErrorType.OUT_OF_MEMORY]
)
async def test_what_killed_the_parser_is_skipped_until_it_is_forced(
    storage: FakeStorage, error_type: ErrorType
) -> None:
    (told,) = await explain_jobs(storage, [failed(error_type, attempt=1, worker="w1")])
    assert "tried again in fresh processes" in told.what_to_do
    assert "until docling-parse is updated" in told.what_to_do
    assert ".docnats.retry(force=True)" in told.what_to_do


async def test_a_document_that_never_arrived_is_to_be_submitted_again(
    storage: FakeStorage,
) -> None:
    (told,) = await explain_jobs(storage, [failed(ErrorType.STORAGE, "not uploaded: refused")])
    assert told.what_was_tried == "No worker has begun it."
    assert "submit it again" in told.what_to_do


async def test_faults_of_a_message_are_not_told_as_those_of_the_document(
    storage: FakeStorage,
) -> None:
    (told,) = await explain_jobs(storage, [failed(ErrorType.UNREADABLE, "options: not valid")])
    assert told.what_happened == "Its job message was given up: options: not valid."


async def test_pages_that_were_lost_are_named_with_their_reasons(storage: FakeStorage) -> None:
    pages = pa.table({"page_no": [1, 2, 3, 4, 5], "error": [None, "bad", "worse", "a", "b"]})
    stream = io.BytesIO()
    pq.write_table(pages, stream)
    await storage.put_bytes(result_part("j1", PAGES), stream.getvalue())
    (told,) = await explain_jobs(storage, [job(JobState.DONE, pages=5, pages_failed=4)])
    assert told.pages == (2, 3, 4, 5)
    assert told.what_happened == (
        "4 of 5 pages could not be read; the others are there: page 2: bad; page 3: worse; "
        "page 4: a; and 1 more."
    )


async def test_lost_pages_of_a_result_that_was_cleaned_up(storage: FakeStorage) -> None:
    (told,) = await explain_jobs(storage, [job(JobState.DONE, pages=5, pages_failed=4)])
    assert "4 of 5 pages" in told.what_happened
    assert "cleaned up" in told.what_happened


async def test_a_page_in_the_message_is_told(storage: FakeStorage) -> None:
    record = failed(ErrorType.MALFORMED, "none of its 9 pages could be read; page 1: no stream")
    (told,) = await explain_jobs(storage, [record])
    assert told.pages == (1,)


async def test_jobs_that_are_well_or_go_on_are_left_out(storage: FakeStorage) -> None:
    fine = [job(state) for state in JobState if state not in ("failed", "cancelled")]
    assert await explain_jobs(storage, [*fine, job(JobState.DONE, pages=2, pages_failed=0)]) == []


def test_a_failure_is_the_error_that_fits() -> None:
    assert isinstance(failure_of(failed(ErrorType.TIMEOUT)), JobTimeout)
    error = failure_of(failed(ErrorType.CRASHED))
    assert isinstance(error, JobFailed)
    assert (str(error), error.error_type) == ("report.pdf: it is so", "crashed")
    assert str(failure_of(job(JobState.CANCELLED))) == "report.pdf: cancelled"
