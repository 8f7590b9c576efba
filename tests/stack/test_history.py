"""What ran before, seen by another client; datasets over the results; many jobs at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from docnats.config import NatsConfig
from docnats.errors import ConfigError, SourceError, TableError
from docnats.models import JobRecord, JobState, utc_now
from docnats.names import new_job_id, raw_key
from docnats.service import S3DocumentService, key_of
from docnats.stack import LocalStack
from tests.job_table import write_new
from tests.pdfs import HTML_PAGE, text_pdf
from tests.ports.test_bus import counted


async def processed(service: S3DocumentService, **documents: bytes) -> list[JobRecord]:
    batch = await service.submit({f"{name}.pdf": data for name, data in documents.items()})
    return (await batch.follow(timeout=120)).records()


async def test_jobs_are_found_by_time_and_by_state(service: S3DocumentService) -> None:
    before = utc_now()
    good, bad = await processed(service, good=text_pdf(), bad=HTML_PAGE)
    assert await service.jobs(since=before) == [good, bad]
    assert await service.jobs(since=before, state="failed") == [bad]
    assert await service.jobs(
        since=timedelta(hours=1), state=[JobState.DONE], batch=good.batch
    ) == [good]
    assert await service.jobs(since=datetime.now(UTC).replace(tzinfo=None)) == []
    with pytest.raises(ConfigError, match="uploading, queued, running, done, failed, cancelled"):
        await service.jobs(state="finished")
    with pytest.raises(ConfigError, match="timedelta"):
        await service.jobs(since="yesterday")  # type: ignore[arg-type]


async def test_a_summary_tells_of_each_batch_the_newest_first(service: S3DocumentService) -> None:
    good, _ = await processed(service, good=text_pdf(2), bad=HTML_PAGE)
    later = await processed(service, later=text_pdf())
    newest, second = (await service.batches())[:2]
    assert (newest.batch, newest.jobs) == (later[0].batch, 1)
    assert (second.batch, second.jobs, second.pages) == (good.batch, 2, 2)
    assert second.counts[JobState.DONE] == second.counts[JobState.FAILED] == 1
    assert second.counts[JobState.RUNNING] == 0
    assert second.finished_at is not None
    assert second.submitted_at < second.finished_at < newest.submitted_at


async def test_another_client_attaches_while_the_batch_runs(
    service: S3DocumentService, stack: LocalStack
) -> None:
    batch = await service.submit({f"{i}.pdf": text_pdf(200) for i in range(6)})
    async with S3DocumentService(stack.s3, stack.nats) as other:
        attached = await other.attach(batch.id)
        assert attached.table.filenames() == [f"{i}.pdf" for i in range(6)]
        summary = next(s for s in await other.batches() if s.batch == batch.id)
        assert summary.finished_at is None
        table = await attached.follow(timeout=120)
    assert [job.state for job in table.records()] == [JobState.DONE] * 6
    with pytest.raises(ConfigError, match="no such batch"):
        await service.attach("never")


async def test_a_selection_follows_some_jobs_of_several_batches(
    service: S3DocumentService,
) -> None:
    first = await service.submit({f"{i}.pdf": text_pdf() for i in range(3)})
    second = await service.submit({"x.pdf": text_pdf()})
    wanted = [key_of(second.table.records()[0]), key_of(first.table.records()[1])]
    selection = await service.select([*wanted, *wanted])
    assert selection.id == "2 jobs of 2 batches"
    table = await selection.follow(timeout=120)
    assert {key_of(job) for job in table.records()} == set(wanted)
    assert {job.state for job in table.records()} == {JobState.DONE}
    with pytest.raises(TableError, match="knows no job nowhere of batch"):
        await service.select([(first.id, "nowhere")])
    with pytest.raises(ConfigError, match="empty"):
        await service.select([])


async def test_a_retry_reads_the_same_object_and_keeps_name_and_order(
    service: S3DocumentService,
) -> None:
    jobs = await processed(service, a=HTML_PAGE, good=text_pdf(), b=HTML_PAGE + b"2")
    batch = await service.retry(jobs[::-1], timeout=50)
    again = (await batch.follow(timeout=60)).records()
    assert [job.filename for job in again] == ["b.pdf", "a.pdf"]
    assert [job.s3_key for job in again] == [jobs[2].s3_key, jobs[0].s3_key]
    assert {job.state for job in again} == {JobState.FAILED}
    assert {job.processing_timeout for job in again} == {50}
    assert await service.jobs(jobs[0].batch) == jobs
    with pytest.raises(SourceError, match="nothing to retry"):
        await service.retry([jobs[1]])
    forced = await (await service.retry([jobs[1]], force=True)).follow(timeout=60)
    assert [(job.state, job.sha256) for job in forced.records()] == [
        (JobState.DONE, jobs[1].sha256)
    ]
    assert await service.cleanup_jobs([*jobs, *again]) == 5
    with pytest.raises(SourceError, match=r"no retry of a\.pdf, b\.pdf"):
        await service.retry(jobs)


async def test_a_document_in_place_is_retried_as_it_is_then(service: S3DocumentService) -> None:
    """Its owner may have repaired it; it is not docnats' to compare."""
    await service.storage.put_bytes("theirs/a.pdf", HTML_PAGE)
    uri = f"s3://{service.storage.bucket}/theirs/a.pdf"
    (failed,) = (await (await service.submit(uri)).follow(timeout=60)).records()
    assert failed.state is JobState.FAILED
    await service.storage.put_bytes("theirs/a.pdf", text_pdf())
    (done,) = (await (await service.retry([failed])).follow(timeout=60)).records()
    assert (done.state, done.filename) == (JobState.DONE, uri)
    await service.cleanup_jobs([failed, done])
    assert await service.storage.get_bytes("theirs/a.pdf") == text_pdf()


@pytest.mark.parametrize("part", ["words", "pages"])
async def test_a_dataset_reads_the_results_piece_by_piece(
    service: S3DocumentService, part: str
) -> None:
    import pyarrow.dataset as ds

    one, two, _ = await processed(service, one=text_pdf(), two=text_pdf(2), bad=HTML_PAGE)
    dataset = await service.dataset(one.batch, part)  # type: ignore[arg-type]
    table = await service.fetch_table([one.job_id, two.job_id], f"{part}.parquet")
    assert dataset.schema.names == table.schema.names
    assert await asyncio.to_thread(dataset.count_rows) == len(table)
    only = await asyncio.to_thread(
        dataset.to_table, columns=["job_id", "page_no"], filter=ds.field("job_id") == two.job_id
    )
    assert set(only["job_id"].to_pylist()) == {two.job_id}
    assert set(only["page_no"].to_pylist()) == {1, 2}
    narrow = await service.dataset(one.batch, part, ["text"])  # type: ignore[arg-type]
    assert narrow.schema.names == ["job_id", "text"]
    assert (await asyncio.to_thread(narrow.to_table))["text"].to_pylist() == table[
        "text"
    ].to_pylist()


async def test_a_dataset_of_nothing_has_the_columns_all_the_same(
    service: S3DocumentService,
) -> None:
    (bad,) = await processed(service, bad=HTML_PAGE)
    (good,) = await processed(service, good=text_pdf())
    empty, full = await service.dataset(bad.batch), await service.dataset(good.batch)
    assert empty.schema.equals(full.schema)
    assert await asyncio.to_thread(empty.count_rows) == 0
    with pytest.raises(ConfigError, match="no such batch"):
        await service.dataset("never")
    with pytest.raises(ConfigError, match="words, pages"):
        await service.dataset(good.batch, "letters")  # type: ignore[arg-type]
    with pytest.raises(TableError, match="words has no column 'fonts'"):
        await service.dataset(good.batch, columns=["fonts"])


async def test_ten_thousand_queued_jobs_are_cancelled_together(
    service: S3DocumentService, stack: LocalStack, nats_config: NatsConfig
) -> None:
    """All of a batch, or every other job of it; nobody works on them here."""
    async with S3DocumentService(stack.s3, stack.nats.but(namespace="cancelling")) as alone:
        for step, left in ((1, 0), (2, 5000)):
            jobs = await queued(alone, f"many-{step}-{utc_now():%H%M%S%f}", 10_000)
            await counted(alone.bus, 10_000)
            assert await alone.cancel(jobs[::step]) == 10_000 // step
            assert await alone.bus.backlog() == (left, 0)
            states = [job.state for job in await alone.jobs(jobs[0].batch)]
            assert states.count(JobState.QUEUED) == left
            assert await alone.cancel(jobs[::step]) == 0
            await alone.cancel(jobs)


async def queued(service: S3DocumentService, batch: str, count: int) -> list[JobRecord]:
    """Put jobs on the queue of a namespace without workers."""
    now = utc_now()
    jobs = [
        JobRecord(
            job_id=job_id,
            batch=batch,
            position=position,
            filename=f"{position}.pdf",
            state=JobState.QUEUED,
            s3_bucket=service.storage.bucket,
            s3_key=raw_key(job_id),
            submitted_at=now,
        )
        for position, job_id in enumerate(new_job_id() for _ in range(count))
    ]
    await write_new(service.bus, jobs)
    await service.bus.publish(job.message() for job in jobs)
    return jobs
