"""Spans from the client's submission to the worker's result."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from docnats.bus import Lease
from docnats.config import TelemetryConfig
from docnats.errors import BusError, ErrorType, ParseError, StorageError
from docnats.models import JobMessage, JobState
from docnats.parsing import RangeResult
from docnats.service import S3DocumentClient
from docnats.telemetry import Tracing, spans, tracing_for
from docnats.worker.job import Job
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.language_model import language_model
from tests.unit.test_job import ScriptedPool, World, raising
from tests.unit.test_prompts import Prompted


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a program that has set a TracerProvider gets."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    return tracing_for("docnats-test", TelemetryConfig())


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    found = {span.name: span for span in exporter.get_finished_spans()}
    assert len(found) == len(exporter.get_finished_spans())
    return found


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def submit(client: S3DocumentClient, tracing: Tracing, bus: FakeBus) -> Lease:
    """Send one document and return what a worker gets."""
    client._tracing = tracing
    await client.submit({"a.pdf": b"A"}, batch="b")
    for sending in tuple(client._sending):
        await sending
    (lease,) = await bus.pull(1, 5)
    return lease


async def test_one_trace_holds_all_that_happens_to_a_document(
    client: S3DocumentClient,
    bus: FakeBus,
    storage: FakeStorage,
    tracing: Tracing,
    exporter: InMemorySpanExporter,
) -> None:
    lease = await submit(client, tracing, bus)
    world = World()
    world.bus, world.storage, world.tracing = bus, storage, tracing
    await Job(lease, world.tools()).work()
    found = by_name(exporter)
    assert list(found) == [
        "docnats.upload",
        "docnats.publish",
        "docnats.submit",
        "docnats.download",
        "docnats.parse",
        "docnats.store",
        "docnats.process",
    ]
    parents = {name: parent_of(span) for name, span in found.items()}
    assert parents["docnats.submit"] is None
    assert parents["docnats.upload"] == parents["docnats.publish"] == id_of(found["docnats.submit"])
    assert parents["docnats.process"] == id_of(found["docnats.publish"])
    for part in ("docnats.download", "docnats.parse", "docnats.store"):
        assert parents[part] == id_of(found["docnats.process"])
    assert len({span.context.trace_id for span in found.values() if span.context}) == 1
    assert found["docnats.publish"].kind is SpanKind.PRODUCER
    process = found["docnats.process"]
    assert process.kind is SpanKind.CONSUMER
    assert process.attributes is not None
    assert process.attributes["docnats.job_id"] == lease.message.request_id
    assert process.attributes["docnats.attempt"] == 1
    assert float(process.attributes["docnats.queue_wait_seconds"]) >= 0  # type: ignore[arg-type]
    assert process.status.status_code is StatusCode.UNSET


async def test_the_message_itself_says_nothing_of_traces(
    client: S3DocumentClient, bus: FakeBus, tracing: Tracing
) -> None:
    lease = await submit(client, tracing, bus)
    assert set(lease.headers) == {"traceparent"}
    assert b"trace" not in lease.message.to_json()


async def test_documents_are_a_part_of_the_trace_of_the_code_that_submits_them(
    client: S3DocumentClient, bus: FakeBus, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with trace.get_tracer_provider().get_tracer("the-users").start_as_current_span("mine") as mine:
        await submit(client, tracing, bus)
    submitted = by_name(exporter)["docnats.submit"]
    assert parent_of(submitted) == mine.get_span_context().span_id


async def test_documents_submitted_by_themselves_have_a_trace_each(
    client: S3DocumentClient, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    client._tracing = tracing
    await client.submit({f"{number}.pdf": b"A" for number in range(3)})
    for sending in tuple(client._sending):
        await sending
    submitted = [s for s in exporter.get_finished_spans() if s.name == "docnats.submit"]
    assert len({span.context.trace_id for span in submitted if span.context}) == 3


async def test_an_upload_that_fails_ends_its_trace_as_failed(
    client: S3DocumentClient,
    storage: FakeStorage,
    tracing: Tracing,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(key: str, data: bytes) -> None:
        raise StorageError("access denied")

    monkeypatch.setattr(storage, "put_bytes", refuse)
    client._tracing = tracing
    await client.submit({"a.pdf": b"A"})
    for sending in tuple(client._sending):
        await sending
    failed(by_name(exporter)["docnats.submit"], "storage", "access denied")


async def test_a_queue_that_takes_nothing_ends_the_traces_as_failed(
    client: S3DocumentClient,
    bus: FakeBus,
    tracing: Tracing,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(messages: list[JobMessage], headers: object) -> None:
        raise BusError("NATS takes nothing")

    monkeypatch.setattr(bus, "publish", refuse)
    client._tracing = tracing
    await client.submit({"a.pdf": b"A"})
    for sending in tuple(client._sending):
        with pytest.raises(BusError):
            await sending
    failed(by_name(exporter)["docnats.publish"], "BusError", "takes nothing")


FAULTS = [
    (ParseError(ErrorType.ENCRYPTED, "needs a password"), "encrypted", JobState.FAILED),
    (StorageError("S3 answered 503", transient=True), "storage", JobState.QUEUED),
]


@pytest.mark.parametrize(("fault", "error_type", "state"), FAULTS)
async def test_a_job_that_meets_a_fault_says_so(
    fault: Exception,
    error_type: str,
    state: JobState,
    tracing: Tracing,
    exporter: InMemorySpanExporter,
) -> None:
    world = World(ScriptedPool(raising(fault)))
    world.tracing = tracing
    await world.submit()
    assert (await world.work()).state is state
    failed(by_name(exporter)["docnats.process"], error_type, str(fault))
    failed(by_name(exporter)["docnats.parse"], type(fault).__name__, str(fault))


async def test_the_answer_to_a_prompt_is_a_part_of_its_own(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    world = Prompted()
    world.tracing = tracing
    with language_model() as model:
        assert (await world.run(model)).state is JobState.DONE
    found = by_name(exporter)
    assert list(found) == [
        "docnats.download",
        "docnats.parse",
        "docnats.prompt",
        "docnats.store",
        "docnats.process",
    ]
    assert parent_of(found["docnats.prompt"]) == id_of(found["docnats.process"])


async def test_a_job_without_or_with_a_broken_header_begins_a_trace(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    """Other programs may publish jobs."""
    world = World()
    world.tracing = tracing
    await world.submit()
    world.bus.queue["b", "j1"].headers = {"traceparent": "nonsense", "Nats-Msg-Id": "j1"}
    assert (await world.work()).state is JobState.DONE
    assert parent_of(by_name(exporter)["docnats.process"]) is None


def failed(span: ReadableSpan, error_type: str, words: str) -> None:
    assert span.status.status_code is StatusCode.ERROR
    assert words in (span.status.description or "")
    assert (span.attributes or {})["error.type"] == error_type


async def seen_while_parsing(tracing: Tracing) -> Any:
    """Return the span that code called by the parser would see."""
    seen: list[Any] = []

    async def act() -> RangeResult:
        seen.append(trace.get_current_span().get_span_context())
        raise ParseError(ErrorType.MALFORMED, "broken")

    world = World(ScriptedPool(act))
    world.tracing = tracing
    await world.submit()
    await world.work()
    return seen[0]


async def test_instrumented_libraries_see_the_span_they_work_for(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    assert (await seen_while_parsing(tracing)).span_id == id_of(by_name(exporter)["docnats.parse"])
    assert not trace.get_current_span().get_span_context().is_valid


async def test_without_a_provider_or_a_collector_there_are_no_spans() -> None:
    tracing = tracing_for("docnats-test", TelemetryConfig())
    assert type(tracing) is Tracing
    assert tracing.start("x").headers == {}
    assert not (await seen_while_parsing(tracing)).is_valid


@pytest.mark.parametrize(
    ("variables", "exports"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "no"}, True),
    ],
)
def test_the_standard_variables_decide(
    variables: dict[str, str], exports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert TelemetryConfig().exports_traces is exports


def test_a_collector_without_the_extra_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    config = TelemetryConfig(otlp_endpoint="http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert type(tracing_for("docnats-test", config)) is Tracing
    assert "install docnats[otel]" in caplog.text


@pytest.mark.parametrize("variable", ["OTLP_PROTOCOL", "OTLP_TRACES_PROTOCOL"])
def test_a_collector_that_speaks_otherwise_is_a_warning(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv(f"OTEL_EXPORTER_{variable}", "grpc")
    assert type(tracing_for("docnats-test", TelemetryConfig())) is Tracing
    assert "docnats speaks http/protobuf only" in caplog.text


@pytest.fixture
def no_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracing]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(spans, "CLOSE_SECONDS", 0.1)
    return tracing_for("docnats-test", TelemetryConfig())


def test_a_collector_that_is_away_holds_nobody_up_for_long(
    no_collector: Tracing, caplog: pytest.LogCaptureFixture
) -> None:
    no_collector.start("docnats.test").end()
    no_collector.close()
    assert "xport" in caplog.text  # OpenTelemetry says that it could not


def test_off_nothing_of_opentelemetry_or_prometheus_is_loaded() -> None:
    code = """
import sys, docnats.cli.app, docnats.worker, docnats.service, docnats.telemetry
from docnats.config import TelemetryConfig
docnats.telemetry.tracing_for("x", TelemetryConfig())
print([m for m in sys.modules if m.startswith(("opentelemetry", "prometheus_client"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
