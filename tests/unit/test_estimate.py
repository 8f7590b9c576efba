"""What a canary tells of all documents: on simulated batches, and on in-memory ports."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats.errors import ConfigError, DocnatsError, ErrorType, SourceError, StackError
from docnats.models import JobMessage, JobRecord, JobState, WorkerInfo, utc_now
from docnats.names import RAW_PREFIX, result_key, result_part
from docnats.service import Canary, Estimate, Range, S3DocumentService
from docnats.service.canary import LEAST, choose, sample_size
from docnats.service.estimate import estimate_of
from docnats.service.sources import Source
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import overwrite
from tests.simulation import CORPORA, Corpus, Document, Simulation, found_on_the_web

SEEDS = range(12)
PARSERS = {"w0": 2}


def corpus_of(corpus: Corpus, seed: int, number: int = 1000) -> list[Document]:
    rng = random.Random(f"{corpus.__name__} {seed}")  # noqa: S311 - no secret
    return [corpus(rng) for _ in range(number)]


def processed(documents: list[Document]) -> Simulation:
    simulation = Simulation(documents)
    assert list(simulation.run(1e9)) == []
    return simulation


def estimated(documents: list[Document], sample: float = 30, seed: int = 0) -> Estimate:
    """Return the estimate from a simulated canary, whose results are 10 kB a page."""
    sizes = [one.bytes for one in documents]
    chosen = choose(sizes, sample_size(sample, len(documents), 2), seed)
    records = processed([documents[place] for place in chosen]).table.records()
    sources = [Source(str(place), size) for place, size in enumerate(sizes)]
    results = {job.job_id: 10_000 * (job.pages or 0) for job in records}
    canary: Any = SimpleNamespace(documents=sources, chosen=chosen, parsers=PARSERS)
    return estimate_of(canary, records, results, PARSERS)


def holds(told: Range, truth: float) -> bool:
    assert told.low <= told.likely <= told.high
    return told.low <= truth <= told.high


def test_the_ranges_hold_the_truth_in_nine_of_ten_cases_and_are_of_use() -> None:
    """Of 1,000 documents of four kinds of corpora, thirty are processed."""
    held: Counter[str] = Counter()
    widths = []
    for corpus in CORPORA:
        for seed in SEEDS:
            documents = corpus_of(corpus, seed)
            told = estimated(documents, seed=seed)
            pages = sum(one.pages or 0 for one in documents)
            failed = sum(one.pages is None for one in documents) / len(documents)
            held["seconds"] += holds(told.seconds, processed(documents).now)
            held["pages"] += holds(told.pages, pages)
            held["failure_rate"] += holds(told.failure_rate, failed)
            held["result_bytes"] += holds(told.result_bytes, 10_000 * pages)
            widths.append(told.seconds.high / told.seconds.low)
    assert min(held.values()) >= 0.9 * len(widths), held
    assert sorted(widths)[len(widths) // 2] < 4


def test_a_larger_sample_tells_more() -> None:
    few, many = (estimated(corpus_of(found_on_the_web, 1), sample) for sample in (30, 500))
    for name in ("seconds", "pages", "failure_rate", "result_bytes"):
        wide, narrow = getattr(few, name), getattr(many, name)
        assert narrow.high - narrow.low < wide.high - wide.low, name


def test_of_all_documents_everything_is_known() -> None:
    documents = corpus_of(found_on_the_web, 1, 20)
    told = estimated(documents)
    pages = sum(one.pages or 0 for one in documents)
    failed = sum(one.pages is None for one in documents) / 20
    assert told.complete
    assert told.pages == Range(pages, pages, pages)
    assert told.failure_rate == Range(failed, failed, failed)
    assert told.result_bytes.low == told.result_bytes.high == 10_000 * pages
    assert "all were processed" in repr(told)


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=200),
    st.integers(1, 60),
    st.integers(0, 3),
)
def test_the_choice_is_of_all_sizes_without_repeats_and_always_the_same(
    sizes: list[int], count: int, seed: int
) -> None:
    chosen = choose(sizes, count, seed)
    assert len(set(chosen)) == len(chosen) == min(count, len(sizes))
    assert chosen == choose(sizes, count, seed) == sorted(chosen)
    classes = {size.bit_length() for size in sizes}
    if count >= len(classes):
        assert {sizes[place].bit_length() for place in chosen} == classes


def test_another_seed_chooses_others() -> None:
    sizes = list(range(1000, 2000))
    assert choose(sizes, 20, 0) != choose(sizes, 20, 1)


@pytest.mark.parametrize(
    ("sample", "documents", "parsers", "expected"),
    [
        (0.01, 100_000, 2, 1000),
        (0.01, 1000, 2, LEAST),
        (0.01, 1000, 50, 150),
        (0.01, 10, 2, 10),
        (1.0, 1000, 2, 1000),
        (5, 1000, 2, 5),
        (5, 3, 2, 3),
    ],
)
def test_how_many_are_processed(sample: float, documents: int, parsers: int, expected: int) -> None:
    assert sample_size(sample, documents, parsers) == expected


@pytest.mark.parametrize("sample", [0, -0.1, 1.5, float("nan"), True, "1%", None])
def test_a_sample_that_makes_no_sense_is_refused(sample: Any) -> None:
    with pytest.raises(ConfigError, match="sample="):
        sample_size(sample, 100, 2)


async def live(bus: FakeBus) -> None:
    worker = WorkerInfo(
        worker="w0",
        host="h",
        pid=1,
        parsers=2,
        processors=("docling-parse",),
        version="1",
        started_at=utc_now(),
    )
    await bus.announce(worker)


async def settle(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage, canary: Canary, **changes: Any
) -> list[JobRecord]:
    """Let all jobs of a canary end as if a worker had done them, with 500 bytes of results."""
    await asyncio.gather(*service._sending)
    jobs = await service.jobs(canary.batch.id)
    now = utc_now()
    done = {"state": JobState.DONE, "pages": 3, "worker": "w0", "started_at": now} | changes
    ended = [job.but(finished_at=now, result_key=result_key(job.job_id), **done) for job in jobs]
    for job in ended:
        await storage.put_bytes(result_part(job.job_id, "words.parquet"), b"x" * 500)
    await overwrite(bus, ended)
    await canary.batch.follow()
    return ended


SOURCES = {f"{number}.pdf": b"%PDF" * (number + 1) for number in range(100)}


async def test_only_the_sample_is_uploaded_as_a_batch_of_its_own(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    await live(bus)
    canary = await service.canary(SOURCES, options={"password": "sesame"}, timeout=7)
    jobs = await settle(service, bus, storage, canary)
    assert len(jobs) == LEAST
    assert len([stored async for stored in storage.list(RAW_PREFIX)]) == LEAST
    assert {job.batch for job in await service.jobs()} == {canary.batch.id}
    assert canary.batch.id.startswith("canary-")
    assert {job.processing_timeout for job in jobs} == {7}
    assert bus.queue[jobs[0].batch, jobs[0].job_id].message.options == {"password": "sesame"}


async def test_what_is_told_is_of_all_documents_and_can_be_read(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    await live(bus)
    canary = await service.canary(SOURCES)
    jobs = await settle(service, bus, storage, canary)
    told = await service.judge(canary)
    assert (told.documents, told.sampled, told.workers, told.parsers) == (100, LEAST, 1, 2)
    assert told.bytes == sum(map(len, SOURCES.values()))
    assert told.pages.likely == pytest.approx(300, rel=0.1)
    assert told.result_bytes.likely == pytest.approx(50_000, rel=0.1)
    assert list(told.jobs.job_id) == [job.job_id for job in jobs]
    as_dict = told.to_dict()
    assert as_dict["pages"]["likely"] == told.pages.likely
    assert (as_dict["batch"], as_dict["complete"]) == (canary.batch.id, False)
    assert "100 documents" in repr(told)
    assert all(word in told._repr_html_() for word in ("<table>", "failures", "1 worker"))


async def test_without_a_live_worker_nothing_is_submitted(
    service: S3DocumentService, storage: FakeStorage
) -> None:
    with pytest.raises(StackError, match="docnats worker"):
        await service.estimate(SOURCES)
    assert await service.jobs() == []
    assert storage.buckets[storage.bucket] == {}


async def test_sources_that_cannot_be_used_are_told_first(service: S3DocumentService) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        await service.estimate("nowhere.pdf")


async def test_a_canary_that_has_not_ended_tells_nothing(
    service: S3DocumentService, bus: FakeBus
) -> None:
    await live(bus)
    canary = await service.canary(SOURCES)
    with pytest.raises(DocnatsError, match="has not ended"):
        await service.judge(canary)
    await asyncio.gather(*service._sending)


async def test_jobs_that_never_came_to_a_worker_tell_nothing(
    service: S3DocumentService, bus: FakeBus, storage: FakeStorage
) -> None:
    await live(bus)
    canary = await service.canary(SOURCES)
    failed = {"state": JobState.FAILED, "error_type": ErrorType.TOO_LARGE, "error": "too large"}
    await settle(service, bus, storage, canary, **failed, worker=None, started_at=None)
    with pytest.raises(DocnatsError, match="too large"):
        await service.judge(canary)


async def test_an_estimate_that_is_cancelled_cancels_its_jobs(
    service: S3DocumentService, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued, publish = asyncio.Event(), bus.publish

    async def watched(messages: Sequence[JobMessage], headers: object) -> None:
        await publish(messages)
        queued.set()

    monkeypatch.setattr(bus, "publish", watched)
    await live(bus)
    estimating = asyncio.create_task(service.estimate(SOURCES))
    async with asyncio.timeout(20):
        await queued.wait()
    estimating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await estimating
    await asyncio.gather(*service._sending)
    assert {job.state for job in await service.jobs()} == {JobState.CANCELLED}
