"""One event loop on a daemon thread, on which every blocking call of docnats runs.

It works in a script, under a running loop (Jupyter), with any loop policy and after a fork;
the caller's own loop is never touched.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from docnats.errors import DocnatsError

__all__ = ["BackgroundLoop", "Call"]

T = TypeVar("T")

CLEANUP_SECONDS = 1.5
"""How long an interrupted call may take to clean up; it goes on cleaning up after that."""

STOP_SECONDS = 10.0
"""How long the loop's thread may take to end."""


class Call(Generic[T]):
    """A coroutine on its way to the loop or at work there.

    Attributes
    ----------
    outcome : concurrent.futures.Future
        Done only once the coroutine has ended, its cleanup included.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self.outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """Start the coroutine."""
        self._loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        """Cancel the coroutine, whether it has started or not."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        if not self.outcome.done():
            self._task = self._loop.create_task(self._coroutine)
            self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self.outcome.done():
            self._coroutine.close()
            self.outcome.set_exception(concurrent.futures.CancelledError())

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(concurrent.futures.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


class BackgroundLoop:
    """A lazily started event loop on a daemon thread of its own.

    Examples
    --------
    >>> loop = BackgroundLoop()
    >>> loop.run(asyncio.sleep(0, result="done"))
    'done'
    >>> loop.close()
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    @property
    def alive(self) -> bool:
        """Whether the loop can be used by this process: a fork leaves the thread behind."""
        return self._pid == os.getpid()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Call[T]:
        """Start a coroutine on the loop and return at once."""
        call = Call(self._running(), coroutine)
        call.begin()
        return call

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result.

        An interrupt cancels the coroutine, waits until it has cleaned up, and is raised.

        Raises
        ------
        DocnatsError
            Called on the loop's own thread, where it would wait for itself for ever.
        """
        try:
            self._refuse_own_thread()
        except DocnatsError:
            coroutine.close()
            raise
        call = Call(self._running(), coroutine)
        try:
            call.begin()
            return call.outcome.result()
        except BaseException:
            self.cancel(call)
            raise

    def wait(self, call: Call[T]) -> T:
        """Return the result of a call that was started; an interrupt leaves it going on.

        Raises
        ------
        DocnatsError
            Called on the loop's own thread.
        """
        self._refuse_own_thread()
        return call.outcome.result()

    def cancel(self, *calls: Call[Any]) -> None:
        """Cancel calls, and give them a moment to clean up."""
        going_on = [call for call in calls if not call.outcome.done()]
        for call in going_on:
            call.cancel()
        concurrent.futures.wait([call.outcome for call in going_on], timeout=CLEANUP_SECONDS)

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise DocnatsError(
                "a blocking docnats call was made on docnats' own event loop, for example from "
                "a progress callback: await the method of S3DocumentService instead"
            )

    def close(self) -> None:
        """Cancel what still runs, let it clean up, and end the loop and its thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None and self.alive:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=STOP_SECONDS)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="docnats-loop", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_end_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        if not task.cancelling():  # who cleans up already is not to be disturbed
            task.cancel()
    if others:
        await asyncio.wait(others)
