"""The worker: leases jobs, keeps its parser processes fed, drains when told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import secrets
from collections.abc import Collection
from typing import Any

from docnats.bus import Bus, Lease
from docnats.errors import BusError
from docnats.models import WorkerInfo, utc_now
from docnats.processors import package_version, result_version
from docnats.reconcile import reconcile
from docnats.telemetry import about_job
from docnats.worker.job import Job
from docnats.worker.processing import Tools

__all__ = ["Worker", "new_worker_id"]

log = logging.getLogger(__name__)

PULL_SECONDS = 5.0
"""How long one request for jobs stays open on the server, at most a third of a lease: since
leases are counted from the request on, a new one could seem to have run out already."""

HEARTBEAT_SECONDS = 5.0
"""How often a worker announces itself; the registry forgets it after three missed ones."""

RECONCILE_SECONDS = 10.0
"""How often a worker looks for jobs that nobody will settle."""

GRACE_SECONDS = 25.0
"""Time to finish what is running after a stop; under Kubernetes' default of 30 s."""


def new_worker_id() -> str:
    """Return a name for this worker: host, process id and a random part."""
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in platform.node()) or "host"
    return f"{host[:40]}-{os.getpid()}-{secrets.token_hex(2)}"


class Worker:
    """Takes jobs off the bus until it is told to stop.

    Parameters
    ----------
    tools : Tools
        The ports and settings its jobs use.
    grace : float
        Seconds that running jobs get to finish after :meth:`drain`.

    Notes
    -----
    Twice as many jobs are leased as there are parser processes: while one document is
    parsed, the next one is downloaded and the last one's result is uploaded.
    """

    def __init__(self, tools: Tools, *, grace: float = GRACE_SECONDS) -> None:
        self._tools = tools
        self._bus: Bus = tools.bus
        self._grace = grace
        self._capacity = 2 * tools.pool.processes
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._draining = asyncio.Event()
        self._started_at = utc_now()

    def drain(self) -> None:
        """Take no more jobs, finish the ones at work, then end :meth:`run`."""
        if not self._draining.is_set():
            log.info("draining: %d jobs at work", len(self._jobs))
        self._draining.set()

    @property
    def at_work(self) -> int:
        """How many jobs it has."""
        return len(self._jobs)

    @property
    def draining(self) -> bool:
        """Whether it takes no more jobs."""
        return self._draining.is_set()

    async def run(self) -> None:
        """Work until :meth:`drain` is called; then finish or hand back every job."""
        services: list[asyncio.Task[Any]] = [
            asyncio.create_task(service())
            for service in (
                self._pull,
                self._announce,
                self._listen_for_cancels,
                self._reconcile,
                self._tools.quarantine.follow,
                self._tools.notes.run,
                self._draining.wait,
            )
        ]
        try:
            ended, _ = await asyncio.wait(services, return_when=asyncio.FIRST_COMPLETED)
            for service in ended:
                service.result()
        finally:
            await _cancel(services)
            await self._finish()
            await self._tools.notes.flush()
            await self._bus.withdraw(self._tools.worker)

    async def _finish(self) -> None:
        if self._jobs:
            await asyncio.wait(tuple(self._jobs), timeout=self._grace)
        if self._jobs:
            log.warning("handing back %d jobs after %.0f s", len(self._jobs), self._grace)
        await _cancel(tuple(self._jobs))

    async def _pull(self) -> None:
        await self._tools.quarantine.loaded()
        wait = min(PULL_SECONDS, self._tools.lease_seconds / 3)
        while True:
            await self._has_room.wait()
            if pause := self._tools.pause.seconds:
                log.warning("no more jobs for %.0f s: storage is away", pause)
                await asyncio.sleep(pause)
                continue
            try:
                leases = await self._bus.pull(self._capacity - len(self._jobs), wait)
            except BusError as error:
                log.warning("cannot pull jobs: %s", error)
                await asyncio.sleep(1)
                continue
            for lease in leases:
                self._begin(lease)

    def _begin(self, lease: Lease) -> None:
        self._tools.observer.leased(lease.attempt)
        if lease.lapsed:
            with about_job(lease.message.batch, lease.message.request_id):
                log.warning("job %s: its lease may be over", lease.message.request_id)
            return
        for known in self._jobs.values():
            if known.message.request_id == lease.message.request_id:
                known.adopt(lease)
                return
        job = Job(lease, self._tools)
        task = asyncio.create_task(self._work(job))
        self._jobs[task] = job
        if len(self._jobs) >= self._capacity:
            self._has_room.clear()
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        del self._jobs[task]
        self._has_room.set()

    async def _work(self, job: Job) -> None:
        try:
            await job.work()
        except BusError as error:
            await job.leave(error)

    async def _announce(self) -> None:
        while True:
            info = WorkerInfo(
                worker=self._tools.worker,
                host=platform.node(),
                pid=os.getpid(),
                parsers=self._tools.pool.processes,
                processors=tuple(self._tools.processors),
                jobs=tuple(job.job_id for job in self._jobs.values()),
                version=package_version("docnats"),
                versions={name: result_version(name) for name in self._tools.processors},
                prompts=self._tools.chat and self._tools.chat.config.model,
                started_at=self._started_at,
            )
            try:
                await self._bus.announce(info)
            except BusError as error:
                log.warning("cannot announce this worker: %s", error)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _reconcile(self) -> None:
        while True:
            try:
                await reconcile(self._bus)
            except BusError as error:
                log.warning("cannot look for jobs that nobody will settle: %s", error)
            await asyncio.sleep(RECONCILE_SECONDS)

    async def _listen_for_cancels(self) -> None:
        async for batch, job_id in self._bus.cancellations():
            for job in tuple(self._jobs.values()):
                if (job.message.batch, job.job_id) == (batch, job_id):
                    job.cancel()


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
