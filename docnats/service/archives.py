"""Batches whose rows are in S3 instead of the state bucket: found, and read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Iterable, Sequence
from datetime import datetime

from docnats.bus import Bus
from docnats.errors import ObjectMissing, StorageError, TableError
from docnats.models import ArchivedBatch, JobRecord
from docnats.names import ARCHIVE_PREFIX, Names, archived_batch, where
from docnats.storage import Storage
from docnats.table import records_from_parquet

__all__ = ["Archives"]

log = logging.getLogger(__name__)

_AT_A_TIME = 8
"""Tables that are read at a time."""

_GONE = (
    "the archive {place} is not there any more, and its jobs are known nowhere else: "
    "put it back from a copy of the bucket"
)


class Archives:
    """The archived batches of one installation.

    The index in NATS tells which there are, so that nothing is asked of S3 where there is
    none. What an archive holds is in S3 alone, and is found there by the batch's name even if
    the index was lost.

    Parameters
    ----------
    bus, storage
        The open ports.
    names : Names
        The installation's.
    """

    def __init__(self, bus: Bus, storage: Storage, names: Names) -> None:
        self.bus = bus
        self.storage = storage
        self.names = names

    async def entries(self) -> Sequence[ArchivedBatch]:
        """Return what the index says of each archived batch."""
        return await self.bus.archives()

    async def records(self, batch: str) -> list[JobRecord]:
        """Return the records of an archived batch; none if it is not one.

        Raises
        ------
        StorageError
            S3 is out of reach, or the table cannot be read.
        """
        return await self._read(self.names.archive_table(batch)) or []

    async def records_of(self, batches: Iterable[str]) -> list[JobRecord]:
        """Return the records of some archived batches; of one that is gone the log tells."""
        return await self._read_all(map(self.names.archive_table, batches))

    async def records_since(
        self, begin: datetime | None = None, *, but: Container[str] = ()
    ) -> list[JobRecord]:
        """Return the records of all batches that had not ended by then, but for some."""
        return await self.records_of(
            one.batch
            for one in await self.entries()
            if one.batch not in but and (begin is None or one.finished_at >= begin)
        )

    async def borrowing(self) -> list[JobRecord]:
        """Return the records of batches of which some use what other jobs put into S3."""
        return await self.records_of(one.batch for one in await self.entries() if one.borrows)

    async def in_bucket(self) -> tuple[list[JobRecord], list[JobRecord]]:
        """Return the records of this installation's archives, and those of others in the bucket.

        Others are those of other namespaces, and those that the index does not know.

        Raises
        ------
        StorageError
            An archive that the index knows is not there.
        """
        own = {self.names.archive_table(one.batch) for one in await self.entries()}
        listed = [stored.key async for stored in self.storage.list(ARCHIVE_PREFIX)]
        tables = {key for key in listed if archived_batch(key)}
        if gone := sorted(own - tables):
            raise StorageError(_GONE.format(place=where(self.storage.bucket, gone[0])))
        return await self._read_all(own), await self._read_all(tables - own)

    async def _read_all(self, keys: Iterable[str]) -> list[JobRecord]:
        slots = asyncio.Semaphore(_AT_A_TIME)

        async def read(key: str) -> list[JobRecord]:
            async with slots:
                found = await self._read(key)
            if found is None:
                log.warning(_GONE.format(place=where(self.storage.bucket, key)))
            return found or []

        tables = await asyncio.gather(*map(read, keys))
        return [record for table in tables for record in table]

    async def _read(self, key: str) -> list[JobRecord] | None:
        try:
            data = await self.storage.get_bytes(key)
        except ObjectMissing:
            return None
        try:
            return await asyncio.to_thread(records_from_parquet, data)
        except TableError as error:
            raise StorageError(
                f"the archive {where(self.storage.bucket, key)} cannot be read: {error}; "
                "`docnats verify` tells whether it was changed"
            ) from error
