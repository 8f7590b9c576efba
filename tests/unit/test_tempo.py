"""What jobs took of parsers, and uploads of time, by their records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docnats.models import JobRecord, JobState
from docnats.names import raw_key
from docnats.service.sources import Source
from docnats.service.tempo import parser_seconds, upload_seconds

START = datetime(2026, 1, 31, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def job(job_id: str, begin: float, end: float, **fields: Any) -> JobRecord:
    values = {"worker": "w", "pages": 5, "bytes": 100, "s3_key": raw_key(job_id)} | fields
    return JobRecord(
        job_id=job_id,
        batch="b",
        filename=job_id,
        state=JobState.DONE,
        s3_bucket="documents",
        submitted_at=START,
        started_at=at(begin),
        finished_at=at(end),
        **values,
    )


def test_a_job_that_waits_for_a_parser_takes_none_until_it_has_one() -> None:
    jobs = [job("a", 0, 4), job("b", 0.01, 6), job("c", 0.02, 5), job("d", 0.03, 9)]
    found = parser_seconds(jobs, {"w": 2})
    assert found == pytest.approx({"a": 4, "b": 6, "c": 1, "d": 4}, rel=0.01)


def test_a_long_document_takes_several_but_not_more_than_there_are() -> None:
    alone = parser_seconds([job("a", 0, 10, pages=1000)], {"w": 4})
    assert alone == pytest.approx({"a": 40})
    both = parser_seconds([job("a", 0, 10, pages=1000), job("b", 0, 10)], {"w": 4})
    assert sum(both.values()) == pytest.approx(40)
    assert both["a"] > both["b"]


def test_workers_are_told_apart_whatever_their_clocks_say() -> None:
    jobs = [job("a", 0, 4), job("b", 1000, 1004, worker="other")]
    assert parser_seconds(jobs, {"w": 1, "other": 1}) == pytest.approx({"a": 4, "b": 4})


def test_a_job_without_a_worker_took_nothing() -> None:
    assert parser_seconds([job("a", 0, 4, worker=None)], {"w": 1}) == {}


def test_an_upload_grows_with_the_bytes_or_with_the_files() -> None:
    documents = [Source(str(n), 1000) for n in range(10)] + [Source("s3", 5, bucket="b", key="k")]
    sent = [job("a", 0, 1, queued_at=at(1)), job("b", 0, 1, queued_at=at(2))]
    assert upload_seconds(documents, sent) == (2 * 10_000 / 200, 2 * 10 / 2)


def test_what_is_in_s3_already_need_not_be_uploaded() -> None:
    documents = [Source("s3", 5, bucket="b", key="k")]
    in_place = [job("a", 0, 1, queued_at=at(1), s3_key="theirs.pdf")]
    assert upload_seconds(documents, in_place) == (0, 0)
