"""A worker's process: opens its ports, starts its parsers, works until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from docnats.backends import storage_for
from docnats.bus import NatsBus
from docnats.config import LlmConfig, NatsConfig, ProcessingConfig, S3Config, TelemetryConfig
from docnats.config.machine import most_parsers
from docnats.llm import Chat
from docnats.pool import ParserPool
from docnats.processors import offered
from docnats.storage import Allowlist, PresignedHttp, Storage
from docnats.telemetry import Tracing, WorkerObserver, tracing_for
from docnats.worker.known import ResultNotes
from docnats.worker.processing import Tools
from docnats.worker.quarantine import Quarantine
from docnats.worker.report import Report
from docnats.worker.retries import Pause
from docnats.worker.transfer import Transfer
from docnats.worker.worker import GRACE_SECONDS, Worker, new_worker_id

__all__ = ["prepare_folders", "run_worker"]

log = logging.getLogger(__name__)


async def run_worker(
    s3: S3Config,
    telemetry: TelemetryConfig,
    *,
    parsers: int | None = None,
    grace: float = GRACE_SECONDS,
) -> None:
    """Work until SIGTERM or SIGINT, then finish or hand back what is at work.

    Parameters
    ----------
    s3, telemetry
        Settings; the others are those of the environment.
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
    worker_id = new_worker_id()
    report = Report(worker_id, telemetry)
    async with report, _tools(worker_id, s3, telemetry, parsers, report.observer) as tools:
        worker = Worker(tools, grace=grace)
        report.begin(worker, tools.pool.processes, tools.bus, tools.transfer.storage)
        _drain_on_signals(worker)
        _introduce(tools)
        await worker.run()


@asynccontextmanager
async def _tools(
    worker_id: str,
    s3: S3Config,
    telemetry: TelemetryConfig,
    parsers: int | None,
    observer: WorkerObserver,
) -> AsyncIterator[Tools]:
    """Open the ports, and all else that a worker works with."""
    nats, processing, llm = NatsConfig(), ProcessingConfig(), LlmConfig()
    chat = Chat(llm) if llm.configured else None
    # The pool comes first: its start hides the environment, where S3 credentials may be.
    async with (
        _new_pool(processing, parsers, observer.parser_replaced) as pool,
        _own_storage(s3, nats, processing) as storage,
        PresignedHttp(s3) as http,
        NatsBus(nats) as bus,
        chat or nullcontext(),
        _traced(telemetry) as tracing,
    ):
        await bus.ensure()
        yield Tools(
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
            observer=observer,
            tracing=tracing,
        )


def _new_pool(
    processing: ProcessingConfig, parsers: int | None, on_replaced: Callable[[str], None]
) -> ParserPool:
    processors = offered().values()
    places = {place for processor in processors for place in processor.reads}
    return ParserPool(
        parsers or most_parsers(),
        memory_limit=processing.memory_limit,
        most_memory=max(processor.memory for processor in processors),
        preload=("docnats.parsing.preload",),
        on_replaced=on_replaced,
        sandbox=processing.sandbox,
        readable=(*processing.sandbox_read, *prepare_folders(places)),
    )


def prepare_folders(places: Iterable[str]) -> list[Path]:
    """Return those folders that processors read and that are here; see ``Processor.reads``.

    Those in ``~/.cache`` are made first: a parser process is bound to the folders it starts with,
    and models may come later.
    """
    paths = sorted(Path(os.path.expandvars(place)).expanduser() for place in places)
    for path in paths:
        if path.is_relative_to(Path.home() / ".cache"):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:  # a home that is read-only has no models to come
                log.info("%s cannot be made: %s", path, error)
    return [path for path in paths if path.is_absolute() and path.is_dir()]


def _places(s3: S3Config, processing: ProcessingConfig, storage: Storage | None) -> Allowlist:
    if storage is None or processing.use_s3_storage:
        return Allowlist(s3)
    return Allowlist(s3, storage.bucket)


def _drain_on_signals(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)


def _introduce(tools: Tools) -> None:
    log.info(
        "worker %s: %d parser processes, processors %s, prompts by %s",
        tools.worker,
        tools.pool.processes,
        ", ".join(tools.processors),
        tools.chat.config.model if tools.chat else "nobody",
    )
    if tools.transfer.storage is None:
        log.info("worker %s: no S3 credentials, works by presigned URLs only", tools.worker)


@asynccontextmanager
async def _traced(telemetry: TelemetryConfig) -> AsyncIterator[Tracing]:
    tracing = tracing_for("docnats-worker", telemetry)
    try:
        yield tracing
    finally:
        await asyncio.to_thread(tracing.close)


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
