"""Presigned URLs that expired in the queue: who asks for fresh ones, and who signs what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from docnats.config import S3Config
from docnats.errors import StorageError
from docnats.models import JobMessage, JobRecord, JobState, JobUrls, utc_now
from docnats.names import DOCUMENT, RESULT_PARTS, raw_key, result_part
from docnats.service.signing import Signer, signed_urls
from docnats.storage import Allowlist, expired
from docnats.worker.transfer import Transfer
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakePresignedHttp, FakeStorage
from tests.job_table import write_new

OLD = "&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60"
PLACES = Allowlist(S3Config(endpoint_url="http://memory", bucket_name="documents"))

REFUSED = "http://memory/documents/raw/j.pdf?allows=nothing"


def record(**changes: Any) -> JobRecord:
    made = JobRecord(
        job_id="j",
        batch="b",
        filename="a.pdf",
        state=JobState.RUNNING,
        s3_bucket="documents",
        s3_key=raw_key("j"),
        submitted_at=utc_now(),
    )
    return made.but(**changes)


def message(urls: JobUrls) -> JobMessage:
    return JobMessage(
        request_id="j",
        batch="b",
        s3_bucket="documents",
        s3_key=raw_key("j"),
        timestamp=utc_now(),
        file_size=8,
        processing_timeout=60,
        filename="a.pdf",
        s3_url=urls.s3_url,
        result_url=urls.result_url,
        part_urls=urls.part_urls,
    )


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus(ack_wait=30)


@pytest_asyncio.fixture
async def storage() -> FakeStorage:
    storage = FakeStorage()
    await storage.ensure_bucket()
    await storage.put_bytes(raw_key("j"), b"%PDF-1.7")
    return storage


@pytest_asyncio.fixture
async def signer(bus: FakeBus, storage: FakeStorage) -> AsyncIterator[Signer]:
    """Yield a client that signs."""
    signer = Signer(bus, storage)
    running = asyncio.create_task(signer.run())
    await asyncio.sleep(0)
    yield signer
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def transfer(bus: FakeBus, storage: FakeStorage) -> Transfer:
    """Return what a worker without credentials transfers with."""
    http: Any = FakePresignedHttp(storage)
    return Transfer(None, http, bus, PLACES)


async def old_urls(storage: FakeStorage) -> JobUrls:
    urls = await signed_urls(storage, record())
    return JobUrls(
        s3_url=f"{urls.s3_url}{OLD}",
        result_url=f"{urls.result_url}{OLD}",
        part_urls={part: f"{url}{OLD}" for part, url in urls.part_urls.items()},
    )


REFUSED_URLS = JobUrls(
    s3_url=REFUSED,
    result_url=REFUSED,
    part_urls=dict.fromkeys(RESULT_PARTS[:2], REFUSED),
)


async def test_the_further_results_of_a_processor_are_signed_for_too(storage: FakeStorage) -> None:
    urls = await signed_urls(storage, record(parts=("document.md",)))
    assert set(urls.part_urls) == {*RESULT_PARTS, "document.md"} - {DOCUMENT}


def test_a_row_cannot_have_other_places_signed_for() -> None:
    bad = record().model_dump() | {"parts": ["../raw/x.pdf"]}
    with pytest.raises(ValueError, match="parts"):
        JobRecord.model_validate(bad)


@pytest.mark.usefixtures("signer")
@pytest.mark.parametrize("known", [True, False], ids=["by its date", "by the server's refusal"])
async def test_a_worker_goes_on_with_fresh_urls(
    bus: FakeBus,
    storage: FakeStorage,
    transfer: Transfer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    known: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    await write_new(bus, [record()])
    job = message(await old_urls(storage) if known else REFUSED_URLS)
    await transfer.fetch(job, tmp_path / "got.pdf")
    assert (tmp_path / "got.pdf").read_bytes() == b"%PDF-1.7"
    for part in RESULT_PARTS:
        await transfer.store(job, part, part.encode())
        assert await storage.get_bytes(result_part("j", part)) == part.encode()
    assert "fresh" in caplog.text
    assert "http://memory/" not in caplog.text, "URLs are secrets"


async def test_where_nobody_signs_it_is_a_passing_fault_that_says_what_to_do(
    storage: FakeStorage, transfer: Transfer, tmp_path: Path
) -> None:
    job = message(await old_urls(storage))
    with pytest.raises(StorageError, match="run `docnats signer`") as caught:
        await transfer.fetch(job, tmp_path / "got.pdf")
    assert caught.value.transient
    with pytest.raises(StorageError, match=rf"write {DOCUMENT}.*nobody signs"):
        await transfer.store(job, DOCUMENT, b"{}")


async def test_a_fresh_url_that_is_refused_too_is_a_passing_fault(
    bus: FakeBus, storage: FakeStorage, transfer: Transfer, tmp_path: Path
) -> None:
    async def sign_badly() -> None:
        async for request in bus.url_requests():
            await request.answer(REFUSED_URLS)

    signing = asyncio.create_task(sign_badly())
    await asyncio.sleep(0)
    with pytest.raises(StorageError, match="does not allow it") as caught:
        await transfer.fetch(message(await old_urls(storage)), tmp_path / "got.pdf")
    assert caught.value.transient
    signing.cancel()


async def test_a_fresh_url_that_leads_elsewhere_is_not_used_and_is_a_passing_fault(
    bus: FakeBus, transfer: Transfer, tmp_path: Path
) -> None:
    """Whoever may answer cannot make a worker fail its jobs."""

    async def sign_badly() -> None:
        async for request in bus.url_requests():
            await request.answer(JobUrls(s3_url="http://169.254.169.254/documents/raw/j.pdf"))

    signing = asyncio.create_task(sign_badly())
    await asyncio.sleep(0)
    with pytest.raises(StorageError, match="outside of this worker's storage") as caught:
        await transfer.fetch(message(JobUrls()), tmp_path / "got.pdf")
    assert caught.value.transient
    signing.cancel()


@pytest.mark.usefixtures("signer")
async def test_a_job_without_urls_gets_some(
    bus: FakeBus, storage: FakeStorage, transfer: Transfer, tmp_path: Path
) -> None:
    """Submitted without presign, before there were workers without credentials."""
    await write_new(bus, [record()])
    await transfer.fetch(message(JobUrls()), tmp_path / "got.pdf")
    await transfer.store(message(JobUrls()), DOCUMENT, b"{}")
    assert await storage.get_bytes(result_part("j", DOCUMENT)) == b"{}"


@pytest.mark.usefixtures("signer")
@pytest.mark.parametrize(
    ("known", "why"),
    [
        ([], "there is no such job"),
        ([record(state=JobState.CANCELLED)], "the job is cancelled"),
        ([record(s3_key="private/salaries.pdf")], "another client submitted"),
        ([record(s3_bucket="others")], "another client submitted"),
    ],
)
async def test_a_client_signs_only_for_live_jobs_and_their_own_documents(
    bus: FakeBus,
    storage: FakeStorage,
    transfer: Transfer,
    tmp_path: Path,
    known: list[JobRecord],
    why: str,
) -> None:
    await write_new(bus, known)
    urls = await bus.ask_for_urls("b", "j")
    assert urls is not None
    assert why in (urls.refused or "")
    assert (urls.s3_url, urls.result_url, urls.part_urls) == (None, None, {})
    with pytest.raises(StorageError, match=why) as caught:
        await transfer.fetch(message(await old_urls(storage)), tmp_path / "got.pdf")
    assert caught.value.transient


async def test_a_client_signs_for_documents_that_it_submitted_in_place(
    bus: FakeBus, signer: Signer
) -> None:
    job = record(s3_bucket="library", s3_key="papers/a.pdf")
    await write_new(bus, [job])
    signer.vouch_for([job])
    urls = await bus.ask_for_urls("b", "j")
    assert urls is not None
    assert urls.s3_url == "http://memory/library/papers/a.pdf?allows=GET"


async def test_documents_in_buckets_named_for_it_are_signed_for(
    bus: FakeBus, storage: FakeStorage, signer: Signer
) -> None:
    storage.readable = ("documents", "library")
    await write_new(bus, [record(s3_bucket="library", s3_key="papers/a.pdf")])
    urls = await bus.ask_for_urls("b", "j")
    assert urls is not None
    assert urls.s3_url == "http://memory/library/papers/a.pdf?allows=GET"


async def test_the_urls_of_a_job_reach_nothing_but_its_document_and_its_results(
    storage: FakeStorage,
) -> None:
    urls = await signed_urls(storage, record())
    assert urls.s3_url == f"http://memory/documents/{raw_key('j')}?allows=GET"
    assert {urls.result_url, *urls.part_urls.values()} == {
        f"http://memory/documents/{result_part('j', part)}?allows=PUT" for part in RESULT_PARTS
    }
    assert "http://memory/" not in repr(urls)


@pytest.mark.parametrize(
    ("query", "old"),
    [
        ("X-Amz-Date=20200101T000000Z&X-Amz-Expires=604800", True),
        ("X-Amz-Date=29990101T000000Z&X-Amz-Expires=1", False),
        ("AWSAccessKeyId=k&Expires=1", False),
        ("X-Amz-Date=yesterday&X-Amz-Expires=1", False),
        ("", False),
    ],
)
def test_a_url_is_too_old_only_when_it_says_so(query: str, old: bool) -> None:
    assert expired(f"https://s3.example.org/documents/raw/j.pdf?{query}") is old
