"""The work of a batch: by pages where they are known, by sizes where they are not."""

from __future__ import annotations

from typing import Any

import pytest

from docnats.models import JobRecord, JobState, PageProgress, utc_now
from docnats.table.workload import OPENING, Workload


def record(job_id: str, state: JobState, **fields: Any) -> JobRecord:
    return JobRecord(
        job_id=job_id,
        batch="b",
        filename=f"{job_id}.pdf",
        state=state,
        s3_bucket="documents",
        s3_key=f"raw/{job_id}.pdf",
        submitted_at=utc_now(),
        **fields,
    )


def workload(*records: JobRecord) -> Workload:
    made = Workload()
    for one in records:
        made.account(one, 1)
    return made


def done(count: int, size: int = 1000, pages: int = 9) -> list[JobRecord]:
    return [record(f"d{i}", JobState.DONE, bytes=size, pages=pages) for i in range(count)]


def test_nothing_is_expected_before_a_document_ended() -> None:
    assert workload(record("a", JobState.QUEUED, bytes=5)).outlook([], 2).left is None


def test_what_waits_is_expected_to_be_like_what_ended() -> None:
    waiting = [record(f"q{i}", JobState.QUEUED, bytes=1000) for i in range(5)]
    outlook = workload(*done(100), *waiting).outlook([], 2)
    assert outlook.done == 100 * (OPENING + 9)
    assert outlook.left is not None
    assert outlook.left.total == pytest.approx(5 * (OPENING + 9), rel=0.02)


def test_a_file_that_is_no_pdf_is_only_opened_and_a_cancelled_one_not_even_that() -> None:
    ended = [record("f", JobState.FAILED, bytes=1000), record("c", JobState.CANCELLED, bytes=1000)]
    assert workload(*ended).outlook([], 2).done == OPENING


def test_a_document_whose_pages_are_known_counts_by_them_whatever_its_size() -> None:
    """As one that is run again."""
    known = record("q", JobState.QUEUED, bytes=1000, pages=500)
    left = workload(*done(100), known).outlook([], 2).left
    assert left is not None
    assert (left.total, left.sd) == (OPENING + 500, 0)
    assert left.largest == OPENING + 500


def test_a_document_at_work_counts_by_the_pages_that_are_left() -> None:
    running = record("r", JobState.RUNNING, bytes=1000)
    made = workload(*done(100), running)
    made.tell(running, PageProgress(job_id="r", batch="b", pages_done=200, pages=500))
    outlook = made.outlook([running], 2)
    assert outlook.done == 100 * (OPENING + 9) + OPENING + 200
    assert outlook.left is not None
    assert (outlook.left.total, outlook.longest) == (300, 300)
    made.account(running, -1)
    made.forget("r")
    made.account(running.but(state=JobState.DONE, pages=500, bytes=1_000_000), 1)
    outlook = made.outlook([], 2)
    assert outlook.done == 100 * (OPENING + 9) + OPENING + 500
    assert outlook.left is not None
    assert outlook.left.total == 0
    waiting = [record("q", JobState.QUEUED, bytes=1000)]
    made.account(waiting[0], 1)
    assert made.outlook([], 2) == workload(
        *done(100), record("x", JobState.DONE, pages=500, bytes=1_000_000), *waiting
    ).outlook([], 2)


def test_half_is_done_of_what_is_being_parsed_and_nothing_of_what_waits_for_a_parser() -> None:
    running = [record(f"r{i}", JobState.RUNNING, bytes=1000) for i in range(4)]
    outlook = workload(*done(1000), *running).outlook(running, 2)
    assert outlook.left is not None
    assert outlook.left.total == pytest.approx(3 * (OPENING + 9), rel=0.01)
    assert outlook.done == pytest.approx(1001 * (OPENING + 9), rel=0.001)
    assert outlook.left.sd > 0
