"""What is counted of a job's ways, on the worker and on the client."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from datetime import timedelta

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from docnats.errors import ErrorType, ParseError, StorageError
from docnats.models import JobRecord, JobState, utc_now
from docnats.parsing import RangeResult
from docnats.service import S3DocumentClient
from docnats.telemetry.metrics import ClientMetrics, Installation, WorkerMetrics
from tests.unit.test_job import DOCUMENT, JOB, ScriptedPool, World, hang, pages, raising, until
from tests.unit.test_worker import working


class Counted:
    """The samples of a registry, by name and labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"docnats_{name}", labels)


def observed(pool: ScriptedPool | None = None) -> tuple[World, Counted]:
    world = World(pool)
    metrics = WorkerMetrics("w", "1.0")
    world.observer = metrics
    return world, Counted(metrics.registry)


async def two_good_pages_and_a_bad_one() -> RangeResult:
    return pages(3, 2)


async def test_a_job_that_goes_well_is_counted_once_everywhere() -> None:
    world, counted = observed(ScriptedPool(two_good_pages_and_a_bad_one))
    await world.submit(queued_at=utc_now() - timedelta(seconds=7))
    async with working(world):
        await until(lambda: world.record.terminal and not world.queued)
    assert counted("deliveries_total") == 1
    assert counted("redeliveries_total") == 0
    assert counted("jobs_total", state="done", error_type="") == 1
    assert counted("pages_total", outcome="read") == 2
    assert counted("pages_total", outcome="failed") == 1
    assert counted("parse_seconds_count") == 1
    assert counted("s3_transfer_bytes_total", direction="download") == len(DOCUMENT)
    stored = sum(map(len, (b"pages", b"words"))) + len(
        await world.storage.get_bytes(f"processed/{JOB}/document.json")
    )
    assert counted("s3_transfer_bytes_total", direction="upload") == stored
    for direction in ("download", "upload"):
        assert counted("s3_transfer_seconds_count", direction=direction) == 1
        assert counted("s3_transfer_failures_total", direction=direction) == 0
    for waited in ("queue_wait_seconds_sum", "job_latency_seconds_sum"):
        assert 7 <= (counted(waited) or 0) < 60


def test_a_worker_that_has_ended_no_job_says_so() -> None:
    """The alert DocnatsQueueStuck compares their rate with 0; without a series it never fires."""
    counted = Counted(WorkerMetrics("w", "1.0").registry)
    assert counted("jobs_total", state="done", error_type="") == 0


async def test_a_failure_is_counted_by_its_type() -> None:
    world, counted = observed(ScriptedPool(raising(ParseError(ErrorType.ENCRYPTED, "locked"))))
    await world.submit()
    await world.work()
    assert counted("jobs_total", state="failed", error_type="encrypted") == 1
    assert counted("job_latency_seconds_count") == 1


async def test_a_transfer_that_fails_and_a_job_handed_back_are_counted() -> None:
    world, counted = observed()
    await world.submit()

    async def away(*args: object, **options: object) -> None:
        raise StorageError("503", transient=True)

    world.storage.get_file = away  # type: ignore[method-assign, assignment]
    await world.work()
    assert counted("s3_transfer_failures_total", direction="download") == 1
    assert counted("jobs_handed_back_total", reason="storage") == 1
    assert counted("jobs_total", state="failed", error_type="storage") is None


async def test_a_job_that_comes_again_is_a_redelivery_and_its_wait_counts_once() -> None:
    world, counted = observed(ScriptedPool(hang))
    await world.submit(queued_at=utc_now())
    async with working(world):
        await until(lambda: world.record.state is JobState.RUNNING)
    assert counted("jobs_handed_back_total", reason="stopped") == 1
    world.pool.act = None
    async with working(world):
        await until(lambda: world.record.terminal and not world.queued)
    assert (counted("deliveries_total"), counted("redeliveries_total")) == (2, 1)
    assert counted("queue_wait_seconds_count") == 1
    assert counted("jobs_total", state="done", error_type="") == 1


async def test_a_job_that_ended_elsewhere_is_not_counted_here() -> None:
    world, counted = observed()
    await world.submit(JobState.CANCELLED)
    await world.work()
    assert counted("jobs_total", state="cancelled", error_type="") is None


async def test_a_clock_that_is_behind_makes_no_negative_waits() -> None:
    world, counted = observed()
    await world.submit(queued_at=utc_now() + timedelta(hours=1))
    await world.work()
    assert (counted("queue_wait_seconds_sum"), counted("job_latency_seconds_sum")) == (0, 0)


def test_what_nats_did_not_tell_is_not_a_number() -> None:
    metrics = WorkerMetrics("w", "1.0")
    counted = Counted(metrics.registry)
    assert math.isnan(counted("dead_letters") or 0)
    metrics.take(Installation(3, 2, 1))
    assert counted("queue_jobs", state="waiting") == 3
    assert counted("queue_jobs", state="leased") == 2
    assert counted("dead_letters") == 1


def test_a_workers_own_figures_are_asked_for_when_shown() -> None:
    metrics = WorkerMetrics("w", "1.0")
    counted = Counted(metrics.registry)
    jobs, outage = [4], [None, 2.5]
    metrics.follow(jobs=lambda: jobs[-1], outage=lambda: outage[-1])
    assert (counted("jobs_at_work"), counted("nats_outage_seconds")) == (4, 2.5)
    jobs.append(0)
    outage.append(None)
    assert (counted("jobs_at_work"), counted("nats_outage_seconds")) == (0, 0)
    assert counted("worker_info", worker="w", version="1.0") == 1


def names(registry: CollectorRegistry) -> Iterable[str]:
    return (metric.name for metric in registry.collect())


def test_nothing_is_in_prometheus_global_registry() -> None:
    WorkerMetrics("w", "1.0")
    ClientMetrics()
    assert not [name for name in names(REGISTRY) if name.startswith("docnats")]


def test_both_forms_of_the_exposition_are_served() -> None:
    content_type, body = WorkerMetrics("w", "1.0").render("")
    assert content_type.startswith("text/plain; version=")
    assert "docnats_deliveries" in {f.name for f in text_string_to_metric_families(body.decode())}
    content_type, body = ClientMetrics().render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_a_client_counts_its_uploads_and_their_ends(client: S3DocumentClient) -> None:
    metrics = ClientMetrics()
    client.observer, counted = metrics, Counted(metrics.registry)
    client.config = client.config.but(max_file_size=100)
    sources = {"a.pdf": b"A" * 40, "b.pdf": b"B" * 2, "large.pdf": b"C" * 101}
    batch = await client.submit(sources)
    following = asyncio.create_task(batch.follow(timeout=20))
    await asyncio.gather(*client._sending)
    for entry in await client.bus.states(batch.id):
        if not entry.record.terminal:
            await client.bus.update_state(done(entry.record), entry.revision)
    await following
    await batch.follow(timeout=20)  # again: what has ended does not end twice
    assert counted("client_uploads_total", outcome="stored") == 2
    assert counted("client_uploads_total", outcome="too_large") == 1
    assert counted("client_upload_bytes_total") == 42
    assert counted("client_upload_seconds_count") == 2
    assert counted("client_upload_bytes_per_second_count") == 2
    assert counted("client_queued_jobs_total") == 2
    assert counted("client_jobs_total", state="done", error_type="") == 2
    assert counted("client_jobs_total", state="failed", error_type="too_large") == 1
    assert counted("client_job_latency_seconds_count") == 3


def done(record: JobRecord) -> JobRecord:
    return record.but(state=JobState.DONE, finished_at=utc_now())
