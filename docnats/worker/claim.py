"""A worker's claim on one job: the lease that it keeps alive, the record that it writes."""

from __future__ import annotations

import asyncio
import logging

from docnats.bus import Bus, Lease, StateEntry
from docnats.errors import BusError, StateConflict
from docnats.models import JobRecord

__all__ = ["Claim", "ClaimLost", "JobEnded"]

log = logging.getLogger(__name__)


class ClaimLost(Exception):  # noqa: N818 - not an error: a decision
    """Another worker has the job now: what this one does is in vain."""


class JobEnded(Exception):  # noqa: N818 - not an error: a decision
    """The job is in a terminal state: its message can go."""


class Claim:
    """The right to work on one job, as far as this worker can tell.

    A lease alone tells little: a worker that was stopped, or cut off from NATS, for longer
    than it lasts does not hear that somebody else was given the job. Then the job's record
    decides: whoever began the last attempt has the job.

    Parameters
    ----------
    lease : Lease
        The message and the lease on it.
    bus : Bus
        Where the record is.
    seconds : float
        How long a lease lasts without renewal.

    Attributes
    ----------
    lease : Lease
        The latest one.
    """

    def __init__(self, lease: Lease, bus: Bus, seconds: float) -> None:
        self.lease = lease
        self._bus = bus
        self._seconds = seconds
        self._doubted = False
        self._written: JobRecord | None = None
        self._revision = 0

    @property
    def doubtful(self) -> bool:
        """Whether somebody else may have the job by now."""
        return self._doubted or self.lease.lapsed

    def adopt(self, lease: Lease) -> None:
        """Go on with a new lease on the same job: the old one ran out, and it came here again."""
        self._doubted = True
        self.lease = lease

    async def keep(self) -> None:
        """Renew the lease for ever.

        Raises
        ------
        ClaimLost, JobEnded
            There is nothing more to keep.
        """
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                await self.lease.renew()
                await self.confirm()
            except BusError as error:
                log.warning("job %s: lease not renewed: %s", self.lease.message.request_id, error)

    async def confirm(self) -> None:
        """Make sure that the job still is this worker's; asks only when that is in doubt.

        Raises
        ------
        ClaimLost, JobEnded
            It is not.
        BusError
            NATS does not say.
        """
        if self._written is None or not self.doubtful:
            return
        entry, mine = await self._entry(), self._written
        if entry is None or _attempt(entry.record) != _attempt(mine):
            raise ClaimLost("another worker has it now")

    async def read(self) -> JobRecord | None:
        """Return the job's record, which :meth:`write` may then replace; None: there is none.

        Raises
        ------
        JobEnded
            There is nothing left to do.
        """
        entry = await self._entry()
        message = self.lease.message
        if entry is None and await self._bus.archive(message.batch):
            raise JobEnded("its batch is archived")
        self._revision = entry.revision if entry else 0
        return entry.record if entry else None

    async def write(self, record: JobRecord) -> None:
        """Replace the record that was read or written last.

        Raises
        ------
        ClaimLost, JobEnded
            Somebody else wrote it since.
        """
        try:
            self._revision = await self._bus.update_state(record, self._revision)
        except StateConflict as conflict:
            await self._entry()
            raise ClaimLost("another worker has it now") from conflict
        self._written = record

    async def _entry(self) -> StateEntry | None:
        message = self.lease.message
        entry = await self._bus.get_state(message.batch, message.request_id)
        if entry is not None and entry.record.terminal:
            raise JobEnded(f"it is {entry.record.state}")
        return entry


def _attempt(record: JobRecord) -> tuple[str | None, int]:
    return record.worker, record.attempt
