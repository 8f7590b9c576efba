"""The metrics of a worker and of a client, each in a Prometheus registry of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder

from docnats.models import JobRecord, JobState
from docnats.telemetry.observers import ClientObserver, WorkerObserver

__all__ = ["ClientMetrics", "Installation", "WorkerMetrics"]

SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Bounds in seconds of a transfer or a parse: pages take from 7 ms to 10 s."""

LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
"""Bounds in seconds of what includes the wait in the queue."""

SPEEDS = tuple(float(10**power * step) for power in range(4, 9) for step in (1, 2.5, 5))
"""Bounds in bytes a second, from 10 kB/s to 500 MB/s."""


class Installation(NamedTuple):
    """What NATS knows, the same for every worker.

    Attributes
    ----------
    waiting, leased : int
        Jobs on the queue that no worker has, and that workers have.
    dead_letters : int
        Messages that no worker could settle.
    """

    waiting: float
    leased: float
    dead_letters: float


UNKNOWN = Installation(math.nan, math.nan, math.nan)


class WorkerMetrics(WorkerObserver):
    """Counts what a worker is told; :meth:`render` shows it.

    Parameters
    ----------
    worker, version : str
        Who this is.
    """

    def __init__(self, worker: str, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        self._deliveries = Counter(
            "docnats_deliveries", "Job messages that this worker was given.", registry=registry
        )
        self._redeliveries = Counter(
            "docnats_redeliveries",
            "Those of them that had been given to a worker before.",
            registry=registry,
        )
        self._jobs = Counter(
            "docnats_jobs",
            "Jobs that ended on this worker.",
            ["state", "error_type"],
            registry=registry,
        )
        self._jobs.labels(JobState.DONE.value, "")  # 0, not absent, where none has ended yet
        self._handed_back = Counter(
            "docnats_jobs_handed_back",
            "Jobs that went back to the queue, to be tried again.",
            ["reason"],
            registry=registry,
        )
        self._queue_wait = Histogram(
            "docnats_queue_wait_seconds",
            "From a job on the queue to its first start.",
            buckets=LONG,
            registry=registry,
        )
        self._latency = Histogram(
            "docnats_job_latency_seconds",
            "From a document uploaded to its job ended.",
            buckets=LONG,
            registry=registry,
        )
        self._transfers = _Transfers(registry)
        self._parse = Histogram(
            "docnats_parse_seconds",
            "To parse a document, the wait for a parser included.",
            buckets=SHORT,
            registry=registry,
        )
        self._pages = Counter("docnats_pages", "Pages parsed.", ["outcome"], registry=registry)
        self._read, self._failed = self._pages.labels("read"), self._pages.labels("failed")
        self._replaced = Counter(
            "docnats_parser_restarts",
            "Parser processes that were replaced.",
            ["reason"],
            registry=registry,
        )
        self._at_work = Gauge("docnats_jobs_at_work", "Jobs in this worker.", registry=registry)
        self._parsers = Gauge("docnats_parsers", "Parser processes.", registry=registry)
        self._outage = Gauge(
            "docnats_nats_outage_seconds",
            "Since the connection to NATS was lost; 0 while there is one.",
            registry=registry,
        )
        self._queue = Gauge(
            "docnats_queue_jobs",
            "Jobs on the queue of the whole installation.",
            ["state"],
            registry=registry,
        )
        self._letters = Gauge(
            "docnats_dead_letters",
            "Messages of the whole installation that no worker could settle.",
            registry=registry,
        )
        Info("docnats_worker", "This worker.", registry=registry).info(
            {"worker": worker, "version": version}
        )
        ProcessCollector(registry=registry)
        self.take(UNKNOWN)

    def follow(self, *, jobs: Callable[[], int], outage: Callable[[], float | None]) -> None:
        """Ask for some figures whenever the metrics are shown."""
        self._at_work.set_function(jobs)
        self._outage.set_function(lambda: outage() or 0)

    def has_parsers(self, count: int) -> None:
        """Take in how many parser processes there are."""
        self._parsers.set(count)

    def take(self, installation: Installation) -> None:
        """Take in what NATS knows; NaN stands for what it did not tell."""
        self._queue.labels("waiting").set(installation.waiting)
        self._queue.labels("leased").set(installation.leased)
        self._letters.set(installation.dead_letters)

    def leased(self, attempt: int) -> None:
        """Count a delivery."""
        self._deliveries.inc()
        if attempt > 1:
            self._redeliveries.inc()

    def started(self, record: JobRecord) -> None:
        """Count the wait of a job that was never begun before."""
        if record.attempt == 1 and record.queued_at and record.started_at:
            waited = (record.started_at - record.queued_at).total_seconds()
            self._queue_wait.observe(max(0, waited))

    def downloaded(self, seconds: float, size: int) -> None:
        """Count a document that came from storage."""
        self._transfers.done("download", seconds, size)

    def uploaded(self, seconds: float, sizes: Iterable[int]) -> None:
        """Count results that went to storage."""
        self._transfers.done("upload", seconds, sum(sizes))

    def transfer_failed(self, direction: str) -> None:
        """Count a transfer that failed."""
        self._transfers.failures.labels(direction).inc()

    def parsed(self, seconds: float, pages: int, pages_failed: int) -> None:
        """Count a document and its pages."""
        self._parse.observe(seconds)
        self._read.inc(pages - pages_failed)
        self._failed.inc(pages_failed)

    def ended(self, record: JobRecord) -> None:
        """Count a job, and how long it took."""
        self._jobs.labels(record.state.value, record.error_type or "").inc()
        if record.finished_at and (since := record.queued_at or record.submitted_at):
            self._latency.observe(max(0, (record.finished_at - since).total_seconds()))

    def handed_back(self, reason: str) -> None:
        """Count a job that goes back to the queue."""
        self._handed_back.labels(reason).inc()

    def parser_replaced(self, reason: str) -> None:
        """Count a parser process."""
        self._replaced.labels(reason).inc()

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return the metrics and their content type, as an ``Accept`` header asks for them."""
        return _render(self.registry, accept)


class ClientMetrics(ClientObserver):
    """Counts what a client is told; :meth:`render` shows it."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._uploads = Counter(
            "docnats_client_uploads",
            "Documents that were to be uploaded.",
            ["outcome"],
            registry=registry,
        )
        self._stored = self._uploads.labels("stored")
        self._bytes = Counter(
            "docnats_client_upload_bytes", "Bytes of uploaded documents.", registry=registry
        )
        self._seconds = Histogram(
            "docnats_client_upload_seconds",
            "To upload a document, waits for a server included.",
            buckets=SHORT,
            registry=registry,
        )
        self._speed = Histogram(
            "docnats_client_upload_bytes_per_second",
            "Speed of single uploads; several go on at a time.",
            buckets=SPEEDS,
            registry=registry,
        )
        self._queued = Counter(
            "docnats_client_queued_jobs", "Jobs put on the queue.", registry=registry
        )
        self._reused = Counter(
            "docnats_client_reused_results",
            "Documents answered from earlier results.",
            registry=registry,
        )
        self._jobs = Counter(
            "docnats_client_jobs",
            "Jobs of this client that ended while it followed them.",
            ["state", "error_type"],
            registry=registry,
        )
        self._latency = Histogram(
            "docnats_client_job_latency_seconds",
            "From a document submitted to its job ended.",
            buckets=LONG,
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def uploaded(self, seconds: float, size: int) -> None:
        """Count a document that is stored."""
        self._stored.inc()
        self._bytes.inc(size)
        self._seconds.observe(seconds)
        self._speed.observe(size / max(seconds, 1e-6))

    def upload_failed(self, error_type: str) -> None:
        """Count a document that is not."""
        self._uploads.labels(error_type).inc()

    def queued(self, jobs: int) -> None:
        """Count jobs that are on the queue."""
        self._queued.inc(jobs)

    def reused(self, jobs: int) -> None:
        """Count documents whose results were known."""
        self._reused.inc(jobs)

    def ended(self, record: JobRecord) -> None:
        """Count a job, and how long it took."""
        self._jobs.labels(record.state.value, record.error_type or "").inc()
        if record.finished_at:
            took = (record.finished_at - record.submitted_at).total_seconds()
            self._latency.observe(max(0, took))

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return the metrics and their content type, as an ``Accept`` header asks for them."""
        return _render(self.registry, accept)


class _Transfers:
    """Documents from storage, results to it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        seconds = Histogram(
            "docnats_s3_transfer_seconds",
            "To get a document, or to put all results of one.",
            ["direction"],
            buckets=SHORT,
            registry=registry,
        )
        moved = Counter(
            "docnats_s3_transfer_bytes",
            "Bytes of documents and results.",
            ["direction"],
            registry=registry,
        )
        self.failures = Counter(
            "docnats_s3_transfer_failures",
            "Documents not got, results not put.",
            ["direction"],
            registry=registry,
        )
        directions = ("download", "upload")
        self._seconds = {direction: seconds.labels(direction) for direction in directions}
        self._bytes = {direction: moved.labels(direction) for direction in directions}
        for direction in directions:
            self.failures.labels(direction)

    def done(self, direction: str, seconds: float, size: int) -> None:
        self._seconds[direction].observe(seconds)
        self._bytes[direction].inc(size)


def _render(registry: CollectorRegistry, accept: str) -> tuple[str, bytes]:
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)
