"""One parser process, with the Pebble pool that starts, watches and kills it."""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from enum import StrEnum
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from docnats.config.machine import cores
from docnats.errors import ErrorType, ParseError
from docnats.pool import child
from docnats.pool.child import Confinement
from docnats.pool.sandbox import Protections

__all__ = ["Slot", "Spent"]

START_SECONDS = 60.0
"""How long a process may take to start; the first one waits for what is preloaded."""

WATCHDOG_SECONDS = 10.0
"""A task that Pebble has lost sight of is given up this long after its time limit."""

MAX_RESIDENT = 600_000_000
"""Bytes a process may hold between two tasks; honest documents leave 100 to 250 MB."""

KEPT_SHARE = 0.25
"""Of the memory that a task asks for, what may stay for the next one: models, for example."""

_LAST_WORDS = 300
"""Characters kept of what a process wrote before it died."""


class Spent(StrEnum):
    """Why another process should take the place of one."""

    DIED = "died"
    """It crashed, ran out of memory or was killed."""
    TIMEOUT = "timeout"
    """Its task took too long."""
    CANCELLED = "cancelled"
    """Nobody waits for its task any more."""
    TASKS = "tasks"
    """It had its share of them."""
    MEMORY = "memory"
    """It kept too much."""


class Slot:
    """A place for one task at a time.

    Parameters
    ----------
    context
        Starts the process.
    confinement : Confinement
        What the process may use; its stderr and temporary folder go with the slot.
    max_tasks : int
        Tasks until the slot counts as spent.

    Attributes
    ----------
    spent : Spent or None
        Why another slot should take its place; None: it need not.
    """

    def __init__(self, context: BaseContext, confinement: Confinement, *, max_tasks: int) -> None:
        self.spent: Spent | None = None
        self._tasks_left = max_tasks
        self._confinement = confinement
        self._memory = 0
        self._pool = ProcessPool(
            max_workers=1,
            initializer=child.confine,
            initargs=(confinement,),
            context=context,
        )

    async def start(self) -> Protections:
        """Start the process, wait until it works, and return how it is protected."""
        # No thread waits for it: one would go on to wait for a process that has been stopped.
        future = await asyncio.to_thread(self._pool.schedule, child.protections)
        async with asyncio.timeout(START_SECONDS):
            protections: Protections = await asyncio.wrap_future(future)
        return protections

    def stop(self) -> None:
        """Kill the process, whatever it does."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        Path(self._confinement.stderr).unlink(missing_ok=True)
        shutil.rmtree(self._confinement.temporary, ignore_errors=True)

    async def run(
        self, function: Callable[..., Any], args: tuple[object, ...], timeout: float, memory: int
    ) -> Any:
        """Call a function in the process; the parameters are those of :meth:`ParserPool.run`.

        Raises
        ------
        TimeoutError
            It took longer than ``timeout`` seconds; the process is killed.
        ProcessExpired
            The process died; see :meth:`cause_of_death`.
        BrokenProcessPool
            The process had died before.
        ParseError
            ``crashed``: what it sent is no result.
        """
        self._tasks_left -= 1
        self._memory = max(self._memory, memory)
        try:
            future = self._schedule(function, args, timeout)
            async with asyncio.timeout(timeout + WATCHDOG_SECONDS):
                result, resident = await asyncio.wrap_future(future)
        except TimeoutError:
            self.spent = Spent.TIMEOUT
            raise
        except asyncio.CancelledError:
            self.spent = Spent.CANCELLED
            raise
        except ProcessExpired:
            self.spent = Spent.DIED
            raise
        except BrokenProcessPool as broken:
            self.spent = Spent.DIED
            if isinstance(broken.__cause__, pickle.PicklingError):
                msg = f"what the parser process sent is no result: {broken.__cause__}"
                raise ParseError(ErrorType.CRASHED, msg) from broken
            raise
        if resident > max(MAX_RESIDENT, self._memory * KEPT_SHARE):
            self.spent = Spent.MEMORY
        elif self._tasks_left <= 0:
            self.spent = Spent.TASKS
        return result

    def _schedule(
        self, function: Callable[..., Any], args: tuple[object, ...], timeout: float
    ) -> Any:
        try:
            task = (function, args, timeout * _cores(), self._memory)
            return self._pool.schedule(child.call, task, timeout=timeout)
        except RuntimeError as error:
            raise BrokenProcessPool("the parser process died while it was idle") from error

    def cause_of_death(self, expired: ProcessExpired) -> ParseError:
        """Tell what the process died of, with its last words.

        SIGPROF comes from a limit of processor time that a task has set for itself, SIGXCPU
        from the one that all have.
        """
        code = expired.exitcode
        last_words = self._last_words()
        if code == child.OUT_OF_MEMORY or "bad_alloc" in last_words:
            allowed = max(self._confinement.memory_limit, self._memory)
            limit = f"{allowed / (1 << 20):,.0f} MiB"
            return ParseError(
                ErrorType.OUT_OF_MEMORY,
                f"parsing needs more memory than the limit of {limit} (DOCNATS_MEMORY_LIMIT)",
            )
        if code == -signal.SIGKILL:
            return ParseError(
                ErrorType.OUT_OF_MEMORY,
                "the parser process was killed from outside, most often because the machine "
                "or the container ran out of memory: give it more, or use fewer processes",
                transient=True,
            )
        if code in (-signal.SIGPROF, -signal.SIGXCPU):
            return ParseError(ErrorType.TIMEOUT, "parsing needs too much processor time")
        how = f"of {_signal_name(-code)}" if code < 0 else f"with exit code {code}"
        message = f"the parser process died {how}"
        return ParseError(ErrorType.CRASHED, f"{message}: {last_words}" if last_words else message)

    def _last_words(self) -> str:
        try:
            with Path(self._confinement.stderr).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 4 * _LAST_WORDS))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return " ".join(text.split())[-_LAST_WORDS:]


_cores = functools.cache(cores)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
