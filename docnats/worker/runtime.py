"""A worker's process: opens its ports, starts its parsers, works until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal

from docnats.bus import NatsBus
from docnats.config import NatsConfig, ProcessingConfig, S3Config
from docnats.config.machine import most_parsers
from docnats.pool import ParserPool
from docnats.storage import PresignedHttp, S3Storage
from docnats.worker.known import ResultNotes
from docnats.worker.processing import Tools
from docnats.worker.quarantine import Quarantine
from docnats.worker.retries import Pause
from docnats.worker.transfer import Transfer
from docnats.worker.worker import GRACE_SECONDS, Worker, new_worker_id

__all__ = ["run_worker"]

log = logging.getLogger(__name__)


async def run_worker(
    s3: S3Config | None = None,
    nats: NatsConfig | None = None,
    processing: ProcessingConfig | None = None,
    *,
    parsers: int | None = None,
    grace: float = GRACE_SECONDS,
) -> None:
    """Work until SIGTERM or SIGINT, then finish or hand back what is at work.

    Parameters
    ----------
    s3, nats, processing : optional
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
    """
    s3 = s3 or S3Config()
    nats = nats or NatsConfig()
    processing = processing or ProcessingConfig()
    pool = ParserPool(
        parsers or most_parsers(),
        memory_limit=processing.memory_limit,
        preload=("docnats.parsing.preload",),
        sandbox=processing.sandbox,
        readable=processing.sandbox_read,
    )
    # The pool comes first: its start hides the environment, where S3 credentials may be.
    async with pool, S3Storage(s3) as storage, PresignedHttp(s3) as http, NatsBus(nats) as bus:
        await bus.ensure()
        tools = Tools(
            worker=new_worker_id(),
            bus=bus,
            transfer=Transfer(storage, http, bus, own_credentials=await storage.has_credentials()),
            pool=pool,
            quarantine=Quarantine(bus, processing.memory_limit),
            notes=ResultNotes(bus),
            pause=Pause(),
            config=processing,
            max_deliver=nats.max_deliver,
            lease_seconds=nats.ack_wait,
        )
        worker = Worker(tools, grace=grace)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.drain)
        log.info("worker %s: %d parser processes", tools.worker, pool.processes)
        await worker.run()
