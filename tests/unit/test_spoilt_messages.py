"""Whatever is on the queue becomes a job with a row that can be shown, or a dead letter."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from docnats.errors import UnreadableMessage
from docnats.models import DeadLetter, DeadLetterKind, JobMessage, JobRecord, utc_now
from docnats.notebook.letters import _letters_frame
from docnats.table import jobs_frame
from tests.ports.test_bus import message

SENT = message(
    filename="Grüße/論文.pdf",
    s3_url="https://s3.example.org/raw?X-Amz-Signature=abc",
    options={"password": "geheim", "pages": [1, None, {"a": 1.5}]},
    custom_prompt="a\nb",
    sha256="0" * 64,
)
BODY = SENT.to_json()
JOB = (SENT.batch, SENT.request_id)
FIELDS = sorted(JobMessage.model_fields)

flips = st.lists(
    st.tuples(st.integers(0, len(BODY) - 1), st.integers(0, 255)), min_size=1, max_size=4
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def read_or_refuse(data: bytes) -> JobMessage | UnreadableMessage:
    try:
        return JobMessage.read(data, JOB)
    except UnreadableMessage as error:
        return error


def check(data: bytes) -> None:
    """Assert that a message is a job of this version, or a letter that says why it is not."""
    read = read_or_refuse(data)
    if isinstance(read, UnreadableMessage):
        assert read.kind in list(DeadLetterKind)
        assert len(str(read)) <= 500
        assert "geheim" not in str(read)
        assert "Signature" not in str(read)
        letter = DeadLetter(
            read.kind, str(read), "s", JOB, 1, utc_now(), 1, "c", data, len(data), id=1
        )
        assert len(_letters_frame([letter])) == 1
        (letter.filename or "").encode()
        return
    assert (read.batch, read.request_id) == JOB
    record = JobRecord.of(read)
    assert "password" not in record.options
    known = JobRecord.from_json(record.to_json())
    assert known.job_id == read.request_id
    assert len(jobs_frame([known])) == 1


@settings(max_examples=400)
@given(flips)
def test_a_message_with_flipped_bytes(flips: list[tuple[int, int]]) -> None:
    data = bytearray(BODY)
    for place, byte in flips:
        data[place] = byte
    check(bytes(data))


@settings(max_examples=200)
@given(st.integers(0, len(BODY)))
def test_a_message_that_ends_too_soon(length: int) -> None:
    check(BODY[:length])


@settings(max_examples=200)
@given(st.binary())
def test_bytes_of_any_kind(data: bytes) -> None:
    check(data)


@settings(max_examples=400)
@given(st.sampled_from(FIELDS), json_values)
@example("processing_timeout", float("inf"))
@example("processing_timeout", float("nan"))
@example("processing_timeout", 1e308)
@example("file_size", 2**63)
@example("file_size", 2**63 - 1)
@example("schema_version", 2**70)
@example("timestamp", "0001-01-01T00:00:00+14:00")
@example("timestamp", "9999-12-31T23:59:59-14:00")
@example("timestamp", 1e300)
@example("filename", "\ud800")
@example("options", {"x": float("nan"), "\ud800": 1})
def test_a_field_with_a_value_of_any_kind(field: str, value: Any) -> None:
    check(json.dumps(json.loads(BODY) | {field: value}).encode())


def test_a_message_with_very_many_faults_is_refused_in_few_words() -> None:
    urls = {str(n): n for n in range(50_000)}
    check(json.dumps(json.loads(BODY) | {"part_urls": urls}).encode())


def test_a_message_nested_too_deep() -> None:
    check(b"[" * 100_000)
    check(BODY.replace(b"[1,", b"[" * 5000 + b"1" + b"]" * 5000 + b","))
