"""What a worker serves by HTTP: ``/metrics``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from docnats.bus import Bus
from docnats.checks import check_bus, check_storage, examine, storage_part
from docnats.config import TelemetryConfig
from docnats.errors import BusError, DocnatsError
from docnats.models import Health, PartHealth
from docnats.names import kept_in_nats
from docnats.processors import package_version
from docnats.storage import Storage
from docnats.telemetry import (
    Cached,
    Endpoint,
    Response,
    WorkerObserver,
    alive,
    health_response,
)

if TYPE_CHECKING:
    from docnats.telemetry.metrics import Installation, WorkerMetrics

__all__ = ["Report", "Reporting"]

log = logging.getLogger(__name__)

READY_SECONDS = 15.0
"""How long a check of S3 and NATS holds; each writes an object, which some stores charge for."""

CHECK_SECONDS = 5.0
"""How long each part of it may take."""

INSTALLATION_SECONDS = 10.0
"""How long the figures that NATS knows hold, however often somebody scrapes them."""


class Reporting(Protocol):
    """A worker, as far as it is reported on."""

    @property
    def at_work(self) -> int:
        """How many jobs it has."""

    @property
    def draining(self) -> bool:
        """Whether it takes no more jobs."""


class Report:
    """The HTTP endpoint of a worker, if it is to have one; an async context manager.

    It begins before the worker does, so that a port that is taken is known at once, and ends
    after it.

    Parameters
    ----------
    worker : str
        The worker's id.
    config : TelemetryConfig
        Where to listen; without a port nothing is served and nothing is counted.

    Attributes
    ----------
    observer : WorkerObserver
        To be told what becomes of the worker's jobs.
    url : str or None
        Where it listens.
    """

    def __init__(self, worker: str, config: TelemetryConfig) -> None:
        self._worker = worker
        self._config = config
        self._metrics: WorkerMetrics | None = None
        if config.metrics_port is not None:
            from docnats.telemetry.metrics import WorkerMetrics

            self._metrics = WorkerMetrics(worker, package_version("docnats"))
        self.observer: WorkerObserver = self._metrics or WorkerObserver()
        self.url: str | None = None
        self._opened = AsyncExitStack()
        self._subject: _Subject | None = None
        self._health = Cached(self._check, READY_SECONDS)
        self._figures = Cached(self._ask, INSTALLATION_SECONDS)

    async def __aenter__(self) -> Self:
        if self._metrics is not None and self._config.metrics_port is not None:
            pages = {"/metrics": self._render, "/healthz": alive, "/readyz": self._ready}
            endpoint = Endpoint(self._config.metrics_host, self._config.metrics_port, pages)
            self.url = (await self._opened.enter_async_context(endpoint)).url
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._opened.aclose()
        await self._health.close()
        await self._figures.close()

    def begin(self, worker: Reporting, parsers: int, bus: Bus, storage: Storage | None) -> None:
        """Report on a worker from now on.

        Parameters
        ----------
        storage : Storage or None
            None: the worker has no credentials of its own, and can check nothing.
        """
        self._subject = _Subject(worker, bus, storage)
        if self._metrics is not None:
            self._metrics.follow(jobs=lambda: worker.at_work, outage=lambda: bus.outage)
            self._metrics.has_parsers(parsers)

    async def _render(self, accept: str) -> Response:
        assert self._metrics is not None  # noqa: S101 - there is an endpoint
        if self._subject is not None:
            self._metrics.take(await self._figures.get())
        content_type, body = self._metrics.render(accept)
        return Response(200, content_type, body)

    async def _ask(self) -> Installation:
        from docnats.telemetry.metrics import UNKNOWN, Installation

        assert self._subject is not None  # noqa: S101 - the caller has looked
        bus = self._subject.bus
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                backlog, letters = await bus.backlog(), await bus.count_dead_letters()
        except (BusError, TimeoutError) as error:
            log.info("the length of the queue is not known: %r", error)
            return UNKNOWN
        return Installation(backlog.pending, backlog.leased, letters)

    async def _ready(self, accept: str) -> Response:
        if self._subject is None:
            return health_response(Health((_worker_part("it is starting"),)))
        if self._subject.worker.draining:
            return health_response(Health((_worker_part("it was told to stop"),)))
        return health_response(await self._health.get())

    async def _check(self) -> Health:
        subject = self._subject
        assert subject is not None  # noqa: S101 - the caller has looked
        storage = subject.storage
        in_s3 = storage is None or not kept_in_nats(storage.bucket)
        checks = {
            "worker": self._check_registry(subject.bus),
            storage_part(in_s3=in_s3): _check_storage(storage),
            "nats": check_bus(subject.bus),
        }
        return Health(
            tuple(
                await asyncio.gather(
                    *(examine(name, check, limit=CHECK_SECONDS) for name, check in checks.items())
                )
            )
        )

    async def _check_registry(self, bus: Bus) -> str:
        workers = {worker.worker for worker in await bus.workers()}
        if self._worker not in workers:
            raise DocnatsError(f"{self._worker} is not among the {len(workers)} live workers")
        return f"{self._worker} is one of {len(workers)} live workers"


class _Subject(NamedTuple):
    """A worker that has begun, and what it stands on."""

    worker: Reporting
    bus: Bus
    storage: Storage | None


def _worker_part(detail: str) -> PartHealth:
    return PartHealth("worker", healthy=False, seconds=0.0, detail=detail)


async def _check_storage(storage: Storage | None) -> str:
    if storage is None:
        return "not checked: this worker has no credentials, and works by presigned URLs"
    return await check_storage(storage)
