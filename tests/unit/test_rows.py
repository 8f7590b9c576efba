"""Job rows in DataFrames of every kind: none is lost, moved or mistaken for another."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docnats.errors import TableError
from docnats.models import JobRecord, JobState, utc_now
from docnats.names import raw_key
from docnats.notebook.rows import JobRows
from docnats.service import key_of
from docnats.table import COLUMNS, jobs_frame

NOW = utc_now()
NEEDED = {"job_id", "batch", "state"}

jobs = st.lists(
    st.builds(
        lambda batch, job_id, state, error: JobRecord(
            job_id=f"{job_id:032x}",
            batch=batch,
            filename=f"{job_id}.pdf",
            state=state,
            error=error,
            s3_bucket="documents",
            s3_key=raw_key("x"),
            submitted_at=NOW,
        ),
        st.sampled_from(["20260131-094500-3f9a1c", "papers", "a-1"]),
        st.integers(10 * 16**31, 16**32 - 1),  # begins with a letter: CSV takes others for numbers
        st.sampled_from(JobState),
        st.none() | st.text(max_size=5),
    ),
    unique_by=key_of,
    min_size=1,
    max_size=8,
)
changes = st.sampled_from(["nothing", "csv", "parquet", "category", "object", "index", "few"])


def changed(frame: pd.DataFrame, change: str) -> pd.DataFrame:
    match change:
        case "csv":
            # Quoted: pandas writes a lone carriage return as it is, and reads it as a line's end.
            text = frame.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
            return pd.read_csv(io.StringIO(text))
        case "parquet":
            stream = io.BytesIO()
            frame.to_parquet(stream)
            return pd.read_parquet(stream)
        case "category" | "object":
            return frame.astype(dict.fromkeys(NEEDED, change))
        case "index":
            return frame.set_index("filename")
        case "few":
            return frame[["state", "job_id", "batch"]]
    return frame


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs, changes, st.data())
def test_rows_are_brought_up_to_date_where_they_are(
    records: list[JobRecord], change: str, data: st.DataObject
) -> None:
    order = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=12))
    frame = changed(jobs_frame(records).iloc[order].assign(mine=range(len(order))), change)
    rows = JobRows(frame)
    assert set(rows.jobs()) == {key_of(records[place]) for place in order}
    fresh = {key: done_job(records, key) for key in rows.jobs()}
    updated = rows.updated(fresh)
    assert updated.index.equals(frame.index)
    assert list(updated.columns) == list(frame.columns)
    expected = jobs_frame([done_job(records, key_of(records[place])) for place in order])
    for name in (name for name in COLUMNS if name in frame.columns):
        assert updated[name].reset_index(drop=True).equals(expected[name]), name
    if "mine" in frame:
        assert list(updated["mine"]) == list(range(len(order)))


def done_job(records: list[JobRecord], key: tuple[str, str]) -> JobRecord:
    """Return a job as it is once it is done."""
    (record,) = [record for record in records if key_of(record) == key]
    return record.but(state=JobState.DONE, pages=3, finished_at=NOW)


def test_names_that_a_csv_reader_took_for_numbers() -> None:
    frame = pd.DataFrame({"job_id": [12.0, None], "batch": [2024, 2024], "state": ["done", None]})
    assert JobRows(frame).jobs() == [("2024", "12")]
    assert JobRows(frame).done() == {"12": "12"}


def test_rows_without_a_job_keep_what_they_say() -> None:
    record = one_record()
    frame = pd.concat(
        [jobs_frame([record]), pd.DataFrame({"filename": ["mine.pdf"], "state": ["lost"]})]
    )
    updated = JobRows(frame).updated({key_of(record): record.but(state=JobState.DONE)})
    assert list(updated["filename"]) == ["a.pdf", "mine.pdf"]
    assert updated["state"].iloc[0] == "done"
    assert updated["pages"].isna().all()


def one_record() -> JobRecord:
    return JobRecord(
        job_id="j1",
        batch="b1",
        filename="a.pdf",
        state=JobState.QUEUED,
        s3_bucket="documents",
        s3_key=raw_key("j1"),
        submitted_at=NOW,
    )


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(TableError, match=f"it has no column {name}; keep"):
        JobRows(jobs_frame([]).drop(columns=name))
