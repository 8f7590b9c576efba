"""A handle on a batch, or on any selection of jobs: a table kept up to date while they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace

from docnats.bus import Bus
from docnats.errors import BusError, ErrorType, JobTimeout, StorageError, ungrouped
from docnats.models import JobRecord, JobState, Outage, Progress
from docnats.names import kept_in_nats, probe_key
from docnats.storage import Storage
from docnats.table import JobTable
from docnats.telemetry import ClientObserver

__all__ = ["Batch"]

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
"""Progress is shown at most 5 times a second."""

WORKERS_SECONDS = 2.0
"""How often the live workers are looked up while somebody looks at the progress."""

STORAGE_SECONDS = 5.0
"""How often S3 is looked at while no job ends and somebody looks at the progress."""

OUTAGE_SHOWN_SECONDS = 1.0
"""An outage that is over before is not worth a word."""


class Batch:
    """One batch of jobs, or a selection from several.

    Parameters
    ----------
    bus : Bus
        The open port.
    table : JobTable
        The jobs as known so far.
    sending : asyncio.Task, optional
        The upload that is still going on in this process.
    storage : Storage, optional
        The open port that documents and results go through.
    batches : iterable of str, optional
        The batches the table's jobs belong to; by default the one the table is named after.
    observer : ClientObserver, optional
        Told of each job that ends while it is followed.

    Attributes
    ----------
    table : JobTable
        Up to date while :meth:`follow` runs.
    batches : tuple of str
        The ids of the batches its jobs belong to.
    """

    def __init__(
        self,
        bus: Bus,
        table: JobTable,
        sending: asyncio.Task[None] | None = None,
        *,
        storage: Storage | None = None,
        batches: Iterable[str] | None = None,
        observer: ClientObserver | None = None,
    ) -> None:
        self._bus = bus.patient()
        # An outage of the NATS Object Store is one of NATS, which is shown anyway.
        watched = storage is not None and not kept_in_nats(storage.bucket)
        self._storage = storage.patient() if storage and watched else None
        self._sending = sending
        self._observer = observer or ClientObserver()
        self._warned = False
        self.batches = (table.batch,) if batches is None else tuple(batches)
        self.table = table

    @property
    def id(self) -> str:
        """The batch's id, or the name of the selection."""
        return self.table.batch

    async def follow(
        self,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> JobTable:
        """Keep the table up to date until every job has ended.

        Parameters
        ----------
        on_progress : callable, optional
            Called on the event loop's thread, at most 5 times a second.
        timeout : float, optional
            Seconds.

        Raises
        ------
        JobTimeout
            Not every job ended in time; they go on all the same.
        BusError
            NATS was out of reach for longer than ``outage_limit``; what was queued goes on.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._follow(on_progress)
        except TimeoutError as error:
            progress = self.table.progress()
            raise JobTimeout(
                f"batch {self.id}: {progress.total - progress.ended} of {progress.total} jobs "
                f"had not ended after {timeout:g} s; they go on"
            ) from error
        except BusError as error:
            raise BusError(f"{error}. {self._what_goes_on()}") from error
        return self.table

    def _what_goes_on(self) -> str:
        """Return what becomes of the jobs when they cannot be followed any more."""
        back = f"docnats.attach({self.id!r})" if self.batches == (self.id,) else "docnats.jobs()"
        told = f"What is on the queue goes on without this process: {back} shows it"
        unsent = self.table.progress().counts[JobState.UPLOADING] if self._sending else 0
        if unsent:
            told += f". What was not sent, {unsent:,} documents at most, fails there as not_sent"
        return told

    async def _follow(self, on_progress: Callable[[Progress], None] | None) -> None:
        finished = asyncio.Event()
        unread = set(self.batches)
        with ungrouped():
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(watch)
                    for batch in self.batches
                    for watch in (self._watch(batch, unread, finished), self._watch_pages(batch))
                ]
                if on_progress is not None:
                    self._warned = True  # progress says which jobs wait for another worker
                    helpers.append(group.create_task(self._watch_workers()))
                    if self._storage is not None:
                        helpers.append(group.create_task(self._watch_storage(self._storage)))
                    helpers.append(group.create_task(self._tick(on_progress)))
                if self._sending is not None:
                    helpers.append(group.create_task(_done(self._sending)))
                await finished.wait()
                for helper in helpers:
                    helper.cancel()

    async def _watch(self, batch: str, unread: set[str], finished: asyncio.Event) -> None:
        async with aclosing(self._bus.watch(batch)) as entries:
            async for entry in entries:
                if entry is None:
                    unread.discard(batch)
                else:
                    ended = self.table.ended
                    self.table.apply(entry.record, entry.revision)
                    self._warn_of_waiting(entry.record)
                    if self.table.ended > ended:
                        self._observer.ended(entry.record)
                if not unread and (self.table.finished or not len(self.table)):
                    finished.set()

    def _warn_of_waiting(self, job: JobRecord) -> None:
        """Say once, where no progress is shown, that a job waits for a worker that can do it."""
        waits = job.state is JobState.QUEUED and job.error_type is ErrorType.PROCESSOR
        if waits and not self._warned:
            self._warned = True
            log.warning("batch %s: %s %s", job.batch, job.filename, job.error)

    async def _watch_pages(self, batch: str) -> None:
        async with aclosing(self._bus.progress(batch)) as pages:
            async for progress in pages:
                self.table.apply_progress(progress)

    async def _watch_workers(self) -> None:
        while True:
            try:
                self.table.apply_workers(await self._bus.workers())
            except BusError as error:
                log.info("the live workers are not known: %s", error)
            await asyncio.sleep(WORKERS_SECONDS)

    async def _watch_storage(self, storage: Storage) -> None:
        """Look whether S3 is in reach while nothing ends; if not, it is waited for and shown."""
        while True:
            ended = self.table.ended
            await asyncio.sleep(STORAGE_SECONDS)
            if self.table.ended > ended:
                continue
            try:
                async for _ in storage.list(probe_key()):
                    pass
            except StorageError as error:
                log.info("S3 is out of reach: %s", error)

    async def _tick(self, on_progress: Callable[[Progress], None]) -> None:
        while True:
            progress, outages = self.table.progress(), self._outages()
            # Nobody knows when a server will be back.
            left = None if outages else progress.remaining
            on_progress(replace(progress, outages=outages, remaining=left))
            await asyncio.sleep(TICK_SECONDS)

    def _outages(self) -> tuple[Outage, ...]:
        nats, s3 = self._bus.outage or 0, self._storage.outage if self._storage else 0
        known = Outage("NATS", nats), Outage("S3", s3 or 0)
        return tuple(outage for outage in known if outage.seconds >= OUTAGE_SHOWN_SECONDS)


async def _done(task: asyncio.Task[None]) -> None:
    """Wait for a task that goes on when the waiting is given up."""
    await asyncio.shield(task)
