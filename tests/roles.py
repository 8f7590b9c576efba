"""Workers and signers as processes, each with settings of its own, and HTTP servers that watch."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from docnats.config import NatsConfig, S3Config
from docnats.stack.environment import worker_environment

STOP_SECONDS = 60


def without_credentials(s3: S3Config) -> S3Config:
    """Return the settings of one who has to do with presigned URLs."""
    return s3.but(aws_access_key_id=None, aws_secret_access_key=None)


@contextmanager
def running(
    *arguments: str, s3: S3Config, nats: NatsConfig, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``docnats …`` with these settings; SIGTERM at the end, and it has ended on return."""
    environment = worker_environment(s3, nats) | {"DEBUG": "true"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "docnats", *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()


class Watcher(ThreadingHTTPServer):
    """An HTTP server that keeps every request it gets; it redirects, if told where to."""

    daemon_threads = True

    def __init__(self, location: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.location = location
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Watcher

    def _answer(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(307 if self.server.location else 200)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_HEAD = do_POST = _answer  # noqa: N815 - the names of http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def watching(location: str | None = None) -> Iterator[Watcher]:
    """Run a :class:`Watcher`."""
    with Watcher(location) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
