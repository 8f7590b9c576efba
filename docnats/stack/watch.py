"""Looks after the workers of a stack, in the process of one of its users."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from signal import SIGKILL

from docnats.bus import Bus, NatsBus
from docnats.config import NatsConfig
from docnats.errors import BusError, StackError
from docnats.models import WorkerInfo
from docnats.stack.client import ProcessStatus, Supervisor
from docnats.stack.scaling import Target
from docnats.stack.workers import Workers, workers_of

__all__ = ["Inspection", "Watch"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Pause between two looks; each costs some small requests."""

STALLED_LOOKS = 10
"""Looks in a row that miss a live worker in the registry before it counts as stalled.

With the 15 s for which an entry lasts, it was silent for some 35 s. Looks are counted, not
seconds: when the whole machine slept, nobody is to blame.
"""

STOP_SECONDS = 10.0


class Inspection:
    """Looks at the workers of a stack, and does what is needed.

    A worker that stops to report although its process lives cannot work either, and does
    not end by itself: it is killed, so that the supervisor starts it again. Its jobs have
    been delivered to others by then, or will be.

    Parameters
    ----------
    supervisor : Supervisor
    workers : Workers
    target : Target, optional
        How many workers to have; by default their number stays. Of several users that
        would scale one stack, the supervisor names the one that does.
    """

    def __init__(self, supervisor: Supervisor, workers: Workers, target: Target | None) -> None:
        self._supervisor = supervisor
        self._workers = workers
        self._target = target
        self._missed: dict[int, int] = {}

    def forget(self) -> None:
        """Begin anew, after an outage: it is no worker's fault."""
        self._missed.clear()

    async def look(self, bus: Bus) -> None:
        """Look once.

        Raises
        ------
        BusError
            The workers cannot be seen.
        StackError
            The stack has ended.
        """
        here = platform.node()
        reports = {info.pid: info for info in await bus.workers() if info.host == here}
        status = self._supervisor.status()
        kept = workers_of(status.processes)
        for process in self._stalled(kept, reports):
            logger.warning(
                "%s (process %d) lives but does not report: replaced", process.name, process.pid
            )
            self._supervisor.kill(process.name, SIGKILL, pid=process.pid)
        if self._target is not None and status.scales:
            wanted = self._target.after(await bus.backlog(), least=status.workers)
            self._workers.fill(wanted)
            self._supervisor.begin_stop(*_idle(kept, reports)[: max(0, len(kept) - wanted)])

    def _stalled(
        self, kept: Sequence[ProcessStatus], reports: Mapping[int, WorkerInfo]
    ) -> list[ProcessStatus]:
        """Return the workers that reported once, but not for a while."""
        running = {process.pid: process for process in kept if process.running}
        known = (self._missed.keys() | reports.keys()) & running.keys()
        self._missed = {p: 0 if p in reports else self._missed[p] + 1 for p in known}
        return [running[p] for p, missed in self._missed.items() if missed >= STALLED_LOOKS]


class Watch:
    """A thread that looks at the workers from time to time, until it is stopped.

    Parameters
    ----------
    inspection : Inspection
    nats : NatsConfig
        Where the workers report, and the backlog is.
    """

    def __init__(self, inspection: Inspection, nats: NatsConfig) -> None:
        self._inspection = inspection
        self._nats = nats
        self._owner = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="docnats-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; does nothing in a process forked from the one that began it."""
        if os.getpid() != self._owner:
            return
        with suppress(RuntimeError):  # the loop is closed: it has ended by itself
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._watch_until_stopped())

    async def _watch_until_stopped(self) -> None:
        watching = asyncio.create_task(self._watch())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        for task in (watching, stopping):
            task.cancel()
        await asyncio.wait({watching, stopping})

    async def _watch(self) -> None:
        while True:
            try:
                async with NatsBus(self._nats) as bus:
                    await bus.ensure()
                    while True:
                        # The supervisor answers in a moment: this loop can wait for it.
                        await self._inspection.look(bus)
                        await asyncio.sleep(LOOK_SECONDS)
            except BusError as error:
                logger.info("cannot see the workers: %s", error)
            except StackError as error:
                logger.info("not watching any more: %s", error)
                return
            self._inspection.forget()
            await asyncio.sleep(LOOK_SECONDS)


def _idle(kept: Sequence[ProcessStatus], reports: Mapping[int, WorkerInfo]) -> list[str]:
    """Return the names of the workers that say they have no job, the last numbers first."""
    return [p.name for p in reversed(kept) if p.pid in reports and not reports[p.pid].jobs]
