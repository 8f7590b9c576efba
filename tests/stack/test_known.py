"""Files submitted again on real servers and workers: answered from the earlier result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import docnats
from docnats.models import JobRecord, JobState
from docnats.names import RAW_PREFIX, RESULT_PREFIX, WORDS
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from tests.pdfs import text_pdf

LIMIT = 120


@pytest.fixture(autouse=True)
def _known_documents_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCNATS_REUSE_RESULTS", "true")


async def finished(
    service: S3DocumentService, sources: object, **options: object
) -> list[JobRecord]:
    """Submit some documents and return their records once all have ended."""
    batch = await service.submit(sources, **options)  # type: ignore[arg-type]
    return (await batch.follow(timeout=LIMIT)).records()


async def noted(service: S3DocumentService, sources: object) -> list[JobRecord]:
    """Submit until all are known: workers note results a moment after the jobs have ended."""
    async with asyncio.timeout(LIMIT):
        while True:
            jobs = await finished(service, sources)
            if all(job.reused_from for job in jobs):
                return jobs


async def objects(service: S3DocumentService) -> set[str]:
    return {s.key for p in (RAW_PREFIX, RESULT_PREFIX) async for s in service.storage.list(p)}


async def words(service: S3DocumentService, jobs: list[JobRecord]) -> list[object]:
    places = {job.job_id: job.result_key or "" for job in jobs}
    table = await service.fetch_table(list(places), WORDS, ["text"], places=places)
    return table.column("text").to_pylist()


async def test_samples_submitted_again_are_done_without_an_upload_with_the_same_words(
    service: S3DocumentService,
) -> None:
    samples = docnats.sample_paths()
    first = await noted(service, samples)
    before = await objects(service)
    again = await finished(service, samples)
    assert {job.state for job in again} == {JobState.DONE}
    assert await objects(service) == before
    assert await words(service, again) == await words(service, first)
    dataset = await service.dataset(again[0].batch)
    assert await asyncio.to_thread(dataset.count_rows) == len(await words(service, first))
    result = await service.fetch_document(again[0])
    assert len(result.pages) == again[0].pages


async def test_force_and_clean_up_make_a_known_document_anew(service: S3DocumentService) -> None:
    document = ("known.pdf", text_pdf(2, padding=4321))
    (first,) = await finished(service, document)
    (again,) = await noted(service, document)
    (forced,) = await finished(service, document, force=True)
    assert (forced.reused_from, forced.attempt, forced.state) == (None, 1, JobState.DONE)
    await service.cleanup_jobs([first])
    gone = await service.gc(delete=False)
    assert not any(again.result_key == leftover.key for leftover in gone)
    assert len((await service.fetch_document(again)).pages) == 2
    batches = await service.jobs()
    same = [job for job in batches if job.sha256 == first.sha256]
    await service.cleanup_jobs(same)
    (anew,) = await finished(service, document)
    assert (anew.reused_from, anew.state) == (None, JobState.DONE)


async def test_results_are_found_by_job_id_alone_too(service: S3DocumentService) -> None:
    """The row's record tells where they are; whoever has only ids has them looked up."""
    (again,) = await noted(service, ("ids.pdf", text_pdf(2, padding=1234)))
    pages = await service.fetch_table([again.job_id], "pages.parquet", ["page_no"])
    assert pages.column("page_no").to_pylist() == [1, 2]
    dataset = await service.dataset_of([again.job_id], "pages")
    assert await asyncio.to_thread(dataset.count_rows) == 2


async def test_a_stack_that_has_just_started_answers_before_its_workers_are_there(
    local_stack: Callable[..., LocalStack], tmp_path: Path
) -> None:
    document = ("again.pdf", text_pdf(2))
    stack = await asyncio.to_thread(local_stack, home=tmp_path, workers=1)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        (first,) = await noted(service, document)
    await asyncio.to_thread(stack.stop)
    stack = await asyncio.to_thread(local_stack, home=tmp_path, workers=0)
    async with S3DocumentService(stack.s3, stack.nats) as service:
        (again,) = await finished(service, document)
        assert again.reused_from == first.reused_from
        assert len((await service.fetch_document(again)).pages) == 2
