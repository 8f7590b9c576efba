"""A worker's process: opens its ports, starts its parsers, works until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from docnats.backends import storage_for
from docnats.bus import NatsBus
from docnats.config import LlmConfig, NatsConfig, ProcessingConfig, S3Config, TelemetryConfig
from docnats.config.machine import most_parsers
from docnats.llm import Chat
from docnats.pool import ParserPool
from docnats.storage import Allowlist, PresignedHttp, Storage
from docnats.telemetry import tracing_for
from docnats.worker.known import ResultNotes
from docnats.worker.processing import Tools
from docnats.worker.quarantine import Quarantine
from docnats.worker.report import Report
from docnats.worker.retries import Pause
from docnats.worker.transfer import Transfer
from docnats.worker.worker import GRACE_SECONDS, Worker, new_worker_id

__all__ = ["run_worker"]

log = logging.getLogger(__name__)


async def run_worker(
    s3: S3Config | None = None,
    nats: NatsConfig | None = None,
    processing: ProcessingConfig | None = None,
    llm: LlmConfig | None = None,
    *,
    telemetry: TelemetryConfig | None = None,
    parsers: int | None = None,
    grace: float = GRACE_SECONDS,
) -> None:
    """Work until SIGTERM or SIGINT, then finish or hand back what is at work.

    Parameters
    ----------
    s3, nats, processing, llm, telemetry : optional
        Settings; by default those of the environment.
    parsers : int, optional
        Parser processes; by default one a core that this process may use, as far as there is
        memory for them.
    grace : float
        Seconds that running jobs get to finish after the signal.

    Raises
    ------
    StorageError, BusError
        A server cannot be reached at the start.
    StackError
        The parser processes do not start, or not in the sandbox that is required.
    ConfigError
        A language model is configured, but its extra is not installed; or metrics cannot be
        served where they should.
    """
    s3 = s3 or S3Config()
    nats = nats or NatsConfig()
    processing = processing or ProcessingConfig()
    llm = llm or LlmConfig()
    chat = Chat(llm) if llm.configured else None
    telemetry = telemetry or TelemetryConfig()
    worker_id = new_worker_id()
    report = Report(worker_id, telemetry)
    pool = _new_pool(processing, parsers, report.observer.parser_replaced)
    # The pool comes early: its start hides the environment, where S3 credentials may be.
    async with (
        report,
        pool,
        _own_storage(s3, nats, processing) as storage,
        PresignedHttp(s3) as http,
        NatsBus(nats) as bus,
        AsyncExitStack() as opened,
    ):
        await bus.ensure()
        if chat is not None:
            await opened.enter_async_context(chat)
        tracing = tracing_for("docnats-worker", telemetry)
        tools = Tools(
            worker=worker_id,
            bus=bus,
            transfer=Transfer(storage, http, bus, _places(s3, processing, storage)),
            pool=pool,
            quarantine=Quarantine(bus, processing.memory_limit),
            notes=ResultNotes(bus, llm.model),
            pause=Pause(),
            config=processing,
            max_deliver=nats.max_deliver,
            lease_seconds=nats.ack_wait,
            chat=chat,
            observer=report.observer,
            tracing=tracing,
        )
        worker = Worker(tools, grace=grace)
        report.begin(worker, pool.processes, bus, storage)
        _drain_on_signals(worker)
        _introduce(tools, llm)
        if storage is None:
            log.info("worker %s: no S3 credentials, works by presigned URLs only", worker_id)
        try:
            await worker.run()
        finally:
            await asyncio.to_thread(tracing.close)


def _new_pool(
    processing: ProcessingConfig, parsers: int | None, on_replaced: Callable[[str], None]
) -> ParserPool:
    return ParserPool(
        parsers or most_parsers(),
        memory_limit=processing.memory_limit,
        preload=("docnats.parsing.preload",),
        on_replaced=on_replaced,
        sandbox=processing.sandbox,
        readable=processing.sandbox_read,
    )


def _places(s3: S3Config, processing: ProcessingConfig, storage: Storage | None) -> Allowlist:
    if storage is None or processing.use_s3_storage:
        return Allowlist(s3)
    return Allowlist(s3, storage.bucket)


def _drain_on_signals(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)


def _introduce(tools: Tools, llm: LlmConfig) -> None:
    log.info(
        "worker %s: %d parser processes, processors %s, prompts by %s",
        tools.worker,
        tools.pool.processes,
        ", ".join(tools.processors),
        llm.model or "nobody",
    )


@asynccontextmanager
async def _own_storage(
    s3: S3Config, nats: NatsConfig, processing: ProcessingConfig
) -> AsyncIterator[Storage | None]:
    """Yield the worker's storage; None for one that has no S3 credentials."""
    if processing.use_s3_storage and not s3.use_credentials:
        yield None
        return
    async with storage_for(s3, nats, processing) as storage:
        if not processing.use_s3_storage:
            await storage.ensure_bucket()
        yield storage if await storage.has_credentials() else None
