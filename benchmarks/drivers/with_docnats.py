"""docnats: no-op jobs through its real client, nats-server and worker; nothing goes to S3."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable
from typing import Any, Self

from benchmarks.drivers.serving import serve
from benchmarks.measure import cpu_seconds, peak_memory
from docnats.bus import NatsBus
from docnats.config import S3Config
from docnats.service import S3DocumentClient
from docnats.stack import LocalStack
from docnats.storage import StoredObject

NOT_USED = S3Config(endpoint_url="http://127.0.0.1:9")
DOCUMENT = b"%PDF-1.7\n"


class NoStorage:
    """Takes documents and keeps nothing; as much of a storage as a client needs."""

    bucket = "documents"

    def patient(self) -> Self:
        """Wait for nothing."""
        return self

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        """Keep nothing; no two documents are the same."""
        return StoredObject(key, len(data), f"{hash(key) % 2**64:064x}")

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete nothing."""
        list(keys)


class Client(S3DocumentClient):
    """The real client on a real bus, with no storage."""

    def __init__(self, bus: NatsBus) -> None:
        super().__init__(NOT_USED)
        self._ports = (bus, NoStorage())


async def process(stack: LocalStack, jobs: int) -> None:
    """Submit jobs and follow them to their ends, as ``docnats.submit_many`` does."""
    async with NatsBus(stack.nats) as bus:
        await bus.ensure()
        documents = {f"{number:06}.pdf": DOCUMENT for number in range(jobs)}
        batch = await Client(bus).submit(documents, force=True)
        table = await batch.follow()
        states = {job.state for job in table.records()}
        assert states == {"done"}, states


def main() -> None:
    """Start a nats-server and a worker, and serve: each piece of work is a number of jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parsers", type=int)
    parser.add_argument("--no-processes", action="store_true")
    options = parser.parse_args()
    worker = [sys.executable, "-m", "benchmarks.noop"]
    if options.no_processes:
        worker.append("--no-processes")
    stack = LocalStack(
        workers=1, parsers=options.parsers, s3=NOT_USED, embedded=True, worker_command=worker
    )
    with stack, asyncio.Runner() as runner:
        servers = {process.name: process.pid for process in stack.processes()}
        everybody = {"client": os.getpid(), **servers}

        def run(jobs: int) -> dict[str, Any]:
            before = {who: cpu_seconds([pid]) for who, pid in everybody.items()}
            runner.run(process(stack, jobs))
            return {
                "cpu_seconds": {w: cpu_seconds([pid]) - before[w] for w, pid in everybody.items()},
                "peak_bytes": {who: peak_memory(pid) for who, pid in everybody.items()},
            }

        run(1)
        serve(run, "docnats", "nats-py", processes=list(servers.values()))


if __name__ == "__main__":
    main()
