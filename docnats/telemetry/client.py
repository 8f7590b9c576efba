"""The endpoint of a client's metrics."""

from __future__ import annotations

from docnats.telemetry.endpoint import Endpoint, Response, alive
from docnats.telemetry.metrics import ClientMetrics

__all__ = ["ClientEndpoint"]


class ClientEndpoint(Endpoint):
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
        super().__init__(host, port, {"/metrics": self._render, "/healthz": alive})
        self.metrics = metrics or ClientMetrics()

    @property
    def metrics_url(self) -> str:
        """Where the metrics are."""
        return f"{self.url}/metrics"

    async def _render(self, accept: str) -> Response:
        content_type, body = self.metrics.render(accept)
        return Response(200, content_type, body)
