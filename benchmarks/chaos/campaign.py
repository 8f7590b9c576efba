"""Submit batch after batch as a user does, while the faults happen."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chaos.documents import Document
from benchmarks.chaos.faults import inflict
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.report import Report
from benchmarks.chaos.schedule import Fault
from docnats.errors import DocnatsError
from docnats.service import Batch, S3DocumentService
from docnats.stack import LocalStack

__all__ = ["Campaign"]

TICK_SECONDS = 0.1

STALLED_SECONDS = 90.0
"""A run in which nothing has ended for so long is given up: nothing will."""

AHEAD = 1.5
"""A batch is submitted when fewer than so many are open, so that uploads go on all along."""

AGAIN_SECONDS = 1.0


class Campaign:
    """The eventful part of a run.

    Parameters
    ----------
    stack, service
        Running, connected.
    ledger : Ledger
        The batches to submit.
    faults : sequence of Fault
        What is to happen, in order.
    ack_wait : float
        Seconds of a lease.
    report : Report
        Takes in the faults that happened, figures, and what the client's user would see.
    """

    def __init__(
        self,
        stack: LocalStack,
        service: S3DocumentService,
        ledger: Ledger,
        faults: Sequence[Fault],
        ack_wait: float,
        report: Report,
    ) -> None:
        self._stack = stack
        self._service = service
        self._batches = deque(ledger.batches.items())
        self._jobs = len(ledger.entries)
        self._per_batch = self._jobs / len(self._batches)
        self._faults = deque(faults)
        self._ack_wait = ack_wait
        self._report = report
        self._submitted = 0
        self._followed: dict[str, Batch] = {}

    async def run(self, limit: float) -> None:
        """Submit everything and wait until it has ended; not longer than the limit."""
        started = moved = time.monotonic()
        last = 0
        async with asyncio.TaskGroup() as group:
            users: list[asyncio.Task[None]] = []
            while (ended := self._ended()) < self._jobs or self._faults:
                now = time.monotonic()
                if ended != last:
                    last, moved = ended, now
                if now > started + limit or now > moved + STALLED_SECONDS:
                    what = f"{self._jobs - ended} of {self._jobs} jobs have not ended"
                    self._report.broken("every job ends", f"{what} after {now - started:.0f} s")
                    break
                if self._batches and self._submitted - ended < AHEAD * self._per_batch:
                    users.append(group.create_task(self._submit(*self._batches.popleft())))
                while self._faults and self._faults[0].at <= ended:
                    group.create_task(self._inflict(self._faults.popleft(), ended))
                await asyncio.sleep(TICK_SECONDS)
            for user in users:
                user.cancel()
        seconds = time.monotonic() - started
        self._report.figures["seconds"] = f"{seconds:.1f}"
        self._report.figures["jobs a second"] = f"{self._ended() / seconds:.1f}"

    def _ended(self) -> int:
        return sum(batch.table.progress().ended for batch in self._followed.values())

    async def _inflict(self, fault: Fault, ended: int) -> None:
        try:
            self._report.faults.append(await inflict(self._stack, fault, self._ack_wait, ended))
        except TimeoutError:
            self._report.broken("what was killed is started again", f"nobody left for: {fault}")

    async def _submit(self, name: str, documents: Sequence[Document]) -> None:
        """Submit a batch, every other one as bytes, and follow it."""
        self._submitted += len(documents)
        as_bytes = name.endswith(("1", "3", "5", "7", "9"))
        paths: list[Path] = [document.path for document in documents]
        sources = {path.name: path.read_bytes() for path in paths} if as_bytes else paths
        try:
            batch = await self._service.submit(sources, batch=name, force=True)
        except DocnatsError as error:
            self._report.broken("the client bears faults", f"submit({name}): {error!r}")
            return
        await self._follow(name, batch)

    async def _follow(self, name: str, batch: Batch) -> None:
        """Follow a batch to its end; where that fails, attach to it as its user would."""
        while True:
            self._followed[name] = batch
            try:
                await batch.follow()
            except DocnatsError as error:
                self._report.broken("the client bears faults", f"follow({name}): {error!r}")
            else:
                return
            batch = await self._attach(name)

    async def _attach(self, name: str) -> Batch:
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                return await self._service.attach(name)
            except DocnatsError as error:
                self._report.broken("the client bears faults", f"attach({name}): {error!r}")
