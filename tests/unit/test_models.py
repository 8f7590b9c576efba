"""Records: the wire contract, which programs in other languages rely on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from docnats.errors import ErrorType
from docnats.models import (
    ACTIVE,
    TERMINAL,
    JobMessage,
    JobRecord,
    JobState,
    JobUrls,
    PageProgress,
    Progress,
    WorkerInfo,
)

HISTORIC = {
    "request_id": "3f9a1c",
    "s3_bucket": "documents",
    "s3_key": "raw/3f9a1c.pdf",
    "s3_url": "https://s3.example.org/documents/raw/3f9a1c.pdf?X-Amz-Signature=ab%2Bcd",
    "timestamp": "2026-01-31T09:45:00Z",
    "file_size": 1234,
    "processing_timeout": 600.0,
}
"""The seven fields of the historic format; their names must never change."""

MESSAGE: dict[str, Any] = {
    **HISTORIC,
    "batch": "20260131-094500-3f9a1c",
    "result_url": None,
    "part_urls": {},
    "sha256": None,
    "filename": "report.pdf",
    "processor": "docling-parse",
    "options": {},
    "custom_prompt": None,
    "force": False,
    "schema_version": 1,
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
options = st.dictionaries(texts, json_values, max_size=3)
counts = st.integers(0, 2**53)

messages = st.builds(
    JobMessage,
    request_id=names,
    batch=names,
    s3_bucket=texts,
    s3_key=texts,
    s3_url=st.none() | texts,
    result_url=st.none() | texts,
    part_urls=st.dictionaries(texts, texts, max_size=3),
    timestamp=moments,
    file_size=counts,
    processing_timeout=st.floats(min_value=1e-3, max_value=1e9),
    sha256=st.none() | texts,
    filename=texts,
    processor=texts,
    options=options,
    custom_prompt=st.none() | texts,
    force=st.booleans(),
    schema_version=counts,
)
records = st.builds(
    JobRecord,
    job_id=names,
    batch=names,
    position=counts,
    filename=texts,
    state=st.sampled_from(JobState),
    s3_bucket=texts,
    s3_key=texts,
    bytes=st.none() | counts,
    sha256=st.none() | texts,
    pages=st.none() | counts,
    pages_failed=st.none() | counts,
    attempt=counts,
    releases=counts,
    worker=st.none() | texts,
    error_type=st.none() | st.sampled_from(ErrorType),
    error=st.none() | texts,
    submitted_at=moments,
    queued_at=st.none() | moments,
    started_at=st.none() | moments,
    finished_at=st.none() | moments,
    result_key=st.none() | texts,
    processor=texts,
    processing_timeout=st.floats(min_value=1e-3, max_value=1e9),
    options=options,
)
progresses = st.builds(PageProgress, job_id=names, batch=names, pages_done=counts, pages=counts)
workers = st.builds(
    WorkerInfo,
    worker=names,
    host=texts,
    pid=counts,
    parsers=counts,
    processors=st.lists(texts, max_size=3).map(tuple),
    jobs=st.lists(names, max_size=3).map(tuple),
    version=texts,
    started_at=moments,
)


def test_a_message_has_exactly_these_fields_on_the_wire() -> None:
    assert json.loads(JobMessage(**MESSAGE).to_json()) == MESSAGE


def test_a_record_has_exactly_these_fields_on_the_wire() -> None:
    record = JobRecord(
        job_id="j",
        batch="b",
        filename="a.pdf",
        state=JobState.FAILED,
        s3_bucket="documents",
        s3_key="raw/j.pdf",
        error_type=ErrorType.TIMEOUT,
        submitted_at=datetime(2026, 1, 31, 9, 45, tzinfo=UTC),
    )
    assert json.loads(record.to_json()) == {
        "job_id": "j",
        "batch": "b",
        "position": 0,
        "filename": "a.pdf",
        "state": "failed",
        "s3_bucket": "documents",
        "s3_key": "raw/j.pdf",
        "bytes": None,
        "sha256": None,
        "pages": None,
        "pages_failed": None,
        "attempt": 0,
        "releases": 0,
        "worker": None,
        "error_type": "timeout",
        "error": None,
        "submitted_at": "2026-01-31T09:45:00Z",
        "queued_at": None,
        "started_at": None,
        "finished_at": None,
        "result_key": None,
        "parts": [],
        "reused_from": None,
        "cleaned_at": None,
        "processor": "docling-parse",
        "processing_timeout": 600.0,
        "options": {},
        "custom_prompt": None,
    }


def test_the_historic_fields_with_batch_and_filename_are_enough() -> None:
    minimal = {**HISTORIC, "batch": "b", "filename": "a.pdf"}
    message = JobMessage.from_json(json.dumps(minimal).encode())
    assert message == JobMessage(**MESSAGE).but(batch="b", filename="a.pdf")


@pytest.mark.parametrize("field", [*HISTORIC.keys() - {"s3_url"}, "batch", "filename"])
def test_a_message_without_a_needed_field_is_refused(field: str) -> None:
    body = {key: value for key, value in MESSAGE.items() if key != field}
    with pytest.raises(ValueError, match=field):
        JobMessage.from_json(json.dumps(body).encode())


@pytest.mark.parametrize("field", ["request_id", "batch"])
@pytest.mark.parametrize("bad", ["", "a.b", "*", ">", "a b", "é", "../x", "a\n", "x" * 65, None, 7])
def test_an_id_that_is_no_part_of_a_subject_is_refused(field: str, bad: object) -> None:
    with pytest.raises(ValueError, match=field):
        JobMessage(**MESSAGE | {field: bad})


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("file_size", -1),
        ("processing_timeout", 0),
        ("processing_timeout", -5),
        ("timestamp", "2026-01-31T09:45:00"),
        ("timestamp", "yesterday"),
    ],
)
def test_a_value_out_of_range_is_refused(field: str, bad: object) -> None:
    with pytest.raises(ValueError, match=field):
        JobMessage(**MESSAGE | {field: bad})


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff", b'{"request_id": "a"'])
def test_what_is_not_a_message_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        JobMessage.from_json(data)


def test_fields_of_a_newer_docnats_are_ignored() -> None:
    newer = json.dumps(MESSAGE | {"colour": "blue", "nested": {"a": [1]}}).encode()
    assert JobMessage.from_json(newer) == JobMessage(**MESSAGE)


@given(messages | records | progresses | workers)
def test_every_record_comes_back_from_the_wire_as_it_was(record: Any) -> None:
    assert type(record).from_json(record.to_json()) == record


@given(messages)
def test_the_wire_is_json_in_utf_8_with_times_in_utc(message: JobMessage) -> None:
    body = json.loads(message.to_json().decode("utf-8"))
    assert body["timestamp"].endswith("Z")
    assert datetime.fromisoformat(body["timestamp"]) == message.timestamp


@given(messages)
def test_the_record_of_a_message_makes_that_message(message: JobMessage) -> None:
    urls = JobUrls(
        s3_url=message.s3_url, result_url=message.result_url, part_urls=message.part_urls
    )
    made = JobRecord.of(message).message(urls, options=message.options, force=message.force)
    assert made.but(schema_version=message.schema_version) == message


def test_the_message_of_a_record_alone_has_its_options_and_no_urls() -> None:
    message = JobMessage(**MESSAGE | {"s3_url": None, "options": {"top": 1}})
    assert JobRecord.of(message).message() == message


def test_a_record_cannot_be_changed_only_copied() -> None:
    message = JobMessage(**MESSAGE)
    with pytest.raises(ValidationError, match="frozen"):
        message.batch = "other"  # type: ignore[misc]
    assert message.but(batch="other").batch == "other"
    assert message.batch == MESSAGE["batch"]


def test_a_messages_repr_shows_no_presigned_url_and_no_option() -> None:
    secret = MESSAGE | {
        "result_url": "https://r?X-Amz-Signature=s1",
        "part_urls": {"words.parquet": "https://w?X-Amz-Signature=s2"},
        "options": {"password": "geheim"},
    }
    shown = repr(JobMessage(**secret))
    assert "Signature" not in shown
    assert "geheim" not in shown


def test_states_are_in_the_order_of_a_jobs_life() -> None:
    assert [str(state) for state in JobState] == [
        "uploading",
        "queued",
        "running",
        "done",
        "failed",
        "cancelled",
    ]


def test_every_state_is_either_active_or_terminal() -> None:
    assert set(JobState) == ACTIVE | TERMINAL
    assert not ACTIVE & TERMINAL


@pytest.mark.parametrize("state", JobState)
def test_a_job_has_ended_when_its_state_is_terminal(state: JobState) -> None:
    record = JobRecord(
        job_id="j",
        batch="b",
        filename="a.pdf",
        state=state,
        s3_bucket="documents",
        s3_key="raw/j.pdf",
        submitted_at=datetime.now(UTC) - timedelta(seconds=1),
    )
    assert record.terminal is (state in TERMINAL)


def test_progress_knows_what_has_ended() -> None:
    counts = {JobState.DONE: 1, JobState.FAILED: 1, JobState.QUEUED: 2}
    half = Progress("b", 4, counts, 9, 400, 100, 10.0)
    assert (half.ended, half.finished) == (2, False)
    assert Progress("b", 4, {JobState.DONE: 4}, 9, 400, 400, 10.0).finished
