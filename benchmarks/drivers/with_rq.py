"""RQ with Redis: no-op jobs; its usual worker forks for each, SimpleWorker does not."""

from __future__ import annotations

import sys
import time

from redis import Redis
from rq import Queue
from serving import redis_server, serve, workers

POLL_SECONDS = 0.05


def no_op(number: int) -> int:
    """Do nothing."""
    return number


def main() -> None:
    """Start Redis and workers of the class that is named, and serve."""
    with redis_server() as socket:
        command = [sys.executable, "-m", "rq.cli", "worker", "--quiet"]
        command += ["--url", f"unix://{socket}", "--worker-class", sys.argv[2]]
        with workers(command, int(sys.argv[1])):
            queue = Queue(connection=Redis(unix_socket_path=socket))

            def run(jobs: int) -> None:
                done = queue.finished_job_registry.get_job_count()
                calls = [Queue.prepare_data("with_rq.no_op", (number,)) for number in range(jobs)]
                queue.enqueue_many(calls)
                while queue.finished_job_registry.get_job_count(cleanup=False) < done + jobs:
                    time.sleep(POLL_SECONDS)

            run(1)
            serve(run, "rq", "redis-server")


if __name__ == "__main__":
    main()
