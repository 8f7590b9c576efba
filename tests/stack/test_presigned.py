"""Workers without S3 credentials: real ones, with a real signer, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from docnats.bus import NatsBus
from docnats.config import NatsConfig, ProcessingConfig, S3Config
from docnats.errors import ConfigError, ErrorType
from docnats.models import JobMessage, JobRecord, JobState, utc_now
from docnats.names import new_job_id, raw_key
from docnats.service import S3DocumentService
from docnats.storage import S3Storage
from tests.pdfs import text_pdf
from tests.roles import running, watching, without_credentials

LIMIT = 90


@contextmanager
def bare_worker(s3: S3Config, nats: NatsConfig, folder: Path) -> Iterator[None]:
    """Run a worker that has no S3 credentials and may look for none."""
    arguments = ("worker", "--no-s3-credentials", "--parsers", "1", "--grace", "1")
    with running(*arguments, s3=without_credentials(s3), nats=nats, log=folder / "worker.log"):
        yield


async def submitted(
    s3: S3Config, nats: NatsConfig, processing: ProcessingConfig
) -> tuple[str, list[JobRecord]]:
    """Send three documents and go away."""
    async with S3DocumentService(s3, nats, processing) as service:
        sources = {f"{n}.pdf": text_pdf(n) for n in (1, 2, 3)}
        batch = await service.submit(sources)
        async with aclosing(service.bus.watch(batch.id)) as entries:
            queued: dict[str, JobRecord] = {}
            async for entry in entries:
                if entry is not None and entry.record.state is JobState.QUEUED:
                    queued[entry.record.job_id] = entry.record
                if len(queued) == len(sources):
                    return batch.id, list(queued.values())
    raise AssertionError("never queued")


async def ended(nats: NatsConfig, batch: str, count: int) -> list[JobRecord]:
    """Wait, without any S3 credentials, until all jobs of a batch have ended."""
    found: dict[str, JobRecord] = {}
    async with asyncio.timeout(LIMIT), NatsBus(nats) as bus, aclosing(bus.watch(batch)) as entries:
        async for entry in entries:
            if entry is not None and entry.record.terminal:
                found[entry.record.job_id] = entry.record
            if len(found) == count:
                return list(found.values())
    raise AssertionError("never ended")


@pytest.mark.parametrize(
    "presign", [True, False], ids=["the URLs have expired", "there are no URLs"]
)
async def test_a_signer_keeps_workers_without_credentials_at_work_while_no_client_is_there(
    s3_config: S3Config, nats_config: NatsConfig, tmp_path: Path, presign: bool
) -> None:
    hasty = s3_config.but(presign_expiry=1)
    batch, _ = await submitted(hasty, nats_config, ProcessingConfig(presign=presign))
    await asyncio.sleep(1.1)  # the time that the URLs are valid
    log = tmp_path / "signer.log"
    with (
        running("signer", s3=s3_config, nats=nats_config, log=log) as signer,
        bare_worker(s3_config, nats_config, tmp_path),
    ):
        jobs = await ended(nats_config, batch, 3)
        assert [(job.state, job.error) for job in jobs] == [(JobState.DONE, None)] * 3
        signer.terminate()
        assert signer.wait(30) == 0, "SIGTERM is no fault"
    async with S3DocumentService(s3_config, nats_config) as service:
        results = [await service.fetch_document(job) for job in jobs]
        assert sorted(len(result.pages) for result in results) == [1, 2, 3]
    for text in (log.read_text(), (tmp_path / "worker.log").read_text()):
        assert jobs[0].job_id in text, "there is something to look through"
        assert "Signature" not in text
    assert "Signature" not in "".join(job.model_dump_json() for job in jobs)


async def test_presigned_urls_are_enough_for_a_worker(
    s3_config: S3Config, nats_config: NatsConfig, tmp_path: Path
) -> None:
    """Nobody signs anything later."""
    batch, _ = await submitted(s3_config, nats_config, ProcessingConfig(presign=True))
    with bare_worker(s3_config, nats_config, tmp_path):
        jobs = await ended(nats_config, batch, 3)
    assert [(job.state, job.error, job.releases) for job in jobs] == [(JobState.DONE, None, 0)] * 3
    log = (tmp_path / "worker.log").read_text()
    assert "presigned URLs only" in log
    assert "Signature" not in log


async def put_on_the_queue(s3: S3Config, nats: NatsConfig, **named: Any) -> tuple[str, str]:
    """Publish a job as somebody would who knows NATS, and return its batch and id."""
    job_id = new_job_id()
    message = {
        "request_id": job_id,
        "batch": "theirs",
        "s3_bucket": s3.bucket_name,
        "s3_key": raw_key(job_id),
        "timestamp": utc_now(),
        "file_size": 1,
        "processing_timeout": 60,
        "filename": "a.pdf",
        **named,
    }
    async with NatsBus(nats) as bus:
        await bus.ensure()
        await bus.publish([JobMessage.model_validate(message)])
    return "theirs", job_id


@pytest.mark.parametrize("own_credentials", [True, False], ids=["with keys", "without"])
async def test_a_worker_goes_nowhere_else_whatever_a_job_says(
    s3_config: S3Config, nats_config: NatsConfig, tmp_path: Path, own_credentials: bool
) -> None:
    s3 = s3_config
    async with S3Storage(s3) as storage:
        await storage.ensure_bucket()
    with watching() as inside, watching(f"{inside.url}/latest/meta-data/") as redirecting:
        elsewhere = f"{inside.url}/{s3.bucket_name}/raw/x.pdf?X-Amz-Signature=5ecr3t"
        named: list[dict[str, Any]] = [
            {"s3_url": elsewhere},
            {"s3_url": "file:///etc/passwd"},
            {"s3_url": elsewhere.replace("127.0.0.1", "localhost")},
            {"result_url": elsewhere},
            {"part_urls": {"words.parquet": elsewhere}},
            {"s3_bucket": "somebody-elses"},
        ]
        if not own_credentials:
            # That endpoint is named in the settings, but it leads on to another place.
            s3 = s3.but(presigned_endpoints=redirecting.url)
            moved = f"{redirecting.url}/{s3.bucket_name}/raw/x.pdf"
            named.append({"s3_url": moved})
        keys = [await put_on_the_queue(s3, nats_config, **each) for each in named]
        arguments = ("worker", "--parsers", "1", "--grace", "1")
        settings = s3 if own_credentials else without_credentials(s3).but(use_credentials=False)
        with running(*arguments, s3=settings, nats=nats_config, log=tmp_path / "worker.log"):
            jobs = await ended(nats_config, "theirs", len(keys))
        async with NatsBus(nats_config) as bus:
            letters = {letter.job: letter for letter in await bus.dead_letters()}
            assert await bus.queued() == set()
        assert inside.requests == []
        assert len(redirecting.requests) == (0 if own_credentials else 1)
    assert {(job.state, job.error_type) for job in jobs} == {(JobState.FAILED, ErrorType.STORAGE)}
    assert {job.attempt for job in jobs} == {1}, "at once"
    assert letters.keys() == set(keys)
    for job in jobs:
        letter = letters[job.batch, job.job_id]
        assert (letter.kind, letter.reason) == ("forbidden", job.error)
        assert "5ecr3t" not in letter.reason
    assert "5ecr3t" not in (tmp_path / "worker.log").read_text()


async def test_a_client_needs_credentials_and_says_so(s3_config: S3Config) -> None:
    bare = without_credentials(s3_config).but(use_credentials=False)
    with pytest.raises(ConfigError, match="is for workers"):
        await S3DocumentService(bare, NatsConfig()).connect()
