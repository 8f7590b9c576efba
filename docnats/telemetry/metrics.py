"""The metrics of a worker and of a client, each in a Prometheus registry of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any, Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase

from docnats.models import JobRecord, JobState
from docnats.telemetry.observers import ClientObserver, WorkerObserver

__all__ = ["UNKNOWN", "ClientMetrics", "Installation", "WorkerMetrics"]

M = TypeVar("M", bound=MetricWrapperBase)

SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Bounds in seconds of a transfer or a parse: pages take from 7 ms to 10 s."""

LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
"""Bounds in seconds of what includes the wait in the queue."""

SPEEDS = tuple(float(10**power * step) for power in range(4, 9) for step in (1, 2.5, 5))
"""Bounds in bytes a second, from 10 kB/s to 500 MB/s."""


DIRECTIONS = ("download", "upload")


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


class _Metric(Generic[M]):
    """A metric that a class declares; each of its instances has one of its own.

    Parameters
    ----------
    buckets : sequence of float
        Bounds of a histogram.
    labels : sequence of str
        By label, the values that are shown before anything is counted.
    """

    def __init__(
        self,
        kind: type[M],
        name: str,
        told: str,
        buckets: Sequence[float] = (),
        **labels: Sequence[str],
    ) -> None:
        bounds: dict[str, Any] = {"buckets": buckets} if buckets else {}
        self._make = partial(kind, name, told, tuple(labels), **bounds)
        self._shown = tuple(product(*labels.values())) if labels else ()

    def make(self, registry: CollectorRegistry) -> M:
        metric = self._make(registry=registry)
        for values in self._shown:
            metric.labels(*values)
        return metric

    def __get__(self, instance: _Metrics, owner: type) -> M:
        metric: M = instance.made[self]
        return metric


_counter = partial(_Metric[Counter], Counter)
_gauge = partial(_Metric[Gauge], Gauge)
_histogram = partial(_Metric[Histogram], Histogram)


class _Metrics:
    """What its class declares, and what the process uses of the machine, in a registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        declared = [one for one in vars(type(self)).values() if isinstance(one, _Metric)]
        self.made: dict[_Metric[Any], Any] = {one: one.make(self.registry) for one in declared}
        ProcessCollector(registry=self.registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return the metrics and their content type, as an ``Accept`` header asks for them."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)


class WorkerMetrics(_Metrics, WorkerObserver):
    """Counts what a worker is told; :meth:`render` shows it.

    Parameters
    ----------
    worker, version : str
        Who this is.
    """

    _deliveries = _counter("docnats_deliveries", "Job messages that this worker was given.")
    _redeliveries = _counter(
        "docnats_redeliveries", "Those of them that had been given to a worker before."
    )
    _jobs = _counter(
        "docnats_jobs",
        "Jobs that ended on this worker.",
        state=(JobState.DONE.value,),
        error_type=("",),
    )
    _handed_back = _counter(
        "docnats_jobs_handed_back",
        "Jobs that went back to the queue, to be tried again.",
        reason=(),
    )
    _queue_wait = _histogram(
        "docnats_queue_wait_seconds", "From a job on the queue to its first start.", LONG
    )
    _latency = _histogram(
        "docnats_job_latency_seconds", "From a document uploaded to its job ended.", LONG
    )
    _transfer_seconds = _histogram(
        "docnats_s3_transfer_seconds",
        "To get a document, or to put all results of one.",
        SHORT,
        direction=DIRECTIONS,
    )
    _transfer_bytes = _counter(
        "docnats_s3_transfer_bytes", "Bytes of documents and results.", direction=DIRECTIONS
    )
    _transfer_failures = _counter(
        "docnats_s3_transfer_failures", "Documents not got, results not put.", direction=DIRECTIONS
    )
    _parse = _histogram(
        "docnats_parse_seconds", "To parse a document, the wait for a parser included.", SHORT
    )
    _pages = _counter("docnats_pages", "Pages parsed.", outcome=("read", "failed"))
    _replaced = _counter(
        "docnats_parser_restarts", "Parser processes that were replaced.", reason=()
    )
    _at_work = _gauge("docnats_jobs_at_work", "Jobs in this worker.")
    _parsers = _gauge("docnats_parsers", "Parser processes.")
    _outage = _gauge(
        "docnats_nats_outage_seconds",
        "Since the connection to NATS was lost; 0 while there is one.",
    )
    _queue = _gauge(
        "docnats_queue_jobs",
        "Jobs on the queue of the whole installation.",
        state=("waiting", "leased"),
    )
    _letters = _gauge(
        "docnats_dead_letters", "Messages of the whole installation that no worker could settle."
    )

    def __init__(self, worker: str, version: str) -> None:
        super().__init__()
        this = Info("docnats_worker", "This worker.", registry=self.registry)
        this.info({"worker": worker, "version": version})
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
        self._transferred("download", seconds, size)

    def uploaded(self, seconds: float, sizes: Iterable[int]) -> None:
        """Count results that went to storage."""
        self._transferred("upload", seconds, sum(sizes))

    def _transferred(self, direction: str, seconds: float, size: int) -> None:
        self._transfer_seconds.labels(direction).observe(seconds)
        self._transfer_bytes.labels(direction).inc(size)

    def transfer_failed(self, direction: str) -> None:
        """Count a transfer that failed."""
        self._transfer_failures.labels(direction).inc()

    def parsed(self, seconds: float, pages: int, pages_failed: int) -> None:
        """Count a document and its pages."""
        self._parse.observe(seconds)
        self._pages.labels("read").inc(pages - pages_failed)
        self._pages.labels("failed").inc(pages_failed)

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


class ClientMetrics(_Metrics, ClientObserver):
    """Counts what a client is told; :meth:`render` shows it."""

    _uploads = _counter(
        "docnats_client_uploads", "Documents that were to be uploaded.", outcome=("stored",)
    )
    _bytes = _counter("docnats_client_upload_bytes", "Bytes of uploaded documents.")
    _seconds = _histogram(
        "docnats_client_upload_seconds",
        "To upload a document, waits for a server included.",
        SHORT,
    )
    _speed = _histogram(
        "docnats_client_upload_bytes_per_second",
        "Speed of single uploads; several go on at a time.",
        SPEEDS,
    )
    _queued = _counter("docnats_client_queued_jobs", "Jobs put on the queue.")
    _reused = _counter("docnats_client_reused_results", "Documents answered from earlier results.")
    _jobs = _counter(
        "docnats_client_jobs",
        "Jobs of this client that ended while it followed them.",
        state=(),
        error_type=(),
    )
    _latency = _histogram(
        "docnats_client_job_latency_seconds", "From a document submitted to its job ended.", LONG
    )

    def uploaded(self, seconds: float, size: int) -> None:
        """Count a document that is stored."""
        self._uploads.labels("stored").inc()
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
