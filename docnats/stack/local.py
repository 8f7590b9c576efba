"""A whole docnats on this machine: servers and workers, started and stopped together."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import platformdirs

from docnats.config import NatsConfig, ProcessingConfig, S3Config, StackConfig
from docnats.errors import StackError
from docnats.stack.bootstrap import Bootstrap
from docnats.stack.client import ProcessStatus, Supervisor
from docnats.stack.environment import nats_variables, storage_variables
from docnats.stack.home import Home
from docnats.stack.named import NamedServers
from docnats.stack.scaling import Target
from docnats.stack.startup import explain_end
from docnats.stack.watch import Inspection, Watch
from docnats.stack.workers import WORKER_COMMAND, Workers, checked_count

__all__ = ["LocalStack"]

T = TypeVar("T")


class LocalStack:
    """A nats-server, an S3 server and workers, as child processes on 127.0.0.1.

    Where documents are kept in NATS (``use_s3``), there is no S3 server.

    Everything ends when the last process that uses the stack has ended or has left it, be
    it by SIGKILL; an interrupt of this process does not touch it. Use it with ``with`` or
    ``async with``, or call :meth:`start` and :meth:`stop`; both also work while an event
    loop runs in this thread, as in a notebook's cell.

    Parameters
    ----------
    home : path, optional
        Where data and logs are kept; processes that name the same home share one stack.
        Default: a private temporary directory, removed at the end.
    workers : int or "auto"
        At least so many workers run; 0 for the servers alone. ``"auto"`` has one, and more
        while there are more jobs, up to the cores and the memory of this machine.
    parsers : int, optional
        Parser processes of each worker; by default one a core, as far as there is memory for
        them, with ``"auto"`` one. A long document is parsed by all parsers of its worker, and
        of no other.
    config : StackConfig, optional
        Default: from the environment.
    s3, nats : S3Config, NatsConfig, optional
        A server to use instead of an embedded one. Default: what the environment names
        (``S3_ENDPOINT_URL`` or ``S3_BUCKET``; ``NATS_URL``), else an embedded server.
    use_s3 : bool, optional
        Documents and results are in S3; otherwise in the NATS Object Store. Default:
        ``USE_S3_STORAGE``.
    embedded : bool
        Embed the servers, whatever the environment names.
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
        home: str | os.PathLike[str] | None = None,
        workers: int | Literal["auto"] = 1,
        parsers: int | None = None,
        config: StackConfig | None = None,
        s3: S3Config | None = None,
        nats: NatsConfig | None = None,
        use_s3: bool | None = None,
        embedded: bool = False,
        worker_command: Sequence[str] = WORKER_COMMAND,
        worker_environment: Mapping[str, str] | None = None,
    ) -> None:
        self._path = None if home is None else Path(home)
        self._auto = workers == "auto"
        self._least = 1 if workers == "auto" else checked_count(workers)
        self._parsers = 1 if self._auto and parsers is None else parsers
        self._config = config or StackConfig()
        self._use_s3 = ProcessingConfig().use_s3_storage if use_s3 is None else use_s3
        self._named = NamedServers.find(s3, nats, embedded=embedded)
        options = [] if self._parsers is None else ["--parsers", str(self._parsers)]
        self._worker_command = (*worker_command, *options)
        self._variables = dict(worker_environment or {})
        self._cancelled = threading.Event()
        self._supervisor: Supervisor | None = None
        self._watch: Watch | None = None
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
        if not self._use_s3:
            msg = (
                "this stack has no S3: it keeps documents in the NATS Object Store "
                "(USE_S3_STORAGE=false)"
            )
            raise StackError(msg)
        return _started(self._s3)

    @property
    def nats(self) -> NatsConfig:
        """How to reach the NATS server."""
        return _started(self._nats)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which other processes use this stack; they hold credentials."""
        return storage_variables(self._s3) | nats_variables(self.nats)

    def start(self) -> Self:
        """Join the stack of this home, or start it; return when its servers do their work."""
        if self._supervisor is not None:
            return self
        self._cancelled.clear()
        if self._path is not None:
            self._enter(Home(self._path), temporary=False)
            return self
        directory = Path(tempfile.mkdtemp(prefix="docnats-data-"))
        try:
            self._enter(Home(directory), temporary=True)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return self

    def stop(self) -> None:
        """Leave the stack; its last user waits until all of it has ended."""
        self._end_watch()
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

        A process that ends unexpectedly is started again, after a pause that grows; it has
        failed for good when it ended within seconds of its start several times in a row.
        """
        for process in self.processes():
            if process.failed:
                raise StackError(explain_end(process))

    def add_worker(self) -> str:
        """Start one more worker and return its name."""
        added = self._workers().add()
        self._look_after_workers()
        return added

    def stop_worker(self, name: str) -> None:
        """Let a worker finish or hand back what it works at and end."""
        _started(self._supervisor).stop(name)

    def scale(self, workers: int) -> int:
        """Have so many workers from now on; the last ones are stopped first.

        A stopped worker finishes or hands back what it works at. This ends ``"auto"``.

        Parameters
        ----------
        workers : int
            What this process needs. Another one that shares the stack may need more.

        Returns
        -------
        int
            How many there are now: the most that one of the stack's users needs.

        Examples
        --------
        >>> with LocalStack() as stack:  # doctest: +SKIP
        ...     stack.scale(4)
        4
        """
        count = self._workers().scale(checked_count(workers))
        self._end_watch()
        self._auto, self._least = False, workers
        self._look_after_workers()
        return count

    def kill(self, name: str, signal: int = SIGKILL, *, pid: int | None = None) -> int | None:
        """Send a signal to a server or worker, to see what happens.

        One that it kills is started again in a moment, however often.

        Parameters
        ----------
        name : str
            ``nats``, ``s3``, ``worker-1``, …; see :meth:`processes`.
        signal : int
        pid : int, optional
            Send it only if the process still is this one.

        Returns
        -------
        int or None
            The process that gets it; None when it does not run at this moment.

        Raises
        ------
        StackError
            There is no process of that name.
        """
        return _started(self._supervisor).kill(name, signal, pid=pid)

    def _enter(self, home: Home, *, temporary: bool) -> None:
        bootstrap = Bootstrap(
            self._config, self._named, use_s3=self._use_s3, cancelled=self._cancelled
        )
        stack = bootstrap.enter(home, temporary=temporary)
        self._home, self._s3, self._nats = home, stack.s3, stack.nats
        self._supervisor = stack.supervisor
        try:
            self._have_workers()
        except BaseException:
            self.stop()
            raise

    def _workers(self) -> Workers:
        return Workers(
            _started(self._supervisor), self._s3, self.nats, self._worker_command, self._variables
        )

    def _have_workers(self) -> None:
        """Start the workers that this process needs, unless others have."""
        _started(self._supervisor).wish(self._least, scales=self._auto)
        if self._least:
            self._workers().fill(self._least)
            self._look_after_workers()

    def _look_after_workers(self) -> None:
        if self._watch is None:
            target = Target(self._parsers or 1) if self._auto else None
            inspection = Inspection(_started(self._supervisor), self._workers(), target)
            self._watch = Watch(inspection, self.nats)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None


def _started(thing: T | None) -> T:
    if thing is None:
        msg = "the stack is not running: call start(), or use it in a with block"
        raise StackError(msg)
    return thing
