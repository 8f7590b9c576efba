"""The job table: contract columns, dtypes, order, and a fold that never goes back."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from docnats.errors import ErrorType
from docnats.models import (
    JobRecord,
    JobState,
    PageProgress,
    RunningJob,
    Unserved,
    WorkerInfo,
    utc_now,
)
from docnats.table import COLUMNS, JobTable, jobs_frame

CONTRACT = [
    "job_id",
    "batch",
    "filename",
    "state",
    "pages",
    "pages_failed",
    "bytes",
    "attempt",
    "worker",
    "error_type",
    "error",
    "submitted_at",
    "started_at",
    "finished_at",
    "seconds",
    "sha256",
    "result_key",
    "reused_from",
]


def record(job_id: str = "j1", position: int = 0, **fields: object) -> JobRecord:
    values: dict[str, object] = {
        "batch": "b",
        "filename": f"{job_id}.pdf",
        "state": JobState.QUEUED,
        "s3_bucket": "documents",
        "s3_key": f"raw/{job_id}.pdf",
        "submitted_at": utc_now(),
    }
    return JobRecord.model_validate({"job_id": job_id, "position": position, **values, **fields})


def test_the_columns_and_dtypes_are_the_contract() -> None:
    frame = jobs_frame([record()])
    assert list(frame.columns) == list(COLUMNS) == list(CONTRACT)
    assert list(frame["state"].cat.categories) == [s.value for s in JobState]
    assert frame["state"].cat.ordered
    for name in ("submitted_at", "started_at", "finished_at"):
        assert str(frame[name].dtype) == "datetime64[us, UTC]"
    for name in ("pages", "pages_failed", "bytes", "attempt"):
        assert str(frame[name].dtype) == "Int64"
    assert isinstance(frame.index, pd.RangeIndex)


def test_an_empty_table_has_the_same_dtypes() -> None:
    assert list(jobs_frame([]).dtypes) == list(jobs_frame([record()]).dtypes)


def test_rows_without_a_text_are_not_lost_by_a_comparison() -> None:
    """With pandas.NA, ``!=`` and ``~`` would drop them."""
    types = [None, ErrorType.ENCRYPTED, ErrorType.CRASHED]
    frame = jobs_frame([record(f"j{i}", i, error_type=kind) for i, kind in enumerate(types)])
    assert list(frame[frame.error_type != "encrypted"].job_id) == ["j0", "j2"]
    assert list(frame[~(frame.error_type == "encrypted")].job_id) == ["j0", "j2"]


def test_seconds_is_the_time_from_start_to_end() -> None:
    start = utc_now()
    row = record(started_at=start, finished_at=start + timedelta(seconds=2.5))
    assert jobs_frame([row]).loc[0, "seconds"] == 2.5
    assert pd.isna(jobs_frame([record()]).loc[0, "seconds"])


def test_rows_are_in_the_order_of_submission_whatever_came_first() -> None:
    table = JobTable("b")
    for revision, position in enumerate([2, 0, 1], start=1):
        table.apply(record(f"j{position}", position), revision)
    assert list(table.frame()["job_id"]) == ["j0", "j1", "j2"]


def test_an_older_revision_changes_nothing() -> None:
    table = JobTable("b")
    table.apply(record(state=JobState.DONE, pages=3), 7)
    table.apply(record(state=JobState.RUNNING), 6)
    assert table.records()[0].state is JobState.DONE
    assert table.finished


def test_an_empty_table_is_not_finished() -> None:
    assert not JobTable("b").finished


def test_progress_counts_pages_of_running_jobs_once() -> None:
    """Page progress counts while a job runs; its final count replaces it."""
    table = JobTable("b")
    table.apply(record(state=JobState.RUNNING, bytes=10), 1)
    table.apply_progress(PageProgress(job_id="j1", batch="b", pages_done=40, pages=100))
    assert table.progress().pages == 40
    table.apply(record(state=JobState.DONE, bytes=10, pages=100), 2)
    table.apply_progress(PageProgress(job_id="j1", batch="b", pages_done=90, pages=100))
    progress = table.progress()
    assert (progress.pages, progress.bytes_done, progress.finished) == (100, 10, True)


def test_a_batch_that_ended_long_ago_took_no_longer_than_it_took() -> None:
    """As when it is attached to a day later."""
    table = JobTable("b")
    start = utc_now() - timedelta(days=1)
    end = start + timedelta(seconds=8)
    table.apply(record(state=JobState.DONE, submitted_at=start, finished_at=end), 1)
    assert table.progress().elapsed == 8


def test_the_newest_failures_come_first() -> None:
    table = JobTable("b")
    for i in range(3):
        failed = record(f"j{i}", i, state=JobState.FAILED, error_type=ErrorType.CRASHED)
        table.apply(failed, i + 1)
    assert [job.job_id for job in table.progress().failures] == ["j2", "j1", "j0"]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(JobState), st.integers(1, 50)), max_size=60
    )
)
def test_the_counts_always_agree_with_the_rows(events: list[tuple[int, JobState, int]]) -> None:
    """Whatever order events come in, counters equal a recount of the table."""
    table = JobTable("b")
    for job, state, revision in events:
        pages = revision if state is JobState.DONE else None
        table.apply(record(f"j{job}", job, state=state, bytes=job, pages=pages), revision)
    progress, frame = table.progress(), table.frame()
    assert progress.total == len(frame)
    assert {k.value: v for k, v in progress.counts.items()} == dict(
        frame["state"].value_counts(sort=False)
    )
    assert progress.bytes_total == frame["bytes"].sum()
    assert progress.pages == frame["pages"].sum()
    assert [tuple(JobState)[code] for code in progress.snapshot] == list(frame["state"])
    assert table.filenames() == list(frame["filename"])


def test_a_selection_passes_other_jobs_over() -> None:
    table = JobTable("two of them", only={"j0", "j2"})
    for position in range(3):
        table.apply(record(f"j{position}", position), position + 1)
    assert list(table.frame()["job_id"]) == ["j0", "j2"]


def test_jobs_of_several_batches_are_in_the_order_of_the_batches() -> None:
    table = JobTable("a selection")
    for revision, (batch, position) in enumerate([("b", 1), ("a", 2), ("b", 0)], start=1):
        table.apply(record(f"{batch}{position}", position, batch=batch), revision)
    assert table.filenames() == ["a2.pdf", "b0.pdf", "b1.pdf"]


def test_only_what_this_job_uploaded_counts_as_sent() -> None:
    """Not a document that was in S3 before."""
    table = JobTable("b")
    table.apply(record("j0", 0, state=JobState.UPLOADING, bytes=10), 1)
    table.apply(record("j1", 1, queued_at=utc_now(), bytes=20), 2)
    table.apply(record("j2", 2, queued_at=utc_now(), bytes=40, s3_key="theirs/j2.pdf"), 3)
    assert table.progress().bytes_sent == 20


def worker(name: str, *jobs: str) -> WorkerInfo:
    return WorkerInfo(
        worker=name,
        host="h",
        pid=1,
        parsers=2,
        processors=("docling-parse",),
        jobs=jobs,
        version="1",
        started_at=utc_now(),
    )


def test_the_workers_are_shown_with_what_they_do() -> None:
    table = JobTable("b")
    assert table.progress().workers is None
    table.apply(record("j0", 0, state=JobState.RUNNING, worker="w1"), 1)
    table.apply(record("j1", 1, state=JobState.RUNNING, worker="w1"), 2)
    table.apply_progress(
        PageProgress(job_id="j1", batch="b", pages_done=40, pages=100, ranges=((41, 80),))
    )
    table.apply_workers([worker("w1", "j0", "j1", "of-another-batch"), worker("w2")])
    busy, idle = table.progress().workers or ()
    assert busy.jobs == (RunningJob("j0.pdf"), RunningJob("j1.pdf", 100, 40, ((41, 80),)))
    assert (busy.other_jobs, idle.worker, idle.jobs) == (1, "w2", ())
    table.apply(record("j1", 1, state=JobState.DONE, worker="w1"), 3)
    assert [job.filename for job in (table.progress().workers or ())[0].jobs] == ["j0.pdf"]


def test_queued_jobs_that_no_live_worker_can_do_are_counted_by_what_they_need() -> None:
    """A model answers only what its own worker has put through the processor."""
    table = JobTable("b")
    for place in range(5):
        how = {} if place == 0 else {"processor": "docling"}
        prompt = "Why?" if place == 4 else None
        row = record(f"j{place}", place, state=JobState.QUEUED, custom_prompt=prompt, **how)
        table.apply(row, place + 1)
    assert table.progress().unserved == ()  # nobody knows who lives
    table.apply_workers([])
    assert table.progress().unserved == ()
    plain = worker("w1").but(prompts="tiny")
    table.apply_workers([plain])
    lacking = (Unserved("docling", False, 3), Unserved("docling", True, 1))
    assert table.progress().unserved == lacking
    table.apply_workers([plain, worker("w2").but(processors=("docling",))])
    assert table.progress().unserved == lacking[1:]
    table.apply(record("j4", 4, state=JobState.CANCELLED, processor="docling"), 6)
    assert table.progress().unserved == ()


def test_the_time_left_counts_the_pages_of_running_documents() -> None:
    start = utc_now()
    now = start + timedelta(seconds=10)
    table = JobTable("b", clock=lambda: now)
    for place, state in enumerate([JobState.DONE, JobState.RUNNING]):
        row = record(f"j{place}", place, state=state, bytes=100, submitted_at=start)
        table.apply(row, place + 1)
    table.apply_progress(PageProgress(job_id="j1", batch="b", pages_done=50, pages=100))
    low, high = table.progress().remaining or (0, 0)
    assert low < 10 * 50 / 150 < high


def test_no_time_is_left_to_tell_while_there_is_no_worker_for_a_job() -> None:
    start = utc_now()
    table = JobTable("b", clock=lambda: start + timedelta(seconds=10))
    for place, state in enumerate([JobState.DONE, JobState.RUNNING]):
        row = record(f"j{place}", place, state=state, pages=5 if place == 0 else None)
        table.apply(row.but(bytes=100, submitted_at=start), place + 1)
    table.apply_workers([worker("w1", "j1")])
    assert table.progress().remaining is not None
    table.apply_workers([])
    assert table.progress().remaining is None
    table.apply(record("j1", 1, state=JobState.QUEUED, bytes=100, processor="other"), 3)
    table.apply_workers([worker("w1")])
    assert table.progress().remaining is None
    table.apply(record("j1", 1, state=JobState.DONE, pages=5, bytes=100), 4)
    assert table.progress().remaining == (0, 0)
