"""Metrics, health, traces and logs of a real worker, and of the client that keeps it busy."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import not_
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

import docnats
from docnats.config import ProcessingConfig
from docnats.errors import ConfigError
from docnats.models import JobRecord, JobState
from docnats.notebook import close_session
from docnats.service import S3DocumentService
from docnats.stack import WORKER_COMMAND, LocalStack
from tests import web
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import HTML_PAGE, text_pdf
from tests.waiting import eventually, until

Samples = dict[str, float]

PASSWORD = "open-sesame-3f8a"  # noqa: S105 - of a test's own file
OF_A_KILLED_ONE = re.compile(r"\S+/multiprocessing/resource_tracker\.py:|  warnings\.warn\(")
"""What Python's resource tracker, a process of its own, writes when its worker was killed."""

LONG = 1500
"""Pages; some seconds of work, so that a kill finds the job running."""


class Collector:
    """A collector of traces that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[Collector]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        thread.join()

    def spans(self, trace_id: int) -> dict[str, tuple[str, Any]]:
        """Return the spans of a trace by name, each with the service that it comes from."""
        return {
            span.name: (attribute.value.string_value, span)
            for request in tuple(self.requests)
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
            for scope in resource.scope_spans
            for span in scope.spans
            if int.from_bytes(span.trace_id) == trace_id
        }


class Monitored:
    """A stack whose worker serves metrics, sends traces, and logs everything as JSON."""

    def __init__(self, stack: LocalStack, collector: Collector) -> None:
        self.stack = stack
        self.collector = collector

    @property
    def worker(self) -> psutil.Process:
        (process,) = (p for p in self.stack.processes() if p.name == "worker-1")
        return psutil.Process(process.pid)

    @property
    def log(self) -> str:
        (process,) = (p for p in self.stack.processes() if p.name == "worker-1")
        return Path(process.log).read_text()

    @property
    def url(self) -> str:
        """Where the worker that was started last listens."""
        return self.urls[-1]

    @property
    def urls(self) -> list[str]:
        """Where workers said that they listen, one after the other."""
        return re.findall(r"/metrics, /healthz, /readyz at (http://[\d.:]+)", self.log)

    def scrape(self) -> Samples:
        return samples(f"{self.url}/metrics")


def samples(url: str) -> Samples:
    """Return what is served, by names and sorted labels as Prometheus shows them."""
    status, body = web.get(url)
    assert status == 200
    found: Samples = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()) if v)
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture(scope="module")
def monitored() -> Iterator[Monitored]:
    collector = Collector()
    variables = {
        "DOCNATS_LOG_FORMAT": "json",
        "DEBUG": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with pytest.MonkeyPatch.context() as patch, collector.running():
        patch.setenv("DOCNATS_ACK_WAIT", "2")
        stack = LocalStack(
            workers=1,
            parsers=1,
            embedded=True,
            worker_command=(*WORKER_COMMAND, "--metrics-port", "0"),
            worker_environment=variables,
        )
        with stack:
            monitored = Monitored(stack, collector)
            eventually(lambda: monitored.urls, what="an address in the worker's log")
            yield monitored


@pytest_asyncio.fixture
async def service(monitored: Monitored) -> AsyncIterator[S3DocumentService]:
    async with S3DocumentService(monitored.stack.s3, monitored.stack.nats) as service:
        assert (await service.health_check(wait=30)).healthy
        yield service


async def finished(service: S3DocumentService, sources: object, **options: Any) -> list[JobRecord]:
    batch = await service.submit(sources, **options)  # type: ignore[arg-type]
    return (await batch.follow(timeout=120)).records()


async def test_a_batch_with_known_failures_is_counted(
    monitored: Monitored, service: S3DocumentService
) -> None:
    before = monitored.scrape()
    sources = {
        "one.pdf": text_pdf(1),
        "three.pdf": text_pdf(3),
        "locked.pdf": encrypted_pdf("sesame"),
        "page.pdf": HTML_PAGE,
        "other-page.pdf": HTML_PAGE + b"\n",
        "bombs.pdf": text_pdf(4, bombs={2}),
    }
    jobs = await finished(service, sources)
    await until(service.bus.queued, not_, within=30)  # acks come after the states
    after = monitored.scrape()
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    assert grown["docnats_deliveries_total"] == len(sources)
    assert grown["docnats_redeliveries_total"] == 0
    assert grown['docnats_jobs_total{state="done"}'] == 3
    assert grown['docnats_jobs_total{error_type="encrypted",state="failed"}'] == 1
    assert grown['docnats_jobs_total{error_type="not_a_pdf",state="failed"}'] == 2
    assert grown['docnats_pages_total{outcome="read"}'] == 1 + 3 + 3
    assert grown['docnats_pages_total{outcome="failed"}'] == 1
    assert grown["docnats_parse_seconds_count"] == 3
    assert grown['docnats_parser_restarts_total{reason="died"}'] >= 1
    assert grown['docnats_s3_transfer_bytes_total{direction="download"}'] == sum(
        map(len, sources.values())
    )
    assert grown['docnats_s3_transfer_seconds_count{direction="upload"}'] == 3
    assert grown["docnats_queue_wait_seconds_count"] == len(sources)
    took = [(j.finished_at - j.queued_at).total_seconds() for j in jobs if j.finished_at]  # type: ignore[operator]
    assert grown["docnats_job_latency_seconds_sum"] == pytest.approx(sum(took), abs=0.5)
    assert after["docnats_jobs_at_work"] == 0
    assert after["docnats_dead_letters"] == 0
    assert after["docnats_parsers"] == 1
    assert after["process_resident_memory_bytes"] > 0


async def test_a_job_whose_worker_was_killed_is_counted_as_delivered_again(
    monitored: Monitored, service: S3DocumentService
) -> None:
    batch = await service.submit(("long.pdf", text_pdf(LONG, lines=20)))
    async with asyncio.timeout(60), aclosing(service.bus.watch(batch.id)) as entries:
        async for entry in entries:
            if entry is not None and entry.record.state is JobState.RUNNING:
                break
    dead = monitored.url
    monitored.worker.kill()
    (ended,) = (await batch.follow(timeout=120)).records()
    assert (ended.state, ended.attempt) == (JobState.DONE, 2)
    assert monitored.url != dead
    await asyncio.to_thread(
        eventually, lambda: monitored.scrape().get('docnats_jobs_total{state="done"}') == 1
    )
    counted = monitored.scrape()
    assert counted["docnats_deliveries_total"] == counted["docnats_redeliveries_total"] >= 1
    assert counted["docnats_queue_wait_seconds_count"] == 0  # the first start was another worker's


@pytest.mark.usefixtures("service")
async def test_a_worker_listens_at_loopback_only(monitored: Monitored) -> None:
    open_to = {c.laddr for c in monitored.worker.net_connections() if c.status == "LISTEN"}
    assert open_to == {("127.0.0.1", int(monitored.url.rpartition(":")[2]))}


@pytest.mark.usefixtures("service")
async def test_a_worker_is_alive_and_ready_and_a_stopped_one_does_not_answer(
    monitored: Monitored,
) -> None:
    url = monitored.url
    assert web.get(f"{url}/healthz") == (200, b"ok\n")
    status, body = web.get(f"{url}/readyz")
    assert (status, [part["name"] for part in json.loads(body)["parts"]]) == (
        200,
        ["worker", "s3", "nats"],
    )
    worker = monitored.worker
    worker.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            web.get(f"{url}/healthz", timeout=0.5)
    finally:
        worker.send_signal(signal.SIGCONT)
    assert web.get(f"{url}/healthz") == (200, b"ok\n")


async def test_one_trace_goes_from_the_client_through_the_worker_to_the_collector(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    async with S3DocumentService(monitored.stack.s3, monitored.stack.nats) as service:
        (job,) = await finished(service, ("a.pdf", text_pdf(2)))
    sent = {span.name: span for span in exporter.get_finished_spans()}
    assert set(sent) == {"docnats.submit", "docnats.upload", "docnats.publish"}
    published = sent["docnats.publish"].context
    assert published is not None
    of_worker = {"docnats.process", "docnats.download", "docnats.parse", "docnats.store"}
    await asyncio.to_thread(
        eventually, lambda: set(monitored.collector.spans(published.trace_id)) == of_worker
    )
    received = monitored.collector.spans(published.trace_id)
    assert {service_name for service_name, _ in received.values()} == {"docnats-worker"}
    _, process = received["docnats.process"]
    assert int.from_bytes(process.parent_span_id) == published.span_id
    about = {attribute.key: attribute.value.string_value for attribute in process.attributes}
    assert about["docnats.job_id"] == job.job_id


async def test_a_workers_log_is_json_with_ids_and_without_secrets(monitored: Monitored) -> None:
    """With everything that docnats can log, and every secret that a job can carry."""
    stack = monitored.stack
    presigning = ProcessingConfig(presign=True)
    async with S3DocumentService(stack.s3, stack.nats, presigning) as service:
        assert (await service.health_check(wait=30)).healthy
        locked = {"locked.pdf": encrypted_pdf(PASSWORD), "page.pdf": HTML_PAGE}
        opened, failed = await finished(service, locked, options={"password": PASSWORD})
        assert (opened.state, failed.state) == (JobState.DONE, JobState.FAILED)
    log = monitored.log
    lines = [json.loads(line) for line in log.splitlines() if not OF_A_KILLED_ONE.match(line)]
    for job in (opened, failed):
        about = [line for line in lines if job.job_id in line["message"]]
        assert about
        assert {(line["batch"], line["job_id"]) for line in about} == {(job.batch, job.job_id)}
        assert all(re.fullmatch(r"[0-9a-f]{32}", line["trace_id"]) for line in about)
    url = stack.environment["NATS_URL"]
    secrets = [
        PASSWORD,
        stack.environment["AWS_SECRET_ACCESS_KEY"],
        url.rpartition("@")[0].rpartition(":")[2],
        "X-Amz-Signature",
    ]
    assert all(len(secret) > 8 for secret in secrets)
    assert [secret for secret in secrets if secret in log] == []


@pytest.fixture
def on_the_monitored_stack(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalStack]:
    for name, value in monitored.stack.environment.items():
        monkeypatch.setenv(name, value)
    yield monitored.stack
    close_session()


def test_a_client_serves_what_it_uploads(on_the_monitored_stack: LocalStack) -> None:
    url = docnats.serve_metrics(0)
    sources = {"a.pdf": text_pdf(1), "page.pdf": HTML_PAGE}
    docnats.submit_many(sources, progress="none")
    counted = samples(url)
    assert counted['docnats_client_uploads_total{outcome="stored"}'] == 2
    assert counted["docnats_client_upload_bytes_total"] == sum(map(len, sources.values()))
    assert counted['docnats_client_jobs_total{error_type="not_a_pdf",state="failed"}'] == 1
    assert counted["docnats_client_job_latency_seconds_count"] == 2


def test_a_clients_metrics_go_on_when_a_cell_is_run_again_or_another_server_is_named(
    on_the_monitored_stack: LocalStack,
) -> None:
    url = docnats.serve_metrics(0)
    docnats.submit_many({"a.pdf": text_pdf(1)}, progress="none")
    port = int(url.rpartition(":")[2].partition("/")[0])
    assert docnats.serve_metrics(port) == url
    docnats.configure_nats(on_the_monitored_stack.environment["NATS_URL"])
    docnats.submit_many({"a.pdf": text_pdf(1)}, progress="none")
    assert samples(url)['docnats_client_uploads_total{outcome="stored"}'] == 2
    moved = docnats.serve_metrics(_free_port())
    assert moved != url
    assert samples(moved)['docnats_client_uploads_total{outcome="stored"}'] == 2
    with pytest.raises(OSError, match="refused"):
        web.get(url)


def test_a_client_is_told_of_a_port_that_is_taken(
    on_the_monitored_stack: LocalStack, monitored: Monitored
) -> None:
    taken = int(monitored.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match="another process listens"):
        docnats.serve_metrics(taken)


async def test_a_service_on_ones_own_loop_serves_metrics_until_it_is_closed(
    monitored: Monitored,
) -> None:
    async with S3DocumentService(monitored.stack.s3, monitored.stack.nats) as service:
        url = await service.serve_metrics(0)
        await finished(service, ("a.pdf", text_pdf(1)))
        counted = await asyncio.to_thread(samples, url)
        assert counted['docnats_client_jobs_total{state="done"}'] == 1
    with pytest.raises(OSError, match="refused"):
        web.get(url)


def _free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port
