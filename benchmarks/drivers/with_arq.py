"""arq with Redis: no-op jobs on one asyncio worker."""

from __future__ import annotations

import asyncio
import os
import sys

from arq import create_pool
from arq.connections import RedisSettings
from serving import redis_server, serve, workers

SOCKET = "DOCNATS_BENCHMARK_REDIS"


async def no_op(_: object, number: int) -> int:
    """Do nothing."""
    return number


class WorkerSettings:
    """What the worker runs."""

    functions = (no_op,)
    redis_settings = RedisSettings(unix_socket_path=os.environ.get(SOCKET))


async def enqueue_and_wait(pool: object, jobs: int) -> None:
    """Queue jobs and wait for the result of each."""
    queued = [await pool.enqueue_job("no_op", number) for number in range(jobs)]
    for job in queued:
        await job.result(timeout=600, poll_delay=0.05)


def main() -> None:
    """Start Redis and a worker, and serve."""
    with redis_server() as socket, asyncio.Runner() as runner:
        os.environ[SOCKET] = socket
        with workers([sys.executable, "-m", "arq", "with_arq.WorkerSettings"]):
            pool = runner.run(create_pool(RedisSettings(unix_socket_path=socket)))

            def run(jobs: int) -> None:
                runner.run(enqueue_and_wait(pool, jobs))

            run(1)
            serve(run, "arq", "redis-server")


if __name__ == "__main__":
    main()
