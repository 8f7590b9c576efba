"""Celery with Redis as broker and result backend: no-op tasks in prefork workers."""

from __future__ import annotations

import os
import sys

from celery import Celery, group
from serving import redis_server, serve, workers

URL = "DOCNATS_BENCHMARK_REDIS"
app = Celery("with_celery")
app.conf.task_acks_late = True  # as docnats: a task whose worker dies is not lost
if URL in os.environ:
    app.conf.broker_url = f"redis+socket://{os.environ[URL]}"
    app.conf.result_backend = app.conf.broker_url


@app.task
def no_op(number: int) -> int:
    """Do nothing."""
    return number


def main() -> None:
    """Start Redis and a worker, and serve."""
    with redis_server() as socket:
        os.environ[URL] = socket
        app.conf.broker_url = app.conf.result_backend = f"redis+socket://{socket}"
        command = [sys.executable, "-m", "celery", "-A", "with_celery", "worker"]
        with workers([*command, "--concurrency", sys.argv[1], "--loglevel", "WARNING"]):

            def run(jobs: int) -> None:
                tasks = [no_op.s(number) for number in range(jobs)]
                results = group(tasks).apply_async().join_native(timeout=600)
                assert len(results) == jobs

            run(1)
            serve(run, "celery", "redis-server")


if __name__ == "__main__":
    main()
