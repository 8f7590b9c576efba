"""The endpoint of a client's metrics."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from docnats.telemetry.endpoint import Endpoint, Response, alive
from docnats.telemetry.metrics import ClientMetrics

__all__ = ["ClientEndpoint"]


class ClientEndpoint:
    """Serves ``/metrics`` and ``/healthz`` of a client; an async context manager.

    Parameters
    ----------
    host, port
        As of :class:`~docnats.telemetry.Endpoint`.
    metrics : ClientMetrics, optional
        To go on with; by default new ones.

    Attributes
    ----------
    metrics : ClientMetrics
        To be told what becomes of the client's documents.

    Raises
    ------
    ConfigError
        On entering: it cannot listen there.
    """

    def __init__(self, host: str, port: int, metrics: ClientMetrics | None = None) -> None:
        self.metrics = metrics or ClientMetrics()
        self._endpoint = Endpoint(host, port, {"/metrics": self._render, "/healthz": alive})

    @property
    def host(self) -> str:
        """The address that it listens at."""
        return self._endpoint.host

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._endpoint.port

    @property
    def url(self) -> str:
        """Where the metrics are."""
        return f"{self._endpoint.url}/metrics"

    async def _render(self, accept: str) -> Response:
        content_type, body = self.metrics.render(accept)
        return Response(200, content_type, body)

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._endpoint.__aexit__(kind, error, trace)
