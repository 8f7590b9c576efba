"""Parser processes for an asyncio program."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from pebble import ProcessExpired

from docnats.errors import ErrorType, ParseError, StackError
from docnats.pool.child import Confinement
from docnats.pool.forkserver import clean_context, ensure_server
from docnats.pool.sandbox import Protections, python_folders
from docnats.pool.slot import Slot

__all__ = ["ParserPool"]

log = logging.getLogger(__name__)

T = TypeVar("T")

STOP_SECONDS = 15.0
"""How long closing may take; Pebble gives a process 3 s before it kills it."""

RETRY_SECONDS = 1.0
"""Pause after a process could not be started, for example for lack of memory."""


class ParserPool:
    """Runs functions in processes that may crash, hang or run out of memory.

    Such a fault costs the task at work in that process and nothing else. The processes
    share neither the environment of this one nor its main module, write no core dumps, and
    end when this one does, however it ends. They are in a sandbox: see ``docs/sandbox.md``.

    Parameters
    ----------
    processes : int
        How many; as many tasks run at a time, the others wait their turn.
    memory_limit : int
        Bytes of address space of each (on Linux).
    most_memory : int
        Bytes that tasks may ask for, if that is more.
    max_tasks : int
        A process is replaced after so many tasks, or when it holds more than 600 MB and more
        than a quarter of what its tasks have asked for.
    preload : sequence of str
        Modules that are loaded once and then forked. All pools of a program share the
        server that does this, so the first pool decides.
    on_replaced : callable
        Told why, whenever a process gives place to another: one of :class:`~docnats.pool.Spent`.
    sandbox : {"auto", "require", "off"}
        Whether the processes give up their rights to the network and to files; ``auto`` goes
        on, with a warning, where the kernel lacks something.
    readable : sequence of Path
        Files and folders that tasks read besides Python's and the workspace.
    workspace : Path, optional
        An existing folder in which tasks may write; by default one that ends with the pool.

    Attributes
    ----------
    workspace : Path
        The folder in which tasks may write; all of them may read what is in it.

    Notes
    -----
    An async context manager, for one event loop. Its start hides this process's
    environment variables for some milliseconds: do so before anything reads them.

    Each process has a Pebble pool of its own. What goes wrong in one, a death while it
    holds a lock or a kill that comes a moment late, so hurts none of the others.

    Examples
    --------
    >>> async with ParserPool(2, memory_limit=2 << 30) as pool:  # doctest: +SKIP
    ...     await pool.run(parse, "paper.pdf", timeout=60)
    """

    def __init__(  # noqa: PLR0913 - most calls give one or two
        self,
        processes: int,
        *,
        memory_limit: int,
        most_memory: int = 0,
        max_tasks: int = 200,
        preload: Sequence[str] = (),
        on_replaced: Callable[[str], None] = lambda _: None,
        sandbox: Literal["auto", "require", "off"] = "auto",
        readable: Sequence[Path] = (),
        workspace: Path | None = None,
    ) -> None:
        self.processes = processes
        self.workspace = workspace or Path()
        self._own_workspace = workspace is None
        self._memory_limit = memory_limit
        self._most_memory = most_memory
        self._max_tasks = max_tasks
        self._on_replaced = on_replaced
        self._sandbox = sandbox
        self._readable = (*python_folders(), *map(os.fspath, readable))
        self._context = clean_context(["docnats.pool", *preload])
        self._cleanup = ExitStack()
        self._folder = Path()
        self._numbers = itertools.count()
        self._told: Protections | None = None
        self._idle: asyncio.Queue[Slot] = asyncio.Queue()
        self._slots: set[Slot] = set()
        self._callers: set[asyncio.Task[Any]] = set()
        self._renewals: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Start all processes.

        Raises
        ------
        StackError
            They do not start, and this program's stderr says why; or the sandbox is required
            and the kernel lacks something.
        """
        folder = tempfile.TemporaryDirectory(prefix="docnats-parsers-")
        self._folder = Path(self._cleanup.enter_context(folder))
        if self._own_workspace:
            self.workspace = self._folder / "work"
            self.workspace.mkdir(mode=0o700)
        ensure_server()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.processes):
                    group.create_task(self._add_slot())
        except BaseException as failure:
            await self.close()
            if not isinstance(failure, ExceptionGroup):
                raise
            cause = failure.exceptions[0]
            if isinstance(cause, StackError):
                raise cause from None
            msg = f"the parser processes do not start, see the lines above: {cause!r}"
            raise StackError(msg) from cause
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def run(
        self, function: Callable[..., T], *args: object, timeout: float, memory: int = 0
    ) -> T:
        """Call a function in one of the processes.

        Cancelling this kills the process at work, and only that one.

        Parameters
        ----------
        function : callable
            A function of an importable module; it, its arguments and its result are pickled.
        timeout : float
            Seconds, counted from the moment a process has taken the task.
        memory : int
            Bytes of address space that the task needs; the process keeps what it was given.

        Raises
        ------
        ParseError
            ``timeout``, ``out_of_memory`` or ``crashed``.
        Exception
            What the function raised.
        """
        if self._closed:
            raise StackError("the parser pool is closed")
        caller = asyncio.current_task()
        assert caller is not None  # noqa: S101 - a coroutine runs in a task
        self._callers.add(caller)
        try:
            return await self._run_or_retry(function, args, timeout, memory)
        finally:
            self._callers.discard(caller)

    async def _run_or_retry(
        self, function: Callable[..., T], args: tuple[object, ...], timeout: float, memory: int
    ) -> T:
        try:
            return await self._run(function, args, timeout, memory)
        except BrokenProcessPool:
            log.warning("a parser process had died while idle; its next task is tried again")
        try:
            return await self._run(function, args, timeout, memory)
        except BrokenProcessPool as error:
            msg = "two parser processes died before they took the task"
            raise ParseError(ErrorType.CRASHED, msg, transient=True) from error

    async def _run(
        self, function: Callable[..., T], args: tuple[object, ...], timeout: float, memory: int
    ) -> T:
        slot = await self._idle.get()
        try:
            result: T = await slot.run(function, args, timeout, memory)
        except TimeoutError as error:
            msg = f"parsing was stopped at its time limit of {timeout:g} s"
            raise ParseError(ErrorType.TIMEOUT, msg) from error
        except ProcessExpired as error:
            raise slot.cause_of_death(error) from error
        finally:
            self._put_back(slot)
        return result

    def _put_back(self, slot: Slot) -> None:
        if self._closed or slot.spent is None:
            self._idle.put_nowait(slot)
            return
        self._on_replaced(slot.spent)
        renewal = asyncio.create_task(self._renew(slot))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewals.discard)

    async def _renew(self, spent: Slot) -> None:
        stopping = asyncio.create_task(asyncio.to_thread(spent.stop))
        while not self._closed:
            try:
                await self._add_slot()
                break
            except Exception as error:
                log.warning("a parser process does not start; tried again: %r", error)
                await asyncio.sleep(RETRY_SECONDS)
        await stopping
        self._slots.discard(spent)

    async def _add_slot(self) -> None:
        slot = Slot(self._context, self._confinement(), max_tasks=self._max_tasks)
        self._slots.add(slot)
        try:
            self._judge(await slot.start())
        except BaseException:
            self._slots.discard(slot)
            await asyncio.to_thread(slot.stop)
            raise
        self._idle.put_nowait(slot)

    def _confinement(self) -> Confinement:
        number = next(self._numbers)
        return Confinement(
            memory_limit=self._memory_limit,
            most_memory=self._most_memory,
            stderr=str(self._folder / f"{number}.log"),
            temporary=str(self._folder / f"{number}.tmp"),
            readable=self._readable,
            writable=(os.fspath(self.workspace),),
            sandboxed=self._sandbox != "off",
        )

    def _judge(self, protections: Protections) -> None:
        """Refuse a process that lacks protections if they are required; else tell of them."""
        missing = "; ".join(protections.missing)
        if missing and self._sandbox == "require":
            msg = f"the parsers' sandbox is required, and the kernel does not give all: {missing}"
            raise StackError(f"{msg} (DOCNATS_SANDBOX)")
        if protections == self._told:
            return
        self._told = protections
        if self._sandbox == "off":
            log.warning("the parsers' sandbox is off (DOCNATS_SANDBOX)")
            return
        log.info("the parsers' sandbox has: %s", "; ".join(protections.active) or "nothing")
        if missing:
            log.warning("the parsers' sandbox does NOT have: %s", missing)

    async def close(self) -> None:
        """Cancel what still runs or waits, and kill all processes."""
        self._closed = True
        for caller in self._callers:
            caller.cancel()
        if self._callers or self._renewals:
            await asyncio.wait({*self._callers, *self._renewals}, timeout=STOP_SECONDS)
        stopping = [asyncio.create_task(asyncio.to_thread(slot.stop)) for slot in self._slots]
        if stopping:
            _, late = await asyncio.wait(stopping, timeout=STOP_SECONDS)
            if late:
                log.error("%d parser processes do not end", len(late))
        self._slots.clear()
        self._cleanup.close()
