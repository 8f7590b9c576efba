"""Spans by OpenTelemetry; loaded only where somebody is to have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from docnats.telemetry.tracing import Attributes, Context, Kind, Span, Tracing

__all__ = ["exporting", "of_the_program"]

_W3C = TraceContextTextMapPropagator()

_KINDS = {
    Kind.INTERNAL: trace.SpanKind.INTERNAL,
    Kind.PRODUCER: trace.SpanKind.PRODUCER,
    Kind.CONSUMER: trace.SpanKind.CONSUMER,
}

CLOSE_SECONDS = 3.0
"""How long the last spans are tried to be sent where no collector answers."""

_UNNAMED = "unknown_service"
"""What OpenTelemetry calls a service that nobody has named."""


def of_the_program() -> Tracing | None:
    """Return what makes spans with the provider that the program has set; None without one."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return _Recording(provider.get_tracer("docnats"))


def exporting(service: str) -> Tracing:
    """Return what makes spans and sends them to the collector that the environment names."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    exporter = OTLPSpanExporter()
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))

    def close() -> None:
        # By itself, the exporter would try again for as long as one request may take.
        impatience = threading.Timer(CLOSE_SECONDS, exporter.shutdown)
        with suppress(RuntimeError):  # as the interpreter ends, Python 3.12 starts no thread
            impatience.start()
        provider.shutdown()
        impatience.cancel()

    return _Recording(provider.get_tracer("docnats"), close)


class _Recording(Tracing):
    """Makes spans that are recorded.

    Parameters
    ----------
    close : callable
        Sends what was not sent, if that is ours to do.
    """

    def __init__(self, tracer: trace.Tracer, close: Callable[[], None] = lambda: None) -> None:
        self._tracer = tracer
        self._close = close

    def here(self) -> Context:
        return context.get_current()

    def start(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: Span | Mapping[str, str] | Context = None,
    ) -> Span:
        place = _place(parent)
        started = self._tracer.start_span(
            name, context=place, kind=_KINDS[kind], attributes=attributes
        )
        return _Recorded(started, place)

    def close(self) -> None:
        self._close()


def _place(parent: Span | Mapping[str, str] | Context) -> context.Context | None:
    if isinstance(parent, _Recorded):
        return parent.inside
    if parent is None or isinstance(parent, context.Context):
        return parent
    return _W3C.extract(parent, context.Context())


class _Recorded(Span):
    """A span of OpenTelemetry's."""

    def __init__(self, span: trace.Span, place: Any) -> None:
        self._span = span
        self.inside = trace.set_span_in_context(span, place)
        self._token: Token[context.Context] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self.inside)
        return carrier

    @property
    def trace_id(self) -> str | None:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, error_type: str, message: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(trace.StatusCode.ERROR, message)

    def end(self) -> None:
        self._span.end()

    def __enter__(self) -> Self:
        self._token = context.attach(self.inside)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            context.detach(self._token)
        if error is not None:
            self.fail(type(error).__name__, str(error))
        self.end()
