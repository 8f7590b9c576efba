"""A handle on one batch: its table, kept up to date while its jobs run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from docnats.bus import Bus
from docnats.errors import JobTimeout, ungrouped
from docnats.models import Progress
from docnats.table import JobTable

__all__ = ["Batch"]

TICK_SECONDS = 0.2
"""Progress is shown at most 5 times a second."""


class Batch:
    """One batch of jobs.

    Parameters
    ----------
    bus : Bus
        The open port.
    table : JobTable
        The jobs as known so far.
    sending : asyncio.Task, optional
        The upload that is still going on in this process.

    Attributes
    ----------
    table : JobTable
        Up to date while :meth:`follow` runs.
    """

    def __init__(
        self, bus: Bus, table: JobTable, sending: asyncio.Task[None] | None = None
    ) -> None:
        self._bus = bus
        self._sending = sending
        self.table = table

    @property
    def id(self) -> str:
        """The batch's id."""
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
        with ungrouped():
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._watch_pages())]
                if on_progress is not None:
                    helpers.append(group.create_task(self._tick(on_progress)))
                if self._sending is not None:
                    helpers.append(group.create_task(_done(self._sending)))
                await self._watch()
                for helper in helpers:
                    helper.cancel()

    async def _watch(self) -> None:
        complete = False
        async with aclosing(self._bus.watch(self.id)) as entries:
            async for entry in entries:
                if entry is None:
                    complete = True
                else:
                    self.table.apply(entry.record, entry.revision)
                if complete and self.table.finished:
                    return

    async def _watch_pages(self) -> None:
        async with aclosing(self._bus.progress(self.id)) as pages:
            async for progress in pages:
                self.table.apply_progress(progress)

    async def _tick(self, on_progress: Callable[[Progress], None]) -> None:
        while True:
            on_progress(self.table.progress())
            await asyncio.sleep(TICK_SECONDS)


async def _done(task: asyncio.Task[None]) -> None:
    """Wait for a task that goes on when the waiting is given up."""
    await asyncio.shield(task)
