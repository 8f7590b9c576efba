"""The main job on real servers and real workers: documents in, a table and results out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import docnats
from docnats.errors import ErrorType, JobFailed, JobTimeout, SourceError
from docnats.models import JobMessage, JobState, utc_now
from docnats.names import RAW_PREFIX, new_job_id, raw_key
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from docnats.table import jobs_frame
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import HTML_PAGE, text_pdf
from tests.waiting import until


async def finished(service: S3DocumentService, sources: object, **options: object) -> list:
    """Submit some documents and return their records once all have ended."""
    batch = await service.submit(sources, **options)  # type: ignore[arg-type]
    return (await batch.follow(timeout=120)).records()


async def test_the_samples_all_end_done_with_their_words(service: S3DocumentService) -> None:
    jobs = await finished(service, docnats.sample_paths())
    assert {job.state for job in jobs} == {JobState.DONE}, jobs_frame(jobs).to_string()
    assert [job.filename for job in jobs] == [path.name for path in docnats.sample_paths()]
    for job in jobs:
        result = await service.fetch_document(job)
        assert len(result.pages) == job.pages
        assert result.document["sha256"] == job.sha256
        assert (result.words["x0"] <= result.words["x1"]).all()


async def test_files_of_the_same_name_stay_apart(
    service: S3DocumentService, tmp_path: Path
) -> None:
    for folder, pages in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.pdf").write_bytes(text_pdf(pages))
    jobs = await finished(service, tmp_path)
    assert [(job.filename, job.pages) for job in jobs] == [("a/x.pdf", 1), ("b/x.pdf", 2)]


async def test_pages_that_kill_the_parser_cost_only_themselves(service: S3DocumentService) -> None:
    sources = {"some.pdf": text_pdf(60, bombs={1, 50}), "only.pdf": text_pdf(1, bombs={1})}
    some, only = await finished(service, sources)
    assert (some.state, some.pages, some.pages_failed) == (JobState.DONE, 60, 2)
    result = await service.fetch_document(some)
    errors = result.pages.set_index("page_no")["error"].dropna()
    assert list(errors.index) == [1, 50]
    assert errors.str.contains("memory").all()
    assert [error["page_no"] for error in result.document["errors"]] == [1, 50]
    assert (only.state, only.error_type) == (JobState.FAILED, ErrorType.OUT_OF_MEMORY)


async def test_a_document_that_killed_the_parser_is_skipped_until_it_is_forced(
    service: S3DocumentService,
) -> None:
    poison = ("poison.pdf", text_pdf(1, bombs={1}, padding=7654))
    (first,) = await finished(service, poison)
    (again,) = await finished(service, poison)
    (forced,) = await finished(service, poison, force=True)
    for job in (first, again, forced):
        assert (job.state, job.error_type) == (JobState.FAILED, ErrorType.OUT_OF_MEMORY)
    assert "not tried" not in (first.error or "")
    assert f"not tried, because this document stops the parser: since {first.finished_at:%Y}" in (
        again.error or ""
    )
    assert first.error in again.error
    assert forced.error == first.error
    retried = await service.retry([again], force=True)
    (last,) = (await retried.follow(timeout=120)).records()
    assert last.error == first.error


async def test_bad_documents_are_failed_rows_among_good_ones(service: S3DocumentService) -> None:
    jobs = await finished(
        service,
        {
            "good.pdf": text_pdf(2),
            "empty.pdf": b"",
            "page.pdf": HTML_PAGE,
            "truncated.pdf": text_pdf(3)[:300],
        },
    )
    outcome = {job.filename: (job.state, job.error_type) for job in jobs}
    assert outcome == {
        "good.pdf": (JobState.DONE, None),
        "empty.pdf": (JobState.FAILED, ErrorType.NOT_A_PDF),
        "page.pdf": (JobState.FAILED, ErrorType.NOT_A_PDF),
        "truncated.pdf": (JobState.FAILED, ErrorType.MALFORMED),
    }
    assert all(job.error for job in jobs if job.state is JobState.FAILED)


async def test_a_long_document_is_parsed_in_ranges_and_comes_back_in_order(
    service: S3DocumentService,
) -> None:
    (job,) = await finished(service, ("long.pdf", text_pdf(200)))
    result = await service.fetch_document(job)
    assert list(result.pages["page_no"]) == list(range(1, 201))
    assert result.pages["text"][199].startswith("Page 200 line 1")
    assert result.words["page_no"].is_monotonic_increasing


async def test_documents_already_in_s3_are_processed_in_place(
    service: S3DocumentService,
) -> None:
    """No copy is made, and a clean-up leaves the originals alone."""
    prefix = f"mine/{new_job_id()}"
    for name in ("one.pdf", "two.pdf"):
        await service.storage.put_bytes(f"{prefix}/{name}", text_pdf())
    jobs = await finished(service, f"s3://{service.storage.bucket}/{prefix}/")
    assert [job.state for job in jobs] == [JobState.DONE] * 2
    await service.cleanup_jobs(jobs)
    kept = [stored.key async for stored in service.storage.list(prefix)]
    assert kept == [f"{prefix}/one.pdf", f"{prefix}/two.pdf"]
    for job in jobs:
        assert [o.key async for o in service.storage.list(f"processed/{job.job_id}/")] == []


async def test_missing_files_are_all_named_and_nothing_is_uploaded(
    service: S3DocumentService, tmp_path: Path
) -> None:
    (tmp_path / "here.pdf").write_bytes(text_pdf())
    before = len(await service.jobs())
    sources = [tmp_path / "here.pdf", tmp_path / "gone1.pdf", tmp_path / "gone2.pdf"]
    with pytest.raises(SourceError, match=r"gone1\.pdf, .*gone2\.pdf"):
        await service.submit(sources)
    assert len(await service.jobs()) == before


async def test_a_file_that_vanishes_while_uploading_is_a_failed_row(
    service: S3DocumentService, tmp_path: Path
) -> None:
    for name in ("stays.pdf", "goes.pdf"):
        (tmp_path / name).write_bytes(text_pdf())
    batch = await service.submit([tmp_path / "stays.pdf", tmp_path / "goes.pdf"])
    (tmp_path / "goes.pdf").unlink()
    stays, goes = (await batch.follow(timeout=60)).records()
    assert stays.state is JobState.DONE
    # The upload may have won the race; then it is simply done.
    assert (goes.state, goes.error_type) in [
        (JobState.FAILED, ErrorType.STORAGE),
        (JobState.DONE, None),
    ]


async def test_one_document_returns_its_result(service: S3DocumentService, tmp_path: Path) -> None:
    path = tmp_path / "one.pdf"
    path.write_bytes(text_pdf(2))
    result = await service.process_document(path, timeout=60)
    assert "Page 2 line 1 of the archive" in result.text
    assert result.to_dict()["pages"] == 2
    json.dumps(result.to_dict())


async def test_one_bad_document_raises_and_leaves_nothing_in_s3(
    service: S3DocumentService, tmp_path: Path
) -> None:
    path = tmp_path / "page.pdf"
    path.write_bytes(HTML_PAGE)
    before = [o.key async for o in service.storage.list(RAW_PREFIX)]
    with pytest.raises(JobFailed, match="HTML") as failure:
        await service.process_document(path, timeout=60)
    assert failure.value.error_type == ErrorType.NOT_A_PDF
    assert [o.key async for o in service.storage.list(RAW_PREFIX)] == before


async def test_no_result_in_time_is_a_timeout_error_and_the_job_is_cancelled(
    service: S3DocumentService, tmp_path: Path
) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(text_pdf(3000, lines=40))
    with pytest.raises(TimeoutError) as failure:
        await service.process_document(path, timeout=0.5)
    assert isinstance(failure.value, JobTimeout)
    newest = (await service.jobs())[-1]
    assert newest.filename == "long.pdf"
    assert newest.state in (JobState.CANCELLED, JobState.FAILED)
    assert [o async for o in service.storage.list(newest.s3_key)] == []


async def test_a_running_job_can_be_cancelled_and_the_next_one_goes_on(
    service: S3DocumentService,
) -> None:
    batch = await service.submit(("long.pdf", text_pdf(3000, lines=40)))
    following = asyncio.create_task(batch.follow(timeout=120))
    await until_running(service, batch.id)
    await service.cancel(batch.table.records())
    (job,) = (await following).records()
    assert job.state is JobState.CANCELLED
    (after,) = await finished(service, ("short.pdf", text_pdf()))
    assert after.state is JobState.DONE


async def until_running(service: S3DocumentService, batch: str) -> None:
    async for entry in service.bus.watch(batch):
        if entry is not None and entry.record.state is JobState.RUNNING:
            return


async def test_any_program_may_put_a_job_on_the_bus(service: S3DocumentService) -> None:
    """The control message alone is enough; the worker makes the state record."""
    job_id = new_job_id()
    await service.storage.put_bytes(raw_key(job_id), text_pdf())
    message = JobMessage(
        request_id=job_id,
        batch="other-program",
        s3_bucket=service.storage.bucket,
        s3_key=raw_key(job_id),
        timestamp=utc_now(),
        file_size=len(text_pdf()),
        processing_timeout=60,
        filename="other.pdf",
    )
    await service.bus.publish([message])
    async for entry in service.bus.watch("other-program"):
        if entry is not None and entry.record.job_id == job_id and entry.record.terminal:
            assert entry.record.state is JobState.DONE
            break


async def test_every_part_is_healthy(service: S3DocumentService) -> None:
    health = await service.health_check(wait=60)  # the worker may just have been started
    assert health.healthy, health
    assert [part.name for part in health.parts] == ["s3", "nats", "workers"]


async def test_another_client_sees_the_same_batch(
    service: S3DocumentService, stack: LocalStack
) -> None:
    jobs = await finished(service, {"a.pdf": text_pdf(), "b.pdf": b""})
    async with S3DocumentService(stack.s3, stack.nats) as other:
        attached = await other.attach(jobs[0].batch)
        assert attached.table.records() == jobs


async def test_nothing_is_left_in_the_queue(service: S3DocumentService) -> None:
    jobs = await finished(service, {f"{i}.pdf": text_pdf() for i in range(30)})
    assert {job.state for job in jobs} == {JobState.DONE}
    # The row is final a moment before its message is acked.
    await until(service.bus.backlog, lambda found: found == (0, 0))


async def test_a_password_opens_encrypted_documents_and_is_kept_nowhere(
    service: S3DocumentService,
) -> None:
    password = "open sesame"  # noqa: S105 - of a file made here
    data = encrypted_pdf(password)
    (locked,) = await finished(service, ("locked.pdf", data))
    assert (locked.state, locked.error_type) == (JobState.FAILED, ErrorType.ENCRYPTED)
    jobs = await finished(
        service, {"locked.pdf": data, "open.pdf": text_pdf()}, options={"password": password}
    )
    assert [job.state for job in jobs] == [JobState.DONE] * 2
    assert password not in "".join(job.model_dump_json() for job in jobs)
    result = await service.fetch_document(jobs[0])
    assert password not in json.dumps(result.document)
