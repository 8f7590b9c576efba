"""Archives a batch: its rows go from the state bucket into S3, with a receipt of all it left.

The order lets a crash at any moment lose nothing: table, receipt, entry in the index, and only
then are the rows forgotten, all at once. Until that last step the batch is as it was, and doing
it again writes the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import JsonValue

from docnats.errors import ConfigError, DocnatsError, ObjectMissing, ungrouped
from docnats.models import (
    ArchivedBatch,
    HashedObject,
    JobRecord,
    JobState,
    Receipt,
    Timings,
    Usage,
    utc_now,
)
from docnats.names import RESULT_PARTS, part_key, where
from docnats.reconcile import settle_dead_senders
from docnats.service.archives import Archives
from docnats.service.cleanup import borrows
from docnats.service.history import BatchSummary
from docnats.storage import Storage
from docnats.table import records_to_parquet
from docnats.table.quantities import named

__all__ = ["HASHED_AT_A_TIME", "archive_batch", "hash_object", "read_receipt"]

log = logging.getLogger(__name__)

HASHED_AT_A_TIME = 8
"""Objects that are read at a time, each through a file: memory does not grow with their size."""


async def archive_batch(archives: Archives, batch: str) -> Receipt:
    """Move the rows of a batch into S3; of one that is archived already, return the receipt.

    Raises
    ------
    ConfigError
        There is no such batch.
    DocnatsError
        A job has not ended; nothing was changed.
    """
    bus = archives.bus
    await settle_dead_senders(bus)
    entries = sorted(await bus.states(batch), key=lambda entry: entry.record.position)
    records = [entry.record for entry in entries]
    if not records:
        receipt, sha256 = await read_receipt(archives, batch)
        if await bus.archive(batch) is None:  # the index was lost; whether it borrows is unknown
            await bus.put_archive(_entry(receipt, sha256, borrowing=True))
        return receipt
    active = [record.filename for record in records if not record.terminal]
    if active:
        raise DocnatsError(
            f"batch {batch} is not archived, because {len(active)} of {len(records)} jobs have "
            f"not ended ({named(active)}): wait for them or cancel them; nothing was changed"
        )
    # A worker may have died between a job's end and its ack: nobody needs that message.
    await bus.drop_queued(batch)
    receipt = await _write(archives, batch, records)
    await bus.forget_batch(batch)
    log.info("batch %s: archived %d jobs", batch, len(records))
    return receipt


async def _write(archives: Archives, batch: str, records: Sequence[JobRecord]) -> Receipt:
    """Write table, receipt and entry, in this order."""
    storage = archives.storage.patient()
    table = await asyncio.to_thread(records_to_parquet, records)
    stored = await storage.put_bytes(archives.names.archive_table(batch), table)
    results = await _Results.of(storage, records)
    summary = BatchSummary.of(records)
    receipt = Receipt(
        batch=batch,
        namespace=archives.names.namespace,
        bucket=storage.bucket,
        docnats=version("docnats"),
        archived_at=utc_now(),
        jobs=len(records),
        counts={state: count for state, count in summary.counts.items() if count},
        pages=summary.pages,
        bytes=summary.bytes,
        timings=_timings(summary, records),
        options=_usages(_how(record) for record in records),
        versions=_usages(results.versions),
        table=HashedObject(key=stored.key, size=stored.size, sha256=stored.sha256 or ""),
        objects=tuple(results.objects[key] for key in sorted(results.objects)),
        without_results=tuple(results.incomplete),
    )
    document = receipt.to_json()
    await storage.put_bytes(archives.names.archive_receipt(batch), document)
    sha256 = hashlib.sha256(document).hexdigest()
    await archives.bus.put_archive(_entry(receipt, sha256, borrowing=any(map(borrows, records))))
    return receipt


def _entry(receipt: Receipt, sha256: str, *, borrowing: bool) -> ArchivedBatch:
    """Return what the index says of an archive with this receipt."""
    return ArchivedBatch(
        batch=receipt.batch,
        submitted_at=receipt.timings.submitted_at,
        finished_at=receipt.timings.finished_at,
        jobs=receipt.jobs,
        counts=receipt.counts,
        pages=receipt.pages,
        bytes=receipt.bytes,
        borrows=borrowing,
        receipt_sha256=sha256,
        archived_at=receipt.archived_at,
    )


async def read_receipt(archives: Archives, batch: str) -> tuple[Receipt, str]:
    """Return the receipt of an archived batch and the SHA-256 of its bytes.

    Raises
    ------
    ConfigError
        The batch is not archived.
    DocnatsError
        The receipt cannot be read.
    """
    key = archives.names.archive_receipt(batch)
    try:
        data = await archives.storage.patient().get_bytes(key)
    except ObjectMissing as error:
        if await archives.bus.archive(batch):
            raise DocnatsError(
                f"batch {batch} is archived, but its receipt {where(archives.storage.bucket, key)} "
                "is gone: put it back from a copy of the bucket"
            ) from error
        raise ConfigError(f"batch={batch!r}: there is no such batch in the archive") from error
    try:
        return Receipt.from_json(data), hashlib.sha256(data).hexdigest()
    except ValueError as error:
        raise DocnatsError(
            f"the receipt {where(archives.storage.bucket, key)} cannot be read: it was damaged, "
            "or written by a newer docnats"
        ) from error


async def hash_object(storage: Storage, key: str, path: Path) -> HashedObject:
    """Return what an object is now, read into a file; ``ObjectMissing`` if there is none."""
    stored = await storage.get_file(key, path)
    return HashedObject(key=key, size=stored.size, sha256=stored.sha256 or "")


class _Results:
    """The result objects of some jobs, as they are in S3 now.

    Attributes
    ----------
    objects : dict of str to HashedObject
        By key.
    versions : list of dict
        What made the results, one for each job.
    incomplete : list of str
        Jobs that are done and some of whose objects are not there: they were cleaned up.
    """

    def __init__(self) -> None:
        self.objects: dict[str, HashedObject] = {}
        self.versions: list[dict[str, JsonValue]] = []
        self.incomplete: list[str] = []

    @classmethod
    async def of(cls, storage: Storage, records: Iterable[JobRecord]) -> _Results:
        results = cls()
        slots = asyncio.Semaphore(HASHED_AT_A_TIME)
        done = [record for record in records if record.state is JobState.DONE]
        with TemporaryDirectory(prefix="docnats-archive-") as folder, ungrouped():
            async with asyncio.TaskGroup() as group:
                for record in done:
                    await slots.acquire()
                    reading = group.create_task(results._add(storage, record, Path(folder)))
                    reading.add_done_callback(lambda _: slots.release())
        results.incomplete.sort()
        return results

    async def _add(self, storage: Storage, record: JobRecord, folder: Path) -> None:
        path = folder / record.job_id
        try:
            for part in (*record.parts, *RESULT_PARTS):  # the last one is document.json
                key = part_key(record.result_key or "", part)
                self.objects[key] = await hash_object(storage, key, path)
            self.versions.append(_made_by(await asyncio.to_thread(path.read_bytes)))
        except ObjectMissing:
            self.incomplete.append(record.job_id)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)


def _made_by(document: bytes) -> dict[str, JsonValue]:
    """Return the processor and the versions that a ``document.json`` tells of."""
    told = json.loads(document)
    return {"processor": told.get("processor"), **told.get("versions", {})}


def _how(record: JobRecord) -> dict[str, JsonValue]:
    """Return how a job was processed, without secrets: records hold none."""
    return {
        "processor": record.processor,
        "options": record.options,
        "processing_timeout": record.processing_timeout,
        "custom_prompt": record.custom_prompt,
    }


def _usages(hows: Iterable[dict[str, JsonValue]]) -> tuple[Usage, ...]:
    counted = Counter(json.dumps(how, sort_keys=True) for how in hows)
    return tuple(Usage(what=json.loads(how), jobs=jobs) for how, jobs in sorted(counted.items()))


def _timings(summary: BatchSummary, records: Sequence[JobRecord]) -> Timings:
    begun = [record.started_at for record in records if record.started_at]
    work = (
        (record.finished_at - record.started_at).total_seconds()
        for record in records
        if record.started_at and record.finished_at
    )
    return Timings(
        submitted_at=summary.submitted_at,
        started_at=min(begun, default=None),
        finished_at=summary.finished_at or utc_now(),
        work_seconds=round(sum(work), 6),
    )
