"""What docnats tells of itself: metrics and health by HTTP, traces, what log lines are about.

Off, all of it costs next to nothing: Prometheus's client and OpenTelemetry are loaded only where
somebody asks for metrics or traces.
"""

from docnats.telemetry.cached import Cached
from docnats.telemetry.endpoint import Endpoint, Page, Response, alive, health_response
from docnats.telemetry.logs import JsonFormatter, TextFormatter, about_job
from docnats.telemetry.observers import ClientObserver, WorkerObserver
from docnats.telemetry.tracing import Context, Kind, Span, Tracing, tracing_for

__all__ = [
    "Cached",
    "ClientObserver",
    "Context",
    "Endpoint",
    "JsonFormatter",
    "Kind",
    "Page",
    "Response",
    "Span",
    "TextFormatter",
    "Tracing",
    "WorkerObserver",
    "about_job",
    "alive",
    "health_response",
    "tracing_for",
]
