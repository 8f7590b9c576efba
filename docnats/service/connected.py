"""Open connections to the servers, and what goes on over them in the background."""

from __future__ import annotations

import asyncio
import copy
import logging
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from docnats.backends import storage_for
from docnats.bus import Bus, NatsBus, StateEntry
from docnats.config import NatsConfig, ProcessingConfig, S3Config, TelemetryConfig
from docnats.errors import ConfigError, DocnatsError
from docnats.names import Names
from docnats.service.archives import Archives
from docnats.service.batch import Batch
from docnats.service.cancel import cancel_jobs
from docnats.service.signing import Signer
from docnats.service.submission import Submission
from docnats.storage import Storage
from docnats.table import JobTable
from docnats.telemetry import ClientObserver, Tracing, tracing_for

__all__ = ["Connected"]

log = logging.getLogger(__name__)


class Connected:
    """What a client stands on: its settings and its open ports; an async context manager.

    Parameters
    ----------
    s3_config, nats_config, processing_config : optional
        Settings; by default those of the environment.

    Attributes
    ----------
    observer : ClientObserver
        Told what becomes of the documents that are submitted from then on.
    """

    def __init__(
        self,
        s3_config: S3Config | None = None,
        nats_config: NatsConfig | None = None,
        processing_config: ProcessingConfig | None = None,
    ) -> None:
        self.config = processing_config or ProcessingConfig()
        self._s3_config = s3_config or S3Config()
        self._nats_config = nats_config or NatsConfig()
        self._open = AsyncExitStack()
        self._sending: dict[asyncio.Task[None], Submission] = {}
        self._abandoning: set[asyncio.Task[None]] = set()
        self._ports: tuple[Bus, Storage] | None = None
        self._signer: Signer | None = None
        self.observer = ClientObserver()
        self._tracing = Tracing()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the connections and create what is missing on the servers.

        Raises
        ------
        StorageError, BusError
            A server cannot be reached or refuses; the message says what to check.
        """
        if self._ports is not None:
            return
        if self.config.use_s3_storage and not self._s3_config.use_credentials:
            raise ConfigError(
                "S3Config.use_credentials=False (environment: S3_USE_CREDENTIALS) is for workers: "
                "a client uploads and reads with S3 credentials"
            )
        async with AsyncExitStack() as opening:
            nats = self._nats_config
            found = storage_for(self._s3_config, nats, self.config)
            storage: Storage = await opening.enter_async_context(found)
            bus = await opening.enter_async_context(
                NatsBus(nats, outage_limit=self.config.outage_limit)
            )
            await asyncio.gather(storage.ensure_bucket(), bus.ensure())
            if self.config.use_s3_storage and await storage.has_credentials():
                self._signer = Signer(bus, storage)
                signing = asyncio.create_task(self._signer.run(), name="docnats-sign")
                opening.push_async_callback(_end, signing)
            self._tracing = tracing_for("docnats-client", TelemetryConfig())
            opening.push_async_callback(_close, self._tracing)
            self._ports = (bus, storage)
            self._open = opening.pop_all()

    async def close(self) -> None:
        """Close the connections; uploads that still go on are stopped, and their rows fail."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await asyncio.gather(*self._abandoning)
        self._ports = None
        await self._open.aclose()

    async def serve_metrics(self, port: int, *, host: str | None = None) -> str:
        """Count what is submitted from now on, and serve it to Prometheus.

        Parameters
        ----------
        port : int
            0 takes any that is free.
        host : str, optional
            The address to listen at; by default ``DOCNATS_METRICS_HOST``, else 127.0.0.1.

        Returns
        -------
        str
            Where the metrics are, until the connections are closed.

        Raises
        ------
        ConfigError
            It cannot listen there.

        Examples
        --------
        >>> await service.serve_metrics(9465)  # doctest: +SKIP
        'http://127.0.0.1:9465/metrics'
        """
        from docnats.telemetry.client import ClientEndpoint

        self._connected()
        endpoint = ClientEndpoint(host or TelemetryConfig().metrics_host, port)
        await self._open.enter_async_context(endpoint)
        self.observer = endpoint.metrics
        return endpoint.metrics_url

    def using(self, config: ProcessingConfig) -> Self:
        """Return a client on the same connections with other processing settings.

        Raises
        ------
        ConfigError
            They keep documents elsewhere.
        """
        if config.use_s3_storage != self.config.use_s3_storage:
            raise ConfigError(
                f"use_s3_storage={config.use_s3_storage}: this client's connections are to another "
                "storage; set USE_S3_STORAGE, or use create_document_service(use_s3=…)"
            )
        other = copy.copy(self)
        other.config = config
        return other

    @property
    def bus(self) -> Bus:
        """The open control bus."""
        return self._connected()[0]

    @property
    def storage(self) -> Storage:
        """The open storage."""
        return self._connected()[1]

    @property
    def archives(self) -> Archives:
        """The batches whose rows are in S3."""
        bus, storage = self._connected()
        return Archives(bus, storage, Names(self._nats_config.namespace))

    def _connected(self) -> tuple[Bus, Storage]:
        if self._ports is None:
            raise DocnatsError("not connected: use `async with`, or call connect() first")
        return self._ports

    async def _begin(self, submission: Submission, batch: str) -> Batch:
        """Register a batch's jobs; upload and queue them until the connections are closed."""
        table = JobTable(batch)
        submission.report_to(self.observer, self._tracing)
        entries = await self._register(submission)
        if self._signer is not None:
            self._signer.vouch_for(entry.record for entry in entries)
        for entry in entries:
            table.apply(entry.record, entry.revision)
        sending = asyncio.create_task(submission.send(), name=f"docnats-send-{batch}")
        self._sending[sending] = submission
        sending.add_done_callback(self._end_sending)
        return Batch(self.bus, table, sending, storage=self.storage, observer=self.observer)

    def _end_sending(self, task: asyncio.Task[None]) -> None:
        submission = self._sending.pop(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error:
            why = f"sending the batch stopped: {error}" if error else "its client was closed"
            reason = f"not sent, because {why}; submit the file again"
            abandoning = asyncio.create_task(submission.abandon(reason))
            self._abandoning.add(abandoning)
            abandoning.add_done_callback(self._abandoning.discard)

    async def _register(self, submission: Submission) -> list[StateEntry]:
        registering = asyncio.ensure_future(submission.register())
        try:
            return await asyncio.shield(registering)
        except asyncio.CancelledError:
            # Rows that are there already would wait for ever for their documents.
            written = await registering
            await cancel_jobs(self.bus, [entry.record for entry in written])
            await submission.abandon()
            raise


async def _close(tracing: Tracing) -> None:
    try:
        closing = asyncio.get_running_loop().run_in_executor(None, tracing.close)
    except RuntimeError:  # the interpreter ends, and starts no more threads
        tracing.close()
    else:
        await closing


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        log.warning("no fresh URLs were signed any more: %s", outcome)
