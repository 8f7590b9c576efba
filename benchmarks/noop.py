"""docnats's worker with nothing to do for each job: no S3, no PDF; all the rest is real.

``python -m benchmarks.noop`` is started by ``benchmarks/drivers/with_docnats.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.nothing import ONE_PAGE, parse_nothing
from docnats.bus import NatsBus
from docnats.config import NatsConfig, ProcessingConfig, TelemetryConfig
from docnats.models import JobMessage
from docnats.pool import ParserPool
from docnats.telemetry import tracing_for
from docnats.worker.known import ResultNotes
from docnats.worker.processing import Tools
from docnats.worker.quarantine import Quarantine
from docnats.worker.report import Report
from docnats.worker.retries import Pause
from docnats.worker.worker import Worker, new_worker_id


class NoTransfer:
    """Gives every job an empty document, and drops its results."""

    def check(self, message: JobMessage) -> None:
        """Allow everything: no place is used."""

    async def fetch(self, message: JobMessage, path: Path) -> str:
        """Write the document."""
        path.touch()
        return message.sha256 or ""

    async def store(self, message: JobMessage, part: str, content: Path | bytes) -> None:
        """Drop a result."""


class NoOpPool(ParserPool):
    """Parser processes that are sent what they would be, and parse nothing."""

    async def run(
        self, function: Callable[..., Any], *args: object, timeout: float, memory: int = 0
    ) -> Any:
        """Send a task to a process and wait for its result."""
        return await super().run(parse_nothing, *args, timeout=timeout)


class NoPool(ParserPool):
    """As above, but the processes are not even asked: what is left is the control plane."""

    async def run(
        self, function: Callable[..., Any], *args: object, timeout: float, memory: int = 0
    ) -> Any:
        """Return a result."""
        return ONE_PAGE


async def run_worker(pool: ParserPool) -> None:
    """Be docnats's worker until SIGTERM."""
    nats, config = NatsConfig(), ProcessingConfig()
    telemetry, worker_id = TelemetryConfig(), new_worker_id()
    async with Report(worker_id, telemetry) as report, pool, NatsBus(nats) as bus:
        await bus.ensure()
        tools = Tools(
            worker=worker_id,
            bus=bus,
            transfer=NoTransfer(),
            pool=pool,
            quarantine=Quarantine(bus, config.memory_limit),
            notes=ResultNotes(bus),
            pause=Pause(),
            config=config,
            max_deliver=nats.max_deliver,
            lease_seconds=nats.ack_wait,
            observer=report.observer,
            tracing=tracing_for("docnats-worker", telemetry),
        )
        worker = Worker(tools)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.run()


def main() -> None:
    """Be the worker."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noop", description=__doc__)
    parser.add_argument("--parsers", type=int, default=2)
    parser.add_argument("--no-processes", action="store_true")
    options = parser.parse_args()
    kind = NoPool if options.no_processes else NoOpPool
    pool = kind(
        options.parsers,
        memory_limit=ProcessingConfig().memory_limit,
        preload=("docnats.parsing.preload", "benchmarks.nothing"),
    )
    asyncio.run(run_worker(pool))


if __name__ == "__main__":
    main()
