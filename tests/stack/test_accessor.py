"""``jobs.docnats`` on real servers: any selection of job rows, however it was made."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pandas as pd
import pytest

import docnats
from docnats.errors import (
    ConfigError,
    DocnatsError,
    JobFailed,
    JobTimeout,
    ObjectMissing,
    SourceError,
    TableError,
)
from docnats.models import JobRecord
from docnats.notebook.session import current_session
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import text_pdf
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("on_the_stack")


def begun(pages: int = 8000) -> pd.DataFrame:
    """Submit a document that takes a while, and one behind it."""
    sources = {"long.pdf": text_pdf(pages, lines=20), "short.pdf": text_pdf()}
    return docnats.submit_many(sources, wait=False, force=True, progress="none")


def through_csv(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)))


def through_parquet(frame: pd.DataFrame) -> pd.DataFrame:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return pd.read_parquet(stream)


@pytest.mark.parametrize(
    "change",
    [
        lambda jobs: jobs,
        lambda jobs: jobs.sort_values("filename").iloc[::-1],
        lambda jobs: pd.concat([jobs, jobs.iloc[:1]]),
        lambda jobs: jobs.set_index(["filename", "bytes"]),
        lambda jobs: jobs.astype({"job_id": "category", "batch": object, "state": str}),
        lambda jobs: jobs.assign(label=["x", None, "z"])[["label", "state", "batch", "job_id"]],
        through_csv,
        through_parquet,
    ],
    ids=["as it is", "backwards", "twice", "index", "dtypes", "columns", "csv", "parquet"],
)
def test_refreshing_keeps_rows_order_index_and_columns(
    jobs: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    changed = change(jobs)
    stale = changed.assign(state="queued")
    fresh = stale.docnats.refresh()
    assert list(fresh["job_id"]) == list(changed["job_id"])
    assert fresh.index.equals(changed.index)
    assert list(fresh.columns) == list(stale.columns)
    assert list(fresh["state"]) == list(changed["state"])
    assert fresh["state"].dtype == jobs["state"].dtype
    assert list(stale["state"].unique()) == ["queued"]
    assert set(changed.docnats.words(["text"])["job_id"]) == set(jobs[jobs.state == "done"].job_id)


def test_rows_of_several_batches_are_handled_together(jobs: pd.DataFrame) -> None:
    other = docnats.submit_many({"three.pdf": text_pdf(3)}, progress="none")
    both = pd.concat([other, jobs[::-1]], keys=["new", "old"])
    assert list(both.docnats.refresh()["filename"]) == list(both["filename"])
    assert list(both.docnats.wait(progress="none")["state"]) == list(both["state"])
    assert list(both.docnats.pages(["page_no"])["page_no"]) == [1, 2, 3, 1, 1, 2]


def test_results_can_carry_the_name_of_their_document(jobs: pd.DataFrame) -> None:
    pages = jobs.docnats.pages(["filename", "page_no"])
    assert list(pages.columns) == ["job_id", "filename", "page_no"]
    named = zip(pages["filename"], pages["page_no"], strict=True)
    assert list(named) == [("two.pdf", 1), ("two.pdf", 2), ("one.pdf", 1)]
    assert list(jobs.docnats.pages(["filename"])["filename"]) == ["two.pdf", "two.pdf", "one.pdf"]


def test_a_dataset_holds_the_rows_of_a_selection(jobs: pd.DataFrame) -> None:
    """Of a retry too, whose rows are in another batch."""
    one = jobs[jobs.filename == "one.pdf"]
    again = one.docnats.retry(force=True, progress="none")
    both = pd.concat([jobs, again]).docnats
    assert both.dataset("pages").count_rows() == 4
    assert both.dataset().count_rows() == len(both.words())


def test_rows_without_a_job_are_left_alone(jobs: pd.DataFrame) -> None:
    """As after a merge with a list of files of which some were not submitted."""
    files = pd.DataFrame({"filename": ["one.pdf", "never.pdf", "two.pdf"], "year": [1, 2, 3]})
    merged = files.merge(jobs, on="filename", how="left")
    fresh = merged.docnats.refresh()
    assert list(fresh["filename"]) == ["one.pdf", "never.pdf", "two.pdf"]
    assert list(fresh["year"]) == [1, 2, 3]
    assert list(fresh["state"].isna()) == [False, True, False]
    assert list(merged.docnats.text()["filename"]) == ["one.pdf", "two.pdf"]


def test_an_empty_selection_is_no_special_case(jobs: pd.DataFrame) -> None:
    none = jobs[jobs.state == "cancelled"]
    for frame in (none.docnats.refresh(), none.docnats.wait(), none.docnats.retry()):
        assert frame.shape == none.shape
    assert len(none.docnats.cancel()) == 0
    assert len(none.docnats.explain()) == 0
    assert len(none.docnats.text()) == 0
    assert none.docnats.cleanup() == 0


def test_jobs_of_another_installation_are_named(jobs: pd.DataFrame) -> None:
    foreign = jobs.assign(batch="elsewhere")
    with pytest.raises(TableError, match=r"knows no job .* of batch elsewhere"):
        foreign.docnats.refresh()


def test_waiting_for_some_rows_only(jobs: pd.DataFrame) -> None:
    started = begun()
    short = started[started.filename == "short.pdf"].docnats.wait(progress="none")
    assert list(short["state"]) == ["done"]
    with pytest.raises(JobTimeout, match="1 of 1 jobs had not ended"):
        started.iloc[[0]].docnats.wait(0.1, progress="none")
    assert list(started.docnats.cancel()["state"]) == ["cancelled", "done"]


def test_cancelling_stops_a_running_job() -> None:
    started = begun(pages=20_000)
    eventually(lambda: started.docnats.refresh()["state"].iloc[0] == "running")
    assert list(started.iloc[[0]].docnats.cancel()["state"]) == ["cancelled"]
    session = current_session()

    def held() -> tuple[str, ...]:
        workers = session.run(session.service().workers())
        return tuple(job_id for worker in workers for job_id in worker.jobs)

    eventually(lambda: started.job_id.iloc[0] not in held(), what="the worker has let it go")


def test_retrying_gives_the_whole_picture() -> None:
    sources = {"locked.pdf": encrypted_pdf("sesame"), "fine.pdf": text_pdf()}
    jobs = docnats.submit_many(sources, progress="none").assign(note=["a", "b"])
    assert list(jobs["state"]) == ["failed", "done"]
    retried = jobs.docnats.retry(password="sesame", progress="none")  # noqa: S106
    assert list(retried["state"]) == ["done", "done"]
    assert list(retried["filename"]) == ["locked.pdf", "fine.pdf"]
    assert list(retried["note"]) == ["a", "b"]
    assert retried["job_id"].iloc[0] != jobs["job_id"].iloc[0]
    assert retried["sha256"].iloc[0] == jobs["sha256"].iloc[0] or jobs["sha256"].isna().iloc[0]
    assert retried.iloc[1].equals(jobs.iloc[1])
    assert len(retried.docnats.text()) == 2
    pd.testing.assert_frame_equal(retried.docnats.retry(progress="none"), retried)
    forced = retried.docnats.retry(force=True, wait=False, progress="none")
    assert not set(forced["job_id"]) & set(retried["job_id"])


def test_a_retry_of_what_was_cleaned_up_names_the_file(jobs: pd.DataFrame) -> None:
    failed = jobs[jobs.state == "failed"]
    assert failed.docnats.cleanup() == 1
    with pytest.raises(SourceError, match=r"no retry of page\.pdf.*Submit the file again"):
        jobs.docnats.retry(progress="none")
    assert list(jobs.docnats.refresh()["state"]) == list(jobs["state"])


def test_results_that_were_cleaned_up_are_an_error_that_names_the_documents(
    jobs: pd.DataFrame,
) -> None:
    one = jobs[jobs.filename == "one.pdf"]
    assert one.docnats.cleanup() == 1
    with pytest.raises(ObjectMissing, match=r"results of one\.pdf are not in the storage any more"):
        jobs.docnats.words()
    with pytest.raises(ObjectMissing, match=r"one\.pdf"):
        one.docnats.document()
    assert list(jobs.drop(one.index).docnats.pages(["page_no"])["page_no"]) == [1, 2]


def test_jobs_that_have_not_ended_are_not_cleaned_up() -> None:
    started = begun()
    with pytest.raises(DocnatsError, match="have not ended"):
        started.docnats.cleanup()
    assert started.docnats.cancel().docnats.cleanup() == 2


def test_the_result_of_one_row_or_of_a_named_job(jobs: pd.DataFrame) -> None:
    assert jobs[jobs.filename == "two.pdf"].docnats.document().document["pages"] == 2
    assert len(jobs.docnats.document(jobs.job_id.iloc[2]).pages) == 1
    with pytest.raises(TableError, match="these are 3 jobs: name one"):
        jobs.docnats.document()
    with pytest.raises(TableError, match="no job nowhere among"):
        jobs.docnats.document("nowhere")
    with pytest.raises(JobFailed, match=r"page\.pdf: the file is not a PDF"):
        jobs.docnats.document(jobs.job_id.iloc[1])


def test_a_page_is_shown_with_its_words(jobs: pd.DataFrame) -> None:
    two = jobs[jobs.filename == "two.pdf"]
    view = two.docnats.show(page=2)
    assert repr(view) == "page 2 of two.pdf, 21 words"
    with pytest.raises(ConfigError, match=r"two\.pdf has 2 pages"):
        jobs.docnats.show(two.job_id.item(), page=3)
    two.docnats.cleanup()
    with pytest.raises(ObjectMissing, match=r"results of two\.pdf"):
        two.docnats.show()


def test_columns_can_be_chosen_and_wrong_ones_are_named(jobs: pd.DataFrame) -> None:
    words = jobs.docnats.words(["font", "text"])
    assert list(words.columns) == ["job_id", "font", "text"]
    assert list(words["job_id"].cat.categories) == list(jobs[jobs.state == "done"].job_id)
    assert list(jobs.docnats.pages([]).columns) == ["job_id"]
    with pytest.raises(TableError, match=r"words has no column 'fonts'; it has job_id, page_no"):
        jobs.docnats.words(["fonts"])
    with pytest.raises(TableError, match="pages has no column 'font'"):
        jobs[jobs.state == "cancelled"].docnats.pages(["font"])


def test_explaining_tells_what_happened_and_what_to_do(jobs: pd.DataFrame) -> None:
    long = begun().iloc[[0]]
    long.docnats.cancel()
    told = pd.concat([jobs, long]).docnats.explain().set_index("filename")
    assert list(told.index) == ["page.pdf", "long.pdf"]
    assert "not a PDF" in told.what_happened["page.pdf"]
    assert told.what_was_tried["page.pdf"].startswith("1 attempt, the last on worker")
    assert "Open the file" in told.what_to_do["page.pdf"]
    assert told.what_happened["long.pdf"] == "It was cancelled before it ended."
    assert "retry" in told.what_to_do["long.pdf"]


def test_it_works_from_several_threads(jobs: pd.DataFrame) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(jobs.docnats.refresh().docnats.pages())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3] * 4


async def test_the_same_can_be_awaited_on_ones_own_loop(jobs: pd.DataFrame) -> None:
    async with docnats.create_document_service() as service:
        known = await service.jobs(jobs.batch[0], state="failed")
        assert [job.filename for job in known] == ["page.pdf"]
        assert all(isinstance(job, JobRecord) for job in known)
        again = await (await service.retry(known)).follow(timeout=60)
        assert [job.error_type for job in again.records()] == ["not_a_pdf"]
        assert (await service.explain(again.records()))[0].filename == "page.pdf"
