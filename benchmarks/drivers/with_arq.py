"""arq with Redis: no-op jobs on one asyncio worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from os import environ
from pathlib import Path

from arq import create_pool
from arq.connections import RedisSettings
from serving import redis_server, serve

SOCKET = "DOCNATS_BENCHMARK_REDIS"


async def no_op(_: object, number: int) -> int:
    """Do nothing."""
    return number


class WorkerSettings:
    """What the worker runs."""

    functions = (no_op,)
    redis_settings = RedisSettings(unix_socket_path=environ.get(SOCKET))


async def enqueue_and_wait(pool: object, jobs: int) -> None:
    """Queue jobs and wait for the result of each."""
    queued = [await pool.enqueue_job("no_op", number) for number in range(jobs)]
    for job in queued:
        await job.result(timeout=600, poll_delay=0.05)


def main() -> None:
    """Start Redis and a worker, and serve."""
    with redis_server() as socket, asyncio.Runner() as runner:
        command = [sys.executable, "-m", "arq", "with_arq.WorkerSettings"]
        worker = subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            env=environ | {SOCKET: socket},
            stdout=subprocess.DEVNULL,
        )
        try:
            pool = runner.run(create_pool(RedisSettings(unix_socket_path=socket)))

            def run(jobs: int) -> None:
                runner.run(enqueue_and_wait(pool, jobs))

            run(1)
            serve(run, "arq", "redis-server")
        finally:
            worker.terminate()
            worker.wait(30)


if __name__ == "__main__":
    main()
