"""The one session of a kernel or script: settings, connections, the background loop."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from docnats.config import NatsConfig, ProcessingConfig, S3Config
from docnats.errors import StackError
from docnats.notebook.loop import BackgroundLoop, Call
from docnats.service import S3DocumentService
from docnats.stack import LocalStack, NamedServers

if TYPE_CHECKING:
    from docnats.telemetry.client import ClientEndpoint

__all__ = ["Session", "close_session", "current_session", "replace_session"]

_CHECK_SECONDS = 2.0
"""How often the embedded stack is looked at while something waits for it."""

WORKER_START_SECONDS = 30.0
"""How long the embedded stack's first worker may take to appear."""

T = TypeVar("T")


class Session:
    """What the blocking functions of docnats share.

    Parameters
    ----------
    s3, nats, processing : optional
        Settings; by default those of the environment. A server that neither they nor the
        environment name is started by docnats itself, with a worker.
    embedded : bool
        Use embedded servers, whatever the environment names.
    """

    def __init__(
        self,
        s3: S3Config | None = None,
        nats: NatsConfig | None = None,
        processing: ProcessingConfig | None = None,
        *,
        embedded: bool = False,
    ) -> None:
        self.loop = BackgroundLoop()
        self.processing = processing or ProcessingConfig()
        self._embedded = embedded
        named = NamedServers.find(s3, nats, embedded=embedded)
        self._s3, self._nats = named.s3, named.nats
        self._lock = threading.Lock()
        self._stack: LocalStack | None = None
        self._service: S3DocumentService | None = None
        self._calls: set[Call[Any]] = set()
        self._endpoint: ClientEndpoint | None = None

    def but(
        self,
        *,
        s3: S3Config | None = None,
        nats: NatsConfig | None = None,
        processing: ProcessingConfig | None = None,
    ) -> Session:
        """Return a session that is not connected yet, with another server or other settings."""
        s3, nats = s3 or self._s3, nats or self._nats
        return Session(s3, nats, processing or self.processing, embedded=self._embedded)

    @property
    def home(self) -> Path | None:
        """Where the embedded stack keeps its data; None without one."""
        return self._stack.home if self._stack else None

    @property
    def stack(self) -> LocalStack | None:
        """The embedded stack, once it was started; None without one."""
        return self._stack

    def endpoints(self) -> tuple[S3Config | None, NatsConfig]:
        """Return where the servers are; starts the embedded ones that are needed.

        There is no S3 where documents are kept in the NATS Object Store.

        Raises
        ------
        StackError
            They could not be started.
        """
        use_s3 = self.processing.use_s3_storage
        if self._nats is not None and (self._s3 is not None or not use_s3):
            return self._s3, self._nats
        if self._stack is None:
            stack = LocalStack.default(
                s3=self._s3, nats=self._nats, use_s3=use_s3, embedded=self._embedded
            )
            self._stack = stack.start()
        return self._stack.s3 if use_s3 else None, self._stack.nats

    def service(self) -> S3DocumentService:
        """Return the connected service; connects at the first call."""
        with self._lock:
            if self._service is None:
                s3, nats = self.endpoints()
                service = S3DocumentService(s3, nats, self.processing)
                self.loop.run(service.connect())
                self._service = service
                self._observe()
            return self._service

    def serve_metrics(self, host: str, port: int) -> str:
        """Count what is submitted from now on, serve it, and return where.

        A second call, as of a cell that is run again, changes the place at most.

        Raises
        ------
        ConfigError
            It cannot listen there; what was served before goes on.
        """
        from docnats.telemetry.client import ClientEndpoint

        before = self._endpoint
        if before is not None and before.host == host and port in (0, before.port):
            return before.metrics_url
        endpoint = ClientEndpoint(host, port, before.metrics if before else None)
        self._begin_to_serve(endpoint)
        if before is not None:
            self.loop.run(before.__aexit__(None, None, None))
        return endpoint.metrics_url

    def _begin_to_serve(self, endpoint: ClientEndpoint) -> None:
        self.loop.run(endpoint.__aenter__())
        self._endpoint = endpoint
        self._observe()

    def _observe(self) -> None:
        if self._service is not None and self._endpoint is not None:
            self._service.observer = self._endpoint.metrics

    def take_over(self, earlier: Session) -> None:
        """Serve the metrics that a session served which was closed."""
        if earlier._endpoint is not None:
            self._begin_to_serve(earlier._endpoint)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the background loop and return its result.

        Raises
        ------
        Exception
            What the coroutine raises; or what a call in the background ended with since the
            last call, so that nobody can miss it. The coroutine is not run then.
        """
        try:
            self._raise_failure()
        except BaseException:
            coroutine.close()
            raise
        return self.loop.run(self._guard(coroutine))

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Call[T]:
        """Start a coroutine on the background loop and return at once."""
        call = self.loop.start(self._guard(coroutine))
        self._calls.add(call)
        call.outcome.add_done_callback(lambda _: self._forget(call, even_failed=False))
        return call

    def wait(self, call: Call[T]) -> T:
        """Wait for a call; one that is interrupted here goes on in the background."""
        try:
            return self.loop.wait(call)
        finally:
            if call.outcome.done():
                self._forget(call, even_failed=True)

    def _forget(self, call: Call[Any], *, even_failed: bool) -> None:
        if even_failed or not _failure(call):
            self._calls.discard(call)

    def _raise_failure(self) -> None:
        for call in tuple(self._calls):
            if call.outcome.done() and (error := _failure(call)):
                self._calls.discard(call)
                error.add_note(
                    "This happened in the background, after an earlier docnats call had returned. "
                    "The call just made was not begun: make it again."
                )
                raise error

    async def _guard(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine, unless a process of the embedded stack fails for good.

        It is cancelled then, with the reason.
        """
        work = asyncio.ensure_future(coroutine)
        why: str | None = None
        try:
            while not (await asyncio.wait([work], timeout=_CHECK_SECONDS))[0]:
                if self._stack is not None:
                    await asyncio.to_thread(self._stack.check)
            return work.result()
        except StackError as error:
            why = str(error)
            raise
        finally:
            if not work.done():
                work.cancel(why)
                await asyncio.wait([work])

    def close(self) -> None:
        """Close the connections and leave the embedded stack; nothing is lost on it."""
        if not self.loop.alive:
            return
        self.loop.cancel(*self._calls)
        self._calls.clear()
        if self._endpoint is not None:
            self.loop.run(self._endpoint.__aexit__(None, None, None))
        if self._service is not None:
            self.loop.run(self._service.close())
            self._service = None
        self.loop.close()
        if self._stack is not None:
            self._stack.stop()
            self._stack = None


def _failure(call: Call[Any]) -> BaseException | None:
    """Return what a call that is done failed with, unless it was cancelled."""
    error = call.outcome.exception()
    return None if isinstance(error, concurrent.futures.CancelledError) else error


_current: list[Session] = []
_lock = threading.Lock()


def current_session() -> Session:
    """Return the session, made at the first call; a forked process gets its own."""
    with _lock:
        if not _current or not _current[0].loop.alive:
            _current[:] = [Session()]
        return _current[0]


def replace_session(session: Session) -> None:
    """Close the current session and go on with another."""
    with _lock:
        old, _current[:] = list(_current), [session]
    for one in old:
        one.close()
        session.take_over(one)


@atexit.register
def close_session() -> None:
    """Close the session, if there is one; also done when the interpreter ends."""
    with _lock:
        old, _current[:] = list(_current), []
    for one in old:
        one.close()
