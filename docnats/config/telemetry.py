"""Settings of what docnats tells of itself: metrics, health, traces, logs."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field

from docnats.config.settings import Settings

__all__ = ["LogFormat", "TelemetryConfig"]

LogFormat = Literal["text", "json"]


class TelemetryConfig(Settings):
    """What a process tells of itself, and where.

    Parameters
    ----------
    metrics_port : int, optional
        Where a worker serves ``/metrics``, ``/healthz`` and ``/readyz``; 0 is any free port.
        Off by default; environment ``DOCNATS_METRICS_PORT``.
    metrics_host : str
        The address to listen at; containers need ``0.0.0.0``. Environment
        ``DOCNATS_METRICS_HOST``.
    log_format : {"text", "json"}
        Of the command line's log on stderr; environment ``DOCNATS_LOG_FORMAT``.
    otlp_endpoint, otlp_traces_endpoint : str, optional
        A collector of traces; the standard variables ``OTEL_EXPORTER_OTLP_ENDPOINT`` and
        ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``. OpenTelemetry's own code reads them too, and
        all its others: here it only counts whether one is set.
    otlp_protocol : str
        Only OTLP over HTTP is spoken; the standard variable ``OTEL_EXPORTER_OTLP_PROTOCOL``.
    traces_exporter : str
        Without ``otlp`` in it there are no traces, so ``none`` turns them off; the standard
        variable ``OTEL_TRACES_EXPORTER``.
    otel_disabled : str
        ``true`` turns traces off; the standard variable ``OTEL_SDK_DISABLED``.

    Examples
    --------
    >>> TelemetryConfig(metrics_port=9464).metrics_host
    '127.0.0.1'
    """

    metrics_port: int | None = Field(
        None, ge=0, le=65535, validation_alias=AliasChoices("DOCNATS_METRICS_PORT")
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, validation_alias=AliasChoices("DOCNATS_METRICS_HOST")
    )
    log_format: LogFormat = Field("text", validation_alias=AliasChoices("DOCNATS_LOG_FORMAT"))
    otlp_endpoint: str | None = Field(
        None, validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"), repr=False
    )
    otlp_traces_endpoint: str | None = Field(
        None, validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), repr=False
    )
    otlp_protocol: str = Field(
        "http/protobuf",
        validation_alias=AliasChoices(
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
        ),
        repr=False,
    )
    traces_exporter: str = Field(
        "otlp", validation_alias=AliasChoices("OTEL_TRACES_EXPORTER"), repr=False
    )
    otel_disabled: str = Field(
        "false", validation_alias=AliasChoices("OTEL_SDK_DISABLED"), repr=False
    )

    @property
    def exports_traces(self) -> bool:
        """Whether traces are to be sent to a collector."""
        exporters = {name.strip() for name in self.traces_exporter.split(",")}
        wanted = self.otel_disabled.lower() != "true" and "otlp" in exporters
        return wanted and bool(self.otlp_endpoint or self.otlp_traces_endpoint)
