"""A handle on a batch, or on any selection of jobs: a table kept up to date while they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing

from docnats.bus import Bus
from docnats.errors import BusError, JobTimeout, ungrouped
from docnats.models import Progress
from docnats.table import JobTable

__all__ = ["Batch"]

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
"""Progress is shown at most 5 times a second."""

WORKERS_SECONDS = 2.0
"""How often the live workers are looked up while somebody looks at the progress."""


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
    batches : iterable of str, optional
        The batches the table's jobs belong to; by default the one the table is named after.

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
        batches: Iterable[str] | None = None,
    ) -> None:
        self._bus = bus
        self._sending = sending
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
            The control bus was lost for too long.
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
        return self.table

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
                    helpers.append(group.create_task(self._watch_workers()))
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
                    self.table.apply(entry.record, entry.revision)
                if not unread and (self.table.finished or not len(self.table)):
                    finished.set()

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

    async def _tick(self, on_progress: Callable[[Progress], None]) -> None:
        while True:
            on_progress(self.table.progress())
            await asyncio.sleep(TICK_SECONDS)


async def _done(task: asyncio.Task[None]) -> None:
    """Wait for a task that goes on when the waiting is given up."""
    await asyncio.shield(task)
