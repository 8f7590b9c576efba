"""A whole docnats on this machine: servers and workers, started and stopped together."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from types import TracebackType
from typing import Any, Self, TypeVar

import platformdirs

from docnats.config import NatsConfig, S3Config, StackConfig
from docnats.errors import StackError
from docnats.stack.binaries import find_nats_server, find_s3_server
from docnats.stack.client import Command, ProcessStatus, Supervisor
from docnats.stack.environment import (
    nats_from,
    nats_variables,
    s3_from,
    s3_variables,
    worker_environment,
)
from docnats.stack.home import Home, RunningStack
from docnats.stack.servers import MinioServer, NatsServer, SeaweedServer, s3_server
from docnats.stack.startup import RESTART_AFTER, explain_end, start_servers

__all__ = ["WORKER_COMMAND", "LocalStack"]

logger = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "docnats", "worker", "--grace", "5")
"""A worker that hands back its jobs well before the supervisor kills it."""

LOCK_POLL = 0.05

T = TypeVar("T")
C = TypeVar("C", S3Config, NatsConfig)


class LocalStack:
    """A nats-server, an S3 server and workers, as child processes on 127.0.0.1.

    Everything ends when the last process that uses the stack has ended or has left it, be
    it by SIGKILL; an interrupt of this process does not touch it. Use it with ``with`` or
    ``async with``, or call :meth:`start` and :meth:`stop`; both also work while an event
    loop runs in this thread, as in a notebook's cell.

    Parameters
    ----------
    home : Path, optional
        Where data and logs are kept; processes that name the same home share one stack.
        Default: a private temporary directory, removed at the end.
    workers : int
        At least so many workers run; 0 for the servers alone.
    parsers : int, optional
        Parser processes of each worker; the default is the worker's own.
    config : StackConfig, optional
        Default: from the environment.
    s3, nats : S3Config, NatsConfig, optional
        A server to use instead of an embedded one. Default: what the environment names
        (``S3_ENDPOINT_URL`` or ``S3_BUCKET``; ``NATS_URL``), else an embedded server.
    embedded : bool
        Embed both servers, whatever the environment names.
    worker_command : sequence of str
        What a worker is, without its options.
    worker_environment : mapping, optional
        Variables for the workers, over those of this process and of the stack.

    Attributes
    ----------
    home : Path
        Where data and logs are, from :meth:`start` on.

    Raises
    ------
    StackError
        From :meth:`start`: what is missing or went wrong, with the end of the log.

    Examples
    --------
    >>> with LocalStack(workers=2) as stack:  # doctest: +SKIP
    ...     print(stack.s3.endpoint_url, stack.nats.servers)
    """

    def __init__(  # noqa: PLR0913 - all but few calls give one or two
        self,
        *,
        home: Path | None = None,
        workers: int = 1,
        parsers: int | None = None,
        config: StackConfig | None = None,
        s3: S3Config | None = None,
        nats: NatsConfig | None = None,
        embedded: bool = False,
        worker_command: Sequence[str] = WORKER_COMMAND,
        worker_environment: Mapping[str, str] | None = None,
    ) -> None:
        self._path = home
        self._workers = workers
        self._config = config or StackConfig()
        self._given_s3 = s3 if s3 or embedded else _named(S3Config(), "endpoint_url", "bucket_name")
        self._given_nats = nats if nats or embedded else _named(NatsConfig(), "servers")
        options = [] if parsers is None else ["--parsers", str(parsers)]
        self._worker_command = (*worker_command, *options)
        self._worker_environment = dict(worker_environment or {})
        self._cancelled = threading.Event()
        self._supervisor: Supervisor | None = None
        self._home: Home | None = None
        self._s3: S3Config | None = None
        self._nats: NatsConfig | None = None

    @classmethod
    def default(cls, config: StackConfig | None = None, **options: Any) -> Self:
        """Return the stack that all processes of this user share; it keeps its data.

        Its home is ``DOCNATS_HOME``, else a directory in the user's data directory. The
        other parameters are those of the class.
        """
        config = config or StackConfig()
        home = config.home or platformdirs.user_data_path("docnats")
        return cls(home=home, config=config, **options)

    @property
    def home(self) -> Path:
        """Where data and logs are."""
        return _started(self._home).path

    @property
    def s3(self) -> S3Config:
        """How to reach the S3 server; the bucket exists."""
        return _started(self._s3)

    @property
    def nats(self) -> NatsConfig:
        """How to reach the NATS server."""
        return _started(self._nats)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which other processes use this stack; they hold credentials."""
        return s3_variables(self.s3) | nats_variables(self.nats)

    def start(self) -> Self:
        """Join the stack of this home, or start it; return when its servers do their work."""
        if self._supervisor is not None:
            return self
        self._cancelled.clear()
        if self._path is not None:
            self._start(Home(self._path))
            return self
        directory = Path(tempfile.mkdtemp(prefix="docnats-data-"))
        try:
            self._start(Home(directory))
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return self

    def stop(self) -> None:
        """Leave the stack; its last user waits until all of it has ended."""
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._cancelled.set()
            await asyncio.wait([starting])
            if starting.exception() is None:
                await asyncio.to_thread(self.stop)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    def processes(self) -> list[ProcessStatus]:
        """Return the state of every server and worker."""
        return _started(self._supervisor).processes()

    def check(self) -> None:
        """Raise ``StackError``, with the end of its log, if a process has failed for good.

        A process that ends unexpectedly is started again, except when it had run for a few
        seconds only.
        """
        for process in self.processes():
            if process.failed:
                raise StackError(explain_end(process))

    def add_worker(self) -> str:
        """Start one more worker and return its name."""
        supervisor = _started(self._supervisor)
        # What a killed worker leaves behind vanishes with the stack.
        temporary = {"TMPDIR": os.fspath(supervisor.runtime)}
        environment = worker_environment(self.s3, self.nats) | temporary | self._worker_environment
        command = Command(argv=self._worker_command, env=environment, cwd=Path.cwd())
        return supervisor.spawn("worker", command, numbered=True, restart_after=RESTART_AFTER).name

    def stop_worker(self, name: str) -> None:
        """Let a worker hand back what it works at and end."""
        _started(self._supervisor).stop(name)

    def kill(self, name: str, signal: int = SIGKILL) -> None:
        """Send a signal to a server or worker, to see what happens.

        A killed one is started again, unless it had run for a few seconds only.

        Parameters
        ----------
        name : str
            ``nats``, ``s3``, ``worker-1``, …; see :meth:`processes`.
        signal : int

        Raises
        ------
        StackError
            There is no process of that name.
        """
        _started(self._supervisor).kill(name, signal)

    def _start(self, home: Home) -> None:
        deadline = time.monotonic() + self._config.start_timeout
        try:
            while not self._join(home) and not self._launch(home):
                self._wait_for_other(home, deadline)
        except BaseException:
            self._cancelled.set()
            self.stop()
            raise
        finally:
            home.unlock()

    def _join(self, home: Home) -> bool:
        """Become a user of the stack that runs in this home; False if there is none."""
        running = home.running()
        if running is None or running.host != socket.gethostname():
            return False
        try:
            supervisor = Supervisor(Path(running.socket))
        except OSError:
            return False
        try:
            workers = [p for p in supervisor.processes() if p.name.startswith("worker-")]
        except StackError:  # it is about to end
            supervisor.close()
            return False
        self._supervisor, self._home = supervisor, home
        self._s3, self._nats = s3_from(running.s3), nats_from(running.nats)
        if not self._suits(running.embedded):
            msg = (
                f"the stack that runs in {home.path} uses other servers or another namespace "
                "than this process is configured for: set DOCNATS_HOME to another directory"
            )
            raise StackError(msg)
        for _ in range(self._workers - sum(worker.running for worker in workers)):
            self.add_worker()
        logger.info("joined the stack in %s", home.path)
        return True

    def _launch(self, home: Home) -> bool:
        """Start the stack of this home; False if another process has its lock."""
        lock = home.lock()
        if lock is None:
            return False
        home.clear_away()
        nats, s3 = self._servers(home)
        self._supervisor = Supervisor.launch(
            home.logs, inherit=[lock], remove=[] if self._path else [home.path]
        )
        start_servers(
            [server for server in (s3, nats) if server],
            self._supervisor,
            timeout=self._config.start_timeout,
            cancelled=self._cancelled,
        )
        self._home = home
        self._s3 = s3.config if s3 else self._given_s3
        self._nats = nats.config if nats else self._given_nats
        for _ in range(self._workers):
            self.add_worker()
        home.set_running(
            RunningStack(
                host=socket.gethostname(),
                socket=os.fspath(self._supervisor.address),
                embedded=[server.name for server in (s3, nats) if server],
                s3=s3_variables(self.s3),
                nats=nats_variables(self.nats),
            )
        )
        return True

    def _servers(self, home: Home) -> tuple[NatsServer | None, MinioServer | SeaweedServer | None]:
        """Return the servers to embed."""
        nats: NatsServer | None = None
        s3: MinioServer | SeaweedServer | None = None
        if self._given_nats is None:
            nats = NatsServer(home, find_nats_server(self._config), NatsConfig())
        if self._given_s3 is None:
            s3 = s3_server(home, find_s3_server(self._config, home.backend()), S3Config())
        return nats, s3

    def _wait_for_other(self, home: Home, deadline: float) -> None:
        """Wait a moment for another process that starts or ends the stack in this home."""
        running = home.running()
        host = running.host if running else socket.gethostname()
        if host != socket.gethostname() or time.monotonic() >= deadline:
            msg = (
                f"{home.path} is in use by a stack on {host}: end that one, or set "
                "DOCNATS_HOME to another directory"
            )
            raise StackError(msg)
        if self._cancelled.wait(LOCK_POLL):
            msg = "the start of the stack was given up"
            raise StackError(msg)

    def _suits(self, embedded: Sequence[str]) -> bool:
        """Tell whether the servers of the stack just joined are the ones wanted here."""
        s3, nats = self._given_s3, self._given_nats
        same_s3 = _same(s3, self.s3, "endpoint_url", "bucket_name") if s3 else "s3" in embedded
        same_nats = _same(nats, self.nats, "servers") if nats else "nats" in embedded
        same_namespace = (nats or NatsConfig()).namespace == self.nats.namespace
        return same_s3 and same_nats and same_namespace


def _started(thing: T | None) -> T:
    if thing is None:
        msg = "the stack is not running: call start(), or use it in a with block"
        raise StackError(msg)
    return thing


def _named(config: C, *fields: str) -> C | None:
    """Return a config if the environment set one of these fields, else None."""
    return config if config.model_fields_set & set(fields) else None


def _same(one: C, other: C, *fields: str) -> bool:
    return all(getattr(one, field) == getattr(other, field) for field in fields)
