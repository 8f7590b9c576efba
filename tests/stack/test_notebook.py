"""The blocking functions and the accessor, as a notebook or script uses them."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import docnats
from docnats.errors import ConfigError, JobFailed, SourceError, TableError
from docnats.notebook.session import Session
from docnats.stack import LocalStack
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import text_pdf

pytestmark = pytest.mark.usefixtures("on_the_stack")


def test_results_come_for_the_done_rows_of_any_selection(jobs: pd.DataFrame) -> None:
    assert list(jobs.state) == ["done", "failed", "done"]
    assert list(jobs.docnats.pages()["page_no"]) == [1, 2, 1]
    backwards = jobs.sort_values("filename").iloc[::-1]
    assert list(backwards.docnats.text()["filename"]) == ["two.pdf", "one.pdf"]
    one = jobs[jobs.filename == "one.pdf"].docnats
    assert one.text()["text"].item().startswith("Page 1 line 1 of the archive")
    assert list(one.words(["text"]).columns) == ["job_id", "text"]
    merged = jobs.docnats.words().merge(jobs, on="job_id")
    assert set(merged["filename"]) == {"one.pdf", "two.pdf"}


def test_results_of_no_rows_are_empty_tables_of_the_same_columns(jobs: pd.DataFrame) -> None:
    none = jobs[jobs.state == "cancelled"].docnats
    for table in ("pages", "words"):
        full = getattr(jobs.docnats, table)()
        empty = getattr(none, table)()
        assert (len(empty), list(empty.columns)) == (0, list(full.columns))
    assert len(none.text()) == 0


def test_a_frame_without_the_columns_says_which_are_missing() -> None:
    with pytest.raises(TableError, match="job_id, batch, state"):
        _ = pd.DataFrame({"filename": ["a.pdf"]}).docnats


def test_without_waiting_the_table_comes_at_once_and_the_jobs_go_on() -> None:
    begun = docnats.submit_many({"a.pdf": text_pdf()}, wait=False, progress="none")
    assert set(begun.state) <= {"uploading", "queued", "running", "done"}
    ended = docnats.attach(begun.batch[0], wait=True, progress="none")
    assert list(ended.state) == ["done"]
    assert list(docnats.jobs(begun.batch[0]).job_id) == list(begun.job_id)


async def test_blocking_calls_work_under_a_running_loop(tmp_path: Path) -> None:
    """As in a Jupyter cell."""
    path = tmp_path / "a.pdf"
    path.write_bytes(text_pdf())
    assert docnats.process_pdf_with_s3_sync(path).text.startswith("Page 1")


def test_settings_can_be_overridden_for_one_call(tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(text_pdf(2000, lines=20))
    with pytest.raises(TimeoutError):
        docnats.process_pdf_with_s3_sync(path, {"timeout": 0.3})
    with pytest.raises(ConfigError, match="no field 'time_out'"):
        docnats.process_pdf_with_s3_sync(path, {"time_out": 3})


def test_one_encrypted_document_needs_its_password(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    path.write_bytes(encrypted_pdf("sesame"))
    with pytest.raises(JobFailed, match="password") as failure:
        docnats.process_pdf_with_s3_sync(path)
    assert failure.value.error_type == "encrypted"
    assert docnats.process_pdf_with_s3_sync(path, password="sesame").text  # noqa: S106


async def test_a_service_can_be_used_on_ones_own_loop(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(text_pdf())
    async with docnats.create_document_service() as service:
        assert (await service.health_check(wait=30)).healthy
        assert len((await service.process_document(path)).words) > 0


def test_another_bucket_can_be_configured_and_workers_of_the_first_one_say_so(
    stack: LocalStack,
) -> None:
    config = docnats.configure_s3_storage(
        stack.s3.endpoint_url,
        bucket_name="another",
        aws_access_key_id=stack.s3.aws_access_key_id,
        aws_secret_access_key=stack.s3.aws_secret_access_key,
    )
    (row,) = docnats.submit_many({"a.pdf": text_pdf()}, progress="none").itertuples()
    assert (config.bucket_name, row.state, row.error_type) == ("another", "failed", "storage")
    assert "give clients and workers the same S3_BUCKET" in row.error


def test_both_servers_can_be_named_in_code(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in stack.environment:
        monkeypatch.delenv(name)
    docnats.configure_nats(stack.environment["NATS_URL"])
    docnats.configure_s3_storage(
        stack.s3.endpoint_url,
        stack.s3.bucket_name,
        aws_access_key_id=stack.s3.aws_access_key_id,
        aws_secret_access_key=stack.s3.aws_secret_access_key,
    )
    jobs = docnats.submit_many({"a.pdf": text_pdf()}, progress="none")
    assert list(jobs.state) == ["done"]
    assert repr(jobs.docnats.document()).startswith("DocumentResult('a.pdf', pages=1")


def test_health_reads_well_in_a_notebook() -> None:
    health = docnats.health()
    assert health._repr_html_().count("<tr>") == len(health.parts) == 3


def test_an_interrupt_before_anything_was_submitted_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(session: Session, coroutine: Coroutine[Any, Any, object]) -> None:
        coroutine.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "run", interrupted)
    with pytest.raises(KeyboardInterrupt, match="nothing was submitted"):
        docnats.submit_many({"a.pdf": text_pdf()})


def test_a_wrong_choice_is_refused_before_anything_is_submitted() -> None:
    known = len(docnats.batches())
    with pytest.raises(ConfigError, match="'continue' or 'cancel'"):
        docnats.submit_many({"a.pdf": text_pdf()}, on_interrupt="stop")
    with pytest.raises(ConfigError, match="progress=False: it is 'auto', 'widget', 'text' or 'no"):
        docnats.submit_many({"a.pdf": text_pdf()}, progress=False)
    assert len(docnats.batches()) == known


def test_nothing_to_submit_is_an_error() -> None:
    with pytest.raises(SourceError, match="nothing to submit"):
        docnats.submit_many([])
