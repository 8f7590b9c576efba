"""Traces across client and worker. These classes make none, at next to no cost."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

from docnats.config import TelemetryConfig

__all__ = ["Attributes", "Context", "Kind", "Span", "Tracing", "tracing_for"]

log = logging.getLogger(__name__)

Attributes = Mapping[str, str | int | float | bool]

Context = Any
"""Where a span belongs, by OpenTelemetry; None is the place where the code is."""


class Kind(Enum):
    """What a span is in the messaging between client and worker."""

    INTERNAL = auto()
    PRODUCER = auto()
    CONSUMER = auto()


class Span:
    """Some work that takes time; as a context manager it surrounds what belongs to it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells another process where its spans belong: W3C's ``traceparent``."""
        return {}

    @property
    def trace_id(self) -> str | None:
        """Its trace, in hexadecimal; None if it has none."""
        return None

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def fail(self, error_type: str, message: str) -> None:
        """Say that the work failed."""

    def end(self) -> None:
        """Say that the work is over; entering and leaving it does so too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


_NO_SPAN = Span()


class Tracing:
    """Makes the spans of a process."""

    def here(self) -> Context:
        """Return the place where the code is, for spans that begin later and elsewhere."""
        return None

    def start(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: Span | Mapping[str, str] | Context = None,
    ) -> Span:
        """Begin a span.

        Parameters
        ----------
        parent : Span, mapping or context, optional
            What it is a part of: a span, the headers of one, or a place. By default the place
            where the code is.
        """
        return _NO_SPAN

    def close(self) -> None:
        """Send what was not sent yet; blocks, for some seconds where no collector answers."""


def tracing_for(service: str, config: TelemetryConfig) -> Tracing:
    """Return what makes spans, if anybody is to have some.

    That is a ``TracerProvider`` that this program has set before; or else a collector that
    OpenTelemetry's environment variables name.

    Parameters
    ----------
    service : str
        What the process is called, unless ``OTEL_SERVICE_NAME`` says otherwise.
    """
    if "opentelemetry.trace" not in sys.modules and not config.exports_traces:
        return Tracing()
    try:
        from docnats.telemetry import spans

        known = spans.of_the_program()
        if known is None and config.exports_traces:
            if config.otlp_protocol != "http/protobuf":
                log.warning(_OTHER_PROTOCOL, config.otlp_protocol)
                return Tracing()
            known = spans.exporting(service)
    except ImportError as error:
        log.warning(_NOT_INSTALLED, error)
        return Tracing()
    return known or Tracing()


_NOT_INSTALLED = (
    "no traces, although OTEL_EXPORTER_OTLP_ENDPOINT is set: %s; install docnats[otel], or set "
    "OTEL_SDK_DISABLED=true"
)

_OTHER_PROTOCOL = (
    "no traces: OTEL_EXPORTER_OTLP_PROTOCOL is %s, and docnats speaks http/protobuf only, for "
    "which collectors listen at port 4318"
)
