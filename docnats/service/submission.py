"""Sends the documents of one batch: put, tell, state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from docnats.bus import Bus, StateEntry
from docnats.config import ProcessingConfig
from docnats.errors import ErrorType, StorageError, ungrouped
from docnats.models import SECRET_OPTIONS, JobMessage, JobRecord, JobState, utc_now
from docnats.names import new_job_id, raw_key
from docnats.service.choice import Choice
from docnats.service.known import Library
from docnats.service.presence import Presence
from docnats.service.sending import SendingReport
from docnats.service.signing import signed_urls
from docnats.service.sources import Source
from docnats.storage import Storage
from docnats.telemetry import ClientObserver, Tracing, about_job

__all__ = ["Submission"]

log = logging.getLogger(__name__)

_GROUP = 256
"""Jobs told to the bus at a time."""


class Submission:
    """The way of one batch's documents from the user to the queue.

    Parameters
    ----------
    bus, storage
        The open ports.
    config : ProcessingConfig
        Limits and time-outs.
    batch : str
        The batch's id.
    sources : sequence of Source
        The documents, in the order of the table's rows.
    choice : Choice
        How to process them.
    force : bool
        Process documents again whose results are known, or that are known to kill the parser.
    reuse : bool
        Answer documents whose results are known, unless forced.
    """

    def __init__(
        self,
        bus: Bus,
        storage: Storage,
        config: ProcessingConfig,
        batch: str,
        sources: Sequence[Source],
        choice: Choice,
        *,
        force: bool = False,
        reuse: bool = True,
    ) -> None:
        self._bus_now = bus
        self._bus = bus.patient()
        self._storage = storage.patient()
        self._config = config
        self._choice = choice
        self._force = force
        self._reuse = reuse and config.reuse_results and not force
        self._batch = batch
        self._jobs = [
            (source, self._new_record(position, source)) for position, source in enumerate(sources)
        ]
        self._library = Library(self._bus, choice, storage.bucket)
        self._unknown: asyncio.Queue[tuple[Source, JobRecord] | None] = asyncio.Queue(_GROUP)
        self._sent: asyncio.Queue[StateEntry | None] = asyncio.Queue(maxsize=4 * _GROUP)
        self._cancelled: set[str] = set()
        self._presence = Presence(bus, batch)
        self._report = SendingReport(ClientObserver(), Tracing())

    def report_to(self, observer: ClientObserver, tracing: Tracing) -> None:
        """Tell these what becomes of the documents."""
        self._report = SendingReport(observer, tracing)

    def _new_record(self, position: int, source: Source) -> JobRecord:
        job_id = new_job_id()
        choice = self._choice
        shown = {k: v for k, v in choice.options.items() if k not in SECRET_OPTIONS}
        return JobRecord(
            job_id=job_id,
            batch=self._batch,
            position=position,
            filename=source.name,
            state=JobState.UPLOADING,
            s3_bucket=source.bucket or self._storage.bucket,
            s3_key=source.key or raw_key(job_id),
            bytes=source.size,
            submitted_at=utc_now(),
            parts=choice.parts,
            processor=choice.processor,
            processing_timeout=self._config.timeout,
            options=shown,
            custom_prompt=choice.prompt,
        )

    async def register(self) -> list[StateEntry]:
        """Write a record for every document, so that none can be forgotten.

        Somebody waits for this call, so it does not wait for a server that is out of reach;
        :meth:`send` does.

        Raises
        ------
        ConfigError
            Another process is sending a batch of this name.
        """
        await self._presence.begin()
        records = [record for _, record in self._jobs]
        try:
            entries = [StateEntry(record, 0) for record in records]
            revisions = await self._bus_now.update_states(entries)
        except BaseException:
            await self._presence.give_up()
            raise
        entries = [
            StateEntry(record, revision)
            for record, revision in zip(records, revisions, strict=True)
            if revision is not None  # never: their ids are new
        ]
        self._revisions = {entry.record.job_id: entry.revision for entry in entries}
        return entries

    async def send(self) -> None:
        """Upload every document and queue its job; a file that fails is a failed row."""
        with ungrouped():
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell_all())
                async with asyncio.TaskGroup() as lanes:
                    lanes.create_task(self._sort_out())
                    for _ in range(min(self._config.max_uploads, len(self._jobs))):
                        lanes.create_task(self._upload_all())
                await self._sent.put(None)
        await self._presence.end()

    async def abandon(self, reason: str | None = None) -> None:
        """Let what was not sent fail as ``not_sent``, once :meth:`send` runs no more."""
        await self._presence.give_up(reason)

    def skip(self, job_ids: Iterable[str]) -> None:
        """Upload no more of these jobs' documents: they were cancelled."""
        self._cancelled.update(job_ids)

    async def _sort_out(self) -> None:
        """Answer what is known; hand on the rest to be uploaded, in order, and None at the end."""
        for first in range(0, len(self._jobs), _GROUP):
            if self._presence.taken_for_dead:
                break
            group = self._jobs[first : first + _GROUP]
            known = await self._library.look_up(group) if self._reuse else [None] * len(group)
            for job, answered in zip(group, known, strict=True):
                if answered is None:
                    await self._unknown.put(job)
                elif answered.job_id not in self._cancelled:
                    self._report.reused(1)
                    await self._sent.put(StateEntry(answered, self._revisions[answered.job_id]))
        await self._unknown.put(None)

    async def _upload_all(self) -> None:
        while (job := await self._unknown.get()) is not None:
            source, record = job
            if self._presence.taken_for_dead:
                continue  # to the end, so that nobody waits to hand on more
            if record.job_id in self._cancelled:
                continue
            upload = self._report.begin(record)
            with about_job(record.batch, record.job_id):
                sent = await self._upload(source, record)
            self._report.end(upload, sent, in_place=source.key is not None)
            await self._sent.put(StateEntry(sent, self._revisions[record.job_id]))
        self._unknown.put_nowait(None)  # for the next lane; the one just taken left room

    async def _upload(self, source: Source, record: JobRecord) -> JobRecord:
        if source.size > self._config.max_file_size:
            return record.failed(
                ErrorType.TOO_LARGE,
                f"{source.size:,} bytes are over max_file_size={self._config.max_file_size:,}",
            )
        try:
            if source.path is not None:
                stored = await self._storage.put_file(record.s3_key, source.path)
            elif source.data is not None:
                stored = await self._storage.put_bytes(record.s3_key, source.data)
            else:
                return record.but(state=JobState.QUEUED, queued_at=utc_now())
        except (StorageError, OSError) as error:
            log.warning("job %s: %s not uploaded: %s", record.job_id, source.name, error)
            return record.failed(ErrorType.STORAGE, f"not uploaded: {error}")
        return record.but(
            state=JobState.QUEUED, queued_at=utc_now(), bytes=stored.size, sha256=stored.sha256
        )

    async def _tell_all(self) -> None:
        while (first := await self._sent.get()) is not None:
            group = [first]
            while len(group) < _GROUP and not self._sent.empty():
                entry = self._sent.get_nowait()
                if entry is None:
                    self._sent.put_nowait(None)
                    break
                group.append(entry)
            await self._tell(group)

    async def _tell(self, group: list[StateEntry]) -> None:
        """Put a group of jobs on the queue, then move them on in the table.

        In this order, a row that says ``queued`` always has its message. A worker may be
        faster than the second step; its state then stays.
        """
        queued = [entry.record for entry in group if entry.record.state is JobState.QUEUED]
        messages = await asyncio.gather(*map(self._message, queued))
        with self._report.publishing(queued) as headers:
            await self._bus.publish(messages, headers)
        outcomes = await self._bus.update_states(group)
        overtaken = [e.record for e, new in zip(group, outcomes, strict=True) if new is None]
        if overtaken:
            await self._take_back_ended(overtaken)

    async def _take_back_ended(self, overtaken: Sequence[JobRecord]) -> None:
        """Of jobs whose state somebody else wrote, take back those that no worker is to have.

        They were cancelled; or this process was stalled, and taken for dead.
        """
        known = await asyncio.gather(*(self._bus.get_state(r.batch, r.job_id) for r in overtaken))
        ended = [
            record
            for record, entry in zip(overtaken, known, strict=True)
            if entry is None or _never_to_run(entry.record)
        ]
        await self._bus.drop_queued(self._batch, [record.job_id for record in ended])
        uploads = ((record.s3_key, raw_key(record.job_id)) for record in ended)
        try:
            await self._storage.delete(key for key, upload in uploads if key == upload)
        except StorageError as error:  # the other documents are still to be sent
            log.warning("batch %s: uploads are left to `docnats gc`: %s", self._batch, error)
        if ended:
            log.info(
                "batch %s: %d jobs taken back, the first is %s",
                self._batch,
                len(ended),
                ended[0].job_id,
            )

    async def _message(self, record: JobRecord) -> JobMessage:
        urls = await signed_urls(self._storage, record) if self._config.presign else None
        return record.message(urls, options=self._choice.options, force=self._force)


def _never_to_run(record: JobRecord) -> bool:
    return record.state is JobState.CANCELLED or record.error_type is ErrorType.NOT_SENT
