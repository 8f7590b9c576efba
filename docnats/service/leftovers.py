"""What is left in the storage that no job needs: finds it, and deletes it on request."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from docnats.errors import ConfigError, ErrorType, UnreadableMessage
from docnats.models import ACTIVE, DeadLetter, JobMessage, JobRecord, JobState, utc_now
from docnats.names import PROBE_PREFIX, RAW_PREFIX, RESULT_PREFIX, owner, raw_key, result_key
from docnats.reconcile import settle_dead_senders
from docnats.service.archives import Archives
from docnats.storage import Storage, StoredObject, UnfinishedUpload

__all__ = ["Leftover", "LeftoverKind", "collect_leftovers"]

log = logging.getLogger(__name__)


class LeftoverKind(StrEnum):
    """What is left over."""

    DOCUMENT = "raw object"
    RESULT = "result objects"
    UPLOAD = "multipart upload"
    PROBE = "health probe"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something in the bucket that no job needs.

    Attributes
    ----------
    key : str
        Of the object; of results the prefix they share.
    bytes : int
        Of all its objects or parts.
    modified : datetime
        When the last of it was written; of an upload, when it was begun.
    why : str
        Why it is not needed.
    keys : tuple of str
        Its objects.
    upload : UnfinishedUpload or None
        To be aborted instead.
    """

    kind: LeftoverKind
    key: str
    bytes: int
    modified: datetime
    why: str
    keys: tuple[str, ...] = field(default=(), repr=False)
    upload: UnfinishedUpload | None = field(default=None, repr=False)


async def collect_leftovers(
    archives: Archives, *, delete: bool, older_than: timedelta
) -> list[Leftover]:
    """Find what no job needs and is older than the limit; delete it if asked to.

    Raises
    ------
    ConfigError
        The limit is negative; or all that would be deleted belongs to jobs this installation
        knows nothing of, so that it seems to be another one's.
    StorageError
        An archive cannot be read, so that nobody knows what its jobs need.
    """
    bus, storage = archives.bus, archives.storage
    if older_than < timedelta(0):
        raise ConfigError(f"older_than={older_than}: it is how old, for example '24h', or 0")
    await settle_dead_senders(bus)
    # The bucket comes first: whatever is put into it has a record or a message by then.
    found = await _Contents.read(storage)
    known = await _Knowledge.read(archives)
    before = utc_now() - older_than
    leftovers = [one for one in _leftovers(found, known) if one.modified <= before]
    if delete and leftovers:
        if not known.owns_some_of(found):
            raise ConfigError(_STRANGERS.format(bucket=storage.bucket))
        if any(one.kind is LeftoverKind.RESULT for one in leftovers):
            await bus.forget_results()  # results that no row tells of may be known there
        await storage.delete([key for one in leftovers for key in one.keys])
        await storage.abort([one.upload for one in leftovers if one.upload])
        log.info("deleted %d leftovers of %s", len(leftovers), storage.bucket)
    return leftovers


_STRANGERS = (
    "nothing deleted: no object in the bucket {bucket} belongs to a job that this installation "
    "knows, so the bucket seems to be another one's. Check NATS_URL, DOCNATS_NAMESPACE and "
    "S3_BUCKET. If the job table was really lost, empty the bucket with the storage's own tools"
)


@dataclass(frozen=True, slots=True)
class _Contents:
    """What docnats' prefixes in the bucket hold."""

    documents: list[StoredObject]
    results: dict[str, list[StoredObject]]
    probes: list[StoredObject]
    uploads: list[UnfinishedUpload]

    @classmethod
    async def read(cls, storage: Storage) -> _Contents:
        results: dict[str, list[StoredObject]] = {}
        async for stored in storage.list(RESULT_PREFIX):
            if (job_id := owner(stored.key)) is not None:
                results.setdefault(job_id, []).append(stored)
        return cls(
            documents=[s async for s in storage.list(RAW_PREFIX) if owner(s.key)],
            results=results,
            probes=[stored async for stored in storage.list(PROBE_PREFIX)],
            uploads=[u async for u in storage.unfinished() if owner(u.key)],
        )

    def owners(self) -> set[str | None]:
        keys = [stored.key for stored in self.documents] + [u.key for u in self.uploads]
        return {*self.results, *map(owner, keys)}


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What is known of jobs.

    Attributes
    ----------
    states : dict
        Of the jobs of this installation.
    strangers : set of str
        Jobs that may have no record here: on the queue, among the dead letters, and those of
        other namespaces, archived ones included.
    documents : set of str
        Keys that some job reads, has read or may read again.
    results : set of str
        Jobs whose results other jobs were given.
    """

    states: dict[str, JobState]
    strangers: set[str]
    documents: set[str]
    results: set[str]

    @classmethod
    async def read(cls, archives: Archives) -> _Knowledge:
        bus, bucket = archives.bus, archives.storage.bucket
        # The queue comes first: a job leaves it only after it has a record.
        queued = {job_id for _, job_id in await bus.queued()}
        letters = await bus.dead_letters()
        buried = {letter.job[1] for letter in letters if letter.job}
        records = [entry.record for entry in await bus.states()]
        # So do archives: a row leaves the states only after it is in one.
        archived, foreign = await archives.in_bucket()
        records += archived
        needed = [(job.s3_bucket, job.s3_key) for job in records if not _in_vain(job)]
        needed += [(job.s3_bucket, job.s3_key) for job in foreign]
        needed += [(job.s3_bucket, job.s3_key) for job in _readable(letters)]
        return cls(
            states={record.job_id: record.state for record in records},
            strangers=queued
            | buried
            | await bus.foreign_jobs()
            | {record.job_id for record in foreign},
            documents={key for place, key in needed if place == bucket},
            results={record.reused_from for record in (*records, *foreign) if record.reused_from},
        )

    def owns_some_of(self, contents: _Contents) -> bool:
        return any(job_id in self.states for job_id in contents.owners())

    def why_no_document(self, key: str) -> str | None:
        """Tell why no job needs a document; None if one does."""
        job_id = owner(key)
        if key in self.documents or job_id in self.strangers:
            return None
        return "its job was never sent" if job_id in self.states else "no job refers to it"

    def why_no_result(self, job_id: str) -> str | None:
        """Tell why no job needs a result; None if one does."""
        if job_id in self.results:
            return None
        return self.why_not(job_id, ACTIVE | {JobState.DONE})

    def why_not(self, job_id: str | None, needed: frozenset[JobState]) -> str | None:
        """Tell why nothing of a job is needed; None if it is in a state that needs it."""
        state = self.states.get(job_id or "")
        if job_id in self.strangers or state in needed:
            return None
        return f"its job has ended: {state}" if state else "there is no such job"


def _in_vain(record: JobRecord) -> bool:
    """Tell whether a document was uploaded, but its job never got onto the queue."""
    return record.error_type is ErrorType.NOT_SENT and record.s3_key == raw_key(record.job_id)


def _readable(letters: Iterable[DeadLetter]) -> Iterable[JobMessage]:
    """Return the messages of dead letters that can be requeued, and so need their documents."""
    for letter in letters:
        with suppress(UnreadableMessage):
            yield letter.message()


def _leftovers(found: _Contents, known: _Knowledge) -> Iterable[Leftover]:
    for stored in found.documents:
        if why := known.why_no_document(stored.key):
            yield _leftover(LeftoverKind.DOCUMENT, stored.key, [stored], why)
    for job_id, parts in found.results.items():
        if why := known.why_no_result(job_id):
            yield _leftover(LeftoverKind.RESULT, result_key(job_id), parts, why)
    for stored in found.probes:
        yield _leftover(LeftoverKind.PROBE, stored.key, [stored], "a health check was cut short")
    for upload in found.uploads:
        if why := known.why_not(owner(upload.key), ACTIVE):
            yield Leftover(
                LeftoverKind.UPLOAD, upload.key, upload.size, upload.begun, why, upload=upload
            )


def _leftover(kind: LeftoverKind, key: str, parts: Sequence[StoredObject], why: str) -> Leftover:
    return Leftover(
        kind=kind,
        key=key,
        bytes=sum(part.size for part in parts),
        # A store that tells no times tells of something new, for all we know.
        modified=max(part.modified or utc_now() for part in parts),
        why=why,
        keys=tuple(part.key for part in parts),
    )
