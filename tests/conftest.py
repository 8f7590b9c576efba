"""Real servers for everybody: started once, on free ports of 127.0.0.1, gone at the end.

They end with this process, also when it is killed: the stack's own supervisor owns them.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from docnats.config import NatsConfig, S3Config, StackConfig
from docnats.stack import LocalStack, servers
from docnats.stack.binaries import S3Backend, S3Binary, find_nats_server, find_s3_server
from docnats.stack.client import Supervisor
from docnats.stack.home import Home
from docnats.stack.servers import NatsServer, Server
from tests.waiting import eventually

FOREIGN = ("NATS_", "S3_", "AWS_", "DOCNATS_", "OTEL_", "USE_S3_STORAGE", "DEBUG")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
KEPT = "DOCNATS_CORPUS"

settings.register_profile("docnats", deadline=None)  # no assertion on wall time
settings.load_profile("docnats")

SOMEWHERE_ELSE = "http://127.0.0.1:9"


@pytest.fixture(scope="session", autouse=True)
def _no_foreign_environment() -> Iterator[None]:
    """Nothing of the developer's environment leaks into a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in tuple(os.environ):
            if name != KEPT and (name.startswith(FOREIGN) or name.upper() in PROXIES):
                patch.delenv(name)
        # Most tests are about processing, and many process the same few documents.
        patch.setenv("DOCNATS_REUSE_RESULTS", "false")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(autouse=True)
def _home_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCNATS_HOME", str(tmp_path / "docnats-home"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, also where a shell runs the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def _session_nats() -> Iterator[NatsConfig]:
    elsewhere = S3Config(endpoint_url=SOMEWHERE_ELSE)
    with LocalStack(workers=0, s3=elsewhere) as stack:
        yield stack.nats


@pytest.fixture
def nats_config(_session_nats: NatsConfig) -> NatsConfig:
    """Return how to reach a running nats-server, with a namespace of the test's own."""
    return _session_nats.but(
        namespace=f"test-{uuid.uuid4().hex[:12]}", connect_timeout=5, request_timeout=5
    )


@pytest.fixture(params=list(S3Backend), ids=str)
def s3_binary(request: pytest.FixtureRequest) -> S3Binary:
    """Return an S3 server program; every test that needs one runs with each kind."""
    if request.param is S3Backend.MINIO:
        return _minio()
    return find_s3_server(StackConfig(), S3Backend.SEAWEEDFS)


@pytest.fixture(scope="session")
def _session_s3() -> Iterator[Callable[[S3Binary], S3Config]]:
    """Yield a function that starts each S3 server at its first use."""
    started: dict[Path, LocalStack] = {}

    def reach(binary: S3Binary) -> S3Config:
        if binary.path not in started:
            config = StackConfig(s3_server=binary.path)
            stack = LocalStack(workers=0, config=config, nats=NatsConfig())
            started[binary.path] = stack.start()
        return started[binary.path].s3

    yield reach
    for stack in started.values():
        stack.stop()


@pytest.fixture
def s3_config(_session_s3: Callable[[S3Binary], S3Config], s3_binary: S3Binary) -> S3Config:
    """Return how to reach a running S3 server; its bucket is the test's own to create."""
    return _session_s3(s3_binary).but(bucket_name=f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[RestartableServer]:
    """Yield a nats-server of the test's own that can be killed and restarted."""
    home = Home(tmp_path / "nats-server")
    server = NatsServer(home, find_nats_server(StackConfig()), NatsConfig())
    yield from _restartable(server, home)


@pytest.fixture
def s3_server(tmp_path: Path, s3_binary: S3Binary) -> Iterator[RestartableServer]:
    """Yield an S3 server of the test's own that can be killed and restarted."""
    home = Home(tmp_path / "s3-server")
    yield from _restartable(servers.s3_server(home, s3_binary, S3Config()), home)


@pytest.fixture
def local_stack() -> Iterator[Callable[..., LocalStack]]:
    """Yield a function that starts a ``LocalStack``; all of them end with the test."""
    started: list[LocalStack] = []

    def start(**options: Any) -> LocalStack:
        stack = LocalStack(**options)
        started.append(stack)
        return stack.start()

    yield start
    for stack in reversed(started):
        stack.stop()


class RestartableServer:
    """A server that stays dead when it is killed, until it is restarted on its old port."""

    def __init__(self, server: Server, supervisor: Supervisor) -> None:
        self._server = server
        self._supervisor = supervisor
        server.choose_ports(fresh=False)
        self.restart()

    @property
    def config(self) -> Any:
        """How to reach it; stays the same."""
        return self._server.config

    @property
    def pid(self) -> int:
        """Its current process."""
        return self._supervisor.process(self._server.name).pid

    def signal(self, number: int) -> None:
        """Send it a signal, for example SIGSTOP."""
        self._supervisor.kill(self._server.name, number)

    def kill(self) -> None:
        """Kill it as the kernel does when memory runs out; it is gone on return."""
        self.signal(signal.SIGKILL)
        eventually(lambda: not self._supervisor.process(self._server.name).running, within=60)

    def stop(self) -> None:
        """End it as an operator does; it is gone on return."""
        self._supervisor.stop(self._server.name)

    def restart(self) -> None:
        """Start it, with the data it had; it does its work on return."""
        name, command = self._server.name, self._server.command(self._supervisor.runtime)
        self._supervisor.spawn(name, command)
        with ThreadPoolExecutor(1) as thread:  # an event loop may be running in this one
            thread.submit(eventually, self._server.is_ready, within=60).result()


def _restartable(server: Server, home: Home) -> Iterator[RestartableServer]:
    supervisor = Supervisor.launch(home.logs)
    try:
        yield RestartableServer(server, supervisor)
    finally:
        supervisor.close()


def _minio() -> S3Binary:
    go = (os.environ.get("GOBIN"), Path.home() / "go" / "bin")
    places = [*os.get_exec_path(), Path(sys.prefix) / "bin", *filter(None, go)]
    for place in places:
        for name in ("silo", "minio"):
            path = Path(place) / name
            if path.is_file() and os.access(path, os.X_OK):
                return S3Binary(S3Backend.MINIO, path)
    pytest.skip("no minio or silo on PATH, beside Python or in Go's bin directory")
