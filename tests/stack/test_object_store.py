"""Without S3: documents and results in the NATS Object Store, on nats-server alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import nats
import pandas as pd
import pytest

import docnats
from docnats.config import ProcessingConfig
from docnats.errors import ConfigError, ErrorType, ObjectMissing, StackError
from docnats.models import JobMessage, JobState, utc_now
from docnats.names import kept_in_nats, new_job_id, raw_key, result_key
from docnats.notebook.session import current_session
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from docnats.stack.environment import nats_variables
from tests.pdfs import HTML_PAGE, text_pdf

IN_NATS = ProcessingConfig(use_s3_storage=False)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_READ_BUCKETS", "papers")
        with LocalStack(workers=1, parsers=2, use_s3=False, embedded=True) as stack:
            yield stack


@pytest.fixture
async def service(stack: LocalStack) -> AsyncIterator[S3DocumentService]:
    async with S3DocumentService(None, stack.nats, IN_NATS) as service:
        yield service


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "docnats", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_only_nats_server_and_a_worker_run(stack: LocalStack) -> None:
    assert [process.name for process in stack.processes()] == ["nats", "worker-1"]
    assert stack.environment["USE_S3_STORAGE"] == "false"
    assert not {name for name in stack.environment if name.startswith(("S3_", "AWS_"))}
    assert not (stack.home / "s3" / "data").exists()
    with pytest.raises(StackError, match="no S3"):
        _ = stack.s3


async def test_a_batch_runs_and_everything_is_read(service: S3DocumentService) -> None:
    sources = {"two.pdf": text_pdf(2), "page.pdf": HTML_PAGE, "one.pdf": text_pdf(1)}
    batch = await service.submit(sources, force=True)
    two, bad, one = (await batch.follow(timeout=120)).records()
    assert [job.state for job in (two, bad, one)] == ["done", "failed", "done"]
    assert kept_in_nats(two.s3_bucket)
    assert len((await service.fetch_document(two)).pages) == 2
    assert await service.fetch_source(one) == sources["one.pdf"]
    words = await service.fetch_table([two.job_id, one.job_id], "words.parquet")
    dataset = await service.dataset(batch.id)
    assert dataset.count_rows() == len(words) > 0
    assert dataset.to_table().column("text").to_pylist() == words.column("text").to_pylist()
    retried = await service.retry([bad, one], force=True)
    again = (await retried.follow(timeout=120)).records()
    assert [job.state for job in again] == [JobState.FAILED, JobState.DONE]
    assert (await service.estimate(sources, sample=2)).documents == 3
    assert await service.gc(older_than=timedelta(0)) == []
    await service.archive(batch.id)
    assert (await service.verify(batch.id)).intact
    assert await service.cleanup_jobs([two]) == 1
    with pytest.raises(ObjectMissing, match="cleaned up"):
        await service.fetch_document(two)
    assert not (await service.verify(batch.id)).intact


async def test_leftovers_are_found_and_deleted(service: S3DocumentService) -> None:
    batch = await service.submit({"a.pdf": text_pdf()}, force=True)  # so that the bucket is ours
    await batch.follow(timeout=120)
    lost = new_job_id()
    await service.storage.put_bytes(raw_key(lost), b"x")
    await service.storage.put_bytes(f"{result_key(lost)}words.parquet", b"y")
    found = await service.gc(delete=True, older_than=timedelta(0))
    assert {one.key for one in found} == {raw_key(lost), result_key(lost)}
    assert await service.gc(older_than=timedelta(0)) == []


async def test_known_documents_are_answered(service: S3DocumentService) -> None:
    reusing = service.using(IN_NATS.but(reuse_results=True))
    document = {"a.pdf": text_pdf(3)}
    first = await reusing.submit(document, force=True)
    (job,) = (await first.follow(timeout=120)).records()
    for _ in range(100):  # the worker notes results a moment after they are done
        second = await reusing.submit(document)
        (answered,) = (await second.follow(timeout=120)).records()
        if answered.reused_from:
            break
    assert answered.result_key == job.result_key
    assert len((await service.fetch_document(answered)).pages) == 3


async def test_a_job_whose_document_is_in_s3_is_refused_with_the_reason(
    service: S3DocumentService,
) -> None:
    job_id = new_job_id()
    message = JobMessage(
        request_id=job_id,
        batch="from-s3",
        s3_bucket="documents",
        s3_key=raw_key(job_id),
        timestamp=utc_now(),
        file_size=4,
        processing_timeout=60,
        filename="a.pdf",
    )
    await service.bus.publish([message])
    batch = None
    while batch is None:
        try:
            batch = await service.attach("from-s3")
        except ConfigError:  # no worker has begun it
            await service.bus.round_trip()
    (job,) = (await batch.follow(timeout=120)).records()
    assert (job.state, job.error_type) == (JobState.FAILED, ErrorType.STORAGE)
    assert "USE_S3_STORAGE" in (job.error or "")


async def test_documents_in_another_bucket_of_the_object_store_are_processed_in_place(
    service: S3DocumentService, stack: LocalStack
) -> None:
    client = await nats.connect(nats_variables(stack.nats)["NATS_URL"])
    theirs = await client.jetstream().create_object_store("papers")
    await theirs.put("2026/a.pdf", text_pdf(2))
    await client.close()
    batch = await service.submit("s3://papers/2026/")
    (job,) = (await batch.follow(timeout=120)).records()
    assert (job.state, job.s3_bucket, job.pages) == (JobState.DONE, "papers", 2)


async def test_health_uses_the_object_store(service: S3DocumentService) -> None:
    health = await service.health_check(wait=30)
    assert health.healthy, health
    assert [part.name for part in health.parts] == ["objects", "nats", "workers"]


def test_a_notebook_needs_nothing_else(on_the_stack: None, stack: LocalStack) -> None:
    jobs = docnats.submit_many({"a.pdf": text_pdf(2)}, force=True, progress="none")
    assert list(jobs.state) == ["done"]
    assert len(jobs.docnats.pages()) == 2
    assert len(jobs.docnats.dataset("pages").to_table()) == 2
    assert jobs.docnats.show().page == 1
    assert docnats.health().healthy
    assert isinstance(docnats.gc(), pd.DataFrame)
    assert current_session().stack is None
    with pytest.raises(ConfigError, match="USE_S3_STORAGE"):
        docnats.configure_s3_storage("http://127.0.0.1:9")
    assert jobs.docnats.cleanup() == 1
    shown = run("health", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["parts"][0]["name"] == "objects"


async def test_create_document_service_chooses(on_the_stack: None, stack: LocalStack) -> None:
    async with docnats.create_document_service(use_s3=False) as service:
        assert await _processed(service) == 1
    with pytest.raises(ConfigError, match="another storage"):
        current_session().service().using(ProcessingConfig(use_s3_storage=True))


async def _processed(service: S3DocumentService) -> int:
    batch = await service.submit({"a.pdf": text_pdf()}, force=True)
    return (await batch.follow(timeout=120)).progress().counts[JobState.DONE]


def test_the_demo_starts_no_s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_STORAGE", "false")
    monkeypatch.setenv("DOCNATS_HOME", str(tmp_path / "home"))
    done = run("demo")
    assert done.returncode == 0, done.stderr
    assert "docnats_default_objects" in done.stdout
    assert not list((tmp_path / "home" / "logs").glob("s3*"))


def test_a_stack_is_shared_only_by_those_who_keep_documents_in_the_same_place(
    tmp_path: Path, local_stack: Callable[..., LocalStack]
) -> None:
    first = local_stack(home=tmp_path / "home", workers=0, use_s3=False, embedded=True)
    second = local_stack(home=tmp_path / "home", workers=0, use_s3=False, embedded=True)
    assert second.nats == first.nats
    with pytest.raises(StackError, match="USE_S3_STORAGE"):
        local_stack(home=tmp_path / "home", workers=0, use_s3=True, embedded=True)


async def test_a_batch_survives_the_death_of_nats_server(
    local_stack: Callable[..., LocalStack],
) -> None:
    stack = local_stack(workers=1, parsers=2, use_s3=False, embedded=True)
    async with S3DocumentService(None, stack.nats, IN_NATS) as service:
        batch = await service.submit({f"{n}.pdf": text_pdf(20) for n in range(30)})
        killed = False

        def kill(progress: object) -> None:
            nonlocal killed
            if not killed and batch.table.ended >= 3:
                killed = True
                stack.kill("nats", signal.SIGKILL)

        table = await batch.follow(kill, timeout=150)
        assert killed
        jobs = table.records()
        assert [job.state for job in jobs] == [JobState.DONE] * 30
        pages = await service.fetch_table([job.job_id for job in jobs], "pages.parquet")
        assert len(pages) == 600
