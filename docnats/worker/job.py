"""One job on a worker: start, run, settle.

The order keeps the promise that nothing is lost and nothing is settled twice: the result is
written first, the state record is compare-and-set second, the message is acked last. A
worker that dies in between leaves the message to the next one, which writes the same keys.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from docnats.bus import Bus, Lease
from docnats.config import ProcessingConfig
from docnats.errors import BusError, ErrorType, ParseError, StateConflict, StorageError
from docnats.models import JobMessage, JobRecord, JobState, PageProgress, utc_now
from docnats.names import DOCUMENT, PAGES, WORDS, result_key
from docnats.parsing import ParseOptions
from docnats.pool import ParserPool
from docnats.worker.document import OnProgress, PageRange, ParsedDocument, parse_document
from docnats.worker.transfer import Transfer

__all__ = ["Job", "Tools"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""Delay before a job is tried again after a passing fault; doubles with each attempt."""

BAD_PAGES_SHARE = 0.5
"""Part of a job's time limit that pages which kill the parser may use up."""

PROGRESS_SECONDS = 0.25
"""Page progress is told at most 4 times a second a job."""


class _Retry(Exception):  # noqa: N818 - not an error: a decision
    """The job met a fault that may pass: hand it back and let it be delivered again."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a worker works with; one set for all its jobs."""

    worker: str
    bus: Bus
    transfer: Transfer
    pool: ParserPool
    config: ProcessingConfig
    max_deliver: int
    lease_seconds: float


class Job:
    """One leased job.

    Parameters
    ----------
    lease : Lease
        The message and the right to work on it.
    tools : Tools
        What the worker works with.
    """

    def __init__(self, lease: Lease, tools: Tools) -> None:
        self.message: JobMessage = lease.message
        self._lease = lease
        self._tools = tools
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.message.request_id

    def cancel(self) -> None:
        """Stop the job because its user cancelled it; its state is already written."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    async def work(self) -> None:
        """Do the job and settle it; cancelling this hands the job back to the queue."""
        self._task = asyncio.current_task()
        renewal = asyncio.create_task(self._keep_lease())
        try:
            await self._work()
        except asyncio.CancelledError:
            if not self._cancelled:
                await self._lease.release()
                raise
            log.info("job %s: cancelled", self.job_id)
            await self._lease.ack()
        except _Retry as retry:
            delay = RETRY_SECONDS * 2 ** (self._lease.attempt - 1)
            log.warning("job %s: %s; tried again in %.0f s", self.job_id, retry, delay)
            await self._lease.release(delay)
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _work(self) -> None:
        started = await self._start()
        if started is None:
            return
        record, revision = started
        await self._settle(await self._outcome(record), revision)

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._tools.lease_seconds / 3)
            try:
                await self._lease.renew()
            except BusError as error:
                log.warning("job %s: lease not renewed: %s", self.job_id, error)

    async def _start(self) -> tuple[JobRecord, int] | None:
        """Mark the job running; None when there is nothing left to do."""
        entry = await self._tools.bus.get_state(self.message.batch, self.job_id)
        record = entry.record if entry else _record_of(self.message)
        if record.terminal:
            await self._lease.ack()
            return None
        if record.attempt > self._lease.attempt:
            log.warning("job %s: the lease of attempt %d is over", self.job_id, record.attempt)
            return None
        running = record.but(
            state=JobState.RUNNING,
            attempt=self._lease.attempt,
            worker=self._tools.worker,
            started_at=utc_now(),
        )
        try:
            revision = await self._tools.bus.update_state(running, entry.revision if entry else 0)
        except StateConflict as conflict:
            raise _Retry(conflict) from conflict
        return running, revision

    async def _outcome(self, record: JobRecord) -> JobRecord:
        """Run the job and return its terminal record."""
        if record.attempt > self._tools.max_deliver:
            msg = f"given up: {self._tools.max_deliver} workers died or stalled on this document"
            return record.failed(ErrorType.CRASHED, msg)
        try:
            async with asyncio.timeout(self.message.processing_timeout):
                return await self._run(record)
        except TimeoutError:
            msg = f"not done within its limit of {self.message.processing_timeout:g} s"
            return record.failed(ErrorType.TIMEOUT, msg)
        except ParseError as error:
            return record.failed(error.error_type, str(error))
        except (StorageError, OSError) as error:
            return self._storage_failure(record, error)
        except Exception as error:
            log.exception("job %s: internal error", self.job_id)
            return record.failed(ErrorType.INTERNAL, f"{type(error).__name__}: {error}")

    def _storage_failure(self, record: JobRecord, error: StorageError | OSError) -> JobRecord:
        passing = error.transient if isinstance(error, StorageError) else True
        if passing and record.attempt < self._tools.max_deliver:
            raise _Retry(error) from error
        message = str(error)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            message = f"no space left on worker {self._tools.worker} ({tempfile.gettempdir()})"
        return record.failed(ErrorType.STORAGE, message)

    async def _run(self, record: JobRecord) -> JobRecord:
        with tempfile.TemporaryDirectory(prefix="docnats-job-") as folder:
            home = Path(folder)
            source = home / "document.pdf"
            clock = _Clock()
            sha256 = await self._tools.transfer.fetch(self.message, source)
            clock.lap("download_seconds")
            parsed = await self._parse(source, home)
            clock.lap("parse_seconds")
            _refuse_unread(parsed)
            size = source.stat().st_size
            record = record.but(
                sha256=sha256, bytes=size, pages=parsed.pages, pages_failed=parsed.pages_failed
            )
            document = self._document(record, parsed, clock.laps)
            await self._store(home, document)
        return record.but(
            state=JobState.DONE, result_key=result_key(self.job_id), finished_at=utc_now()
        )

    async def _parse(self, source: Path, out_dir: Path) -> ParsedDocument:
        config = self._tools.config
        password = self.message.options.get("password")
        return await parse_document(
            self._tools.pool,
            source,
            out_dir,
            ParseOptions(
                password=password if isinstance(password, str) else None,
                max_pages=config.max_pages,
            ),
            pages_per_range=config.pages_per_range,
            seconds_for_bad_pages=self.message.processing_timeout * BAD_PAGES_SHARE,
            on_progress=self._progress_teller(),
        )

    def _progress_teller(self) -> OnProgress:
        loop = asyncio.get_running_loop()
        told_at = loop.time()

        def tell(pages_done: int, pages: int, ranges: tuple[PageRange, ...]) -> None:
            nonlocal told_at
            if loop.time() - told_at < PROGRESS_SECONDS:
                return
            told_at = loop.time()
            self._tools.bus.tell_progress(
                PageProgress(
                    job_id=self.job_id,
                    batch=self.message.batch,
                    pages_done=pages_done,
                    pages=pages,
                    ranges=ranges,
                )
            )

        return tell

    def _document(
        self, record: JobRecord, parsed: ParsedDocument, timings: dict[str, float]
    ) -> bytes:
        options = {key: value for key, value in self.message.options.items() if key != "password"}
        body = {
            "schema_version": self.message.schema_version,
            "job_id": self.job_id,
            "batch": self.message.batch,
            "filename": self.message.filename,
            "sha256": record.sha256,
            "bytes": record.bytes,
            "pages": parsed.pages,
            "pages_failed": parsed.pages_failed,
            "metadata": parsed.metadata,
            "processor": self.message.processor,
            "versions": {name: version(name) for name in ("docnats", "docling-parse")},
            "options": options,
            "timings": timings,
            "errors": [
                {"page_no": error.page_no, "error": error.error} for error in parsed.page_errors
            ],
        }
        return json.dumps(body, ensure_ascii=False, indent=1).encode()

    async def _store(self, folder: Path, document: bytes) -> None:
        contents: dict[str, Path | bytes] = {
            PAGES: folder / PAGES,
            WORDS: folder / WORDS,
            DOCUMENT: document,
        }
        await asyncio.gather(
            *(
                self._tools.transfer.store(self.message, part, content)
                for part, content in contents.items()
            )
        )

    async def _settle(self, record: JobRecord, revision: int) -> None:
        """Write the terminal state; only the winner of that write acks the message."""
        try:
            await self._tools.bus.update_state(record, revision)
        except StateConflict:
            entry = await self._tools.bus.get_state(record.batch, record.job_id)
            if entry is not None and not entry.record.terminal:
                log.warning("job %s: another worker has it now; result dropped", self.job_id)
                return
        await self._lease.ack()
        log.info("job %s: %s (%s)", self.job_id, record.state, record.filename)


class _Clock:
    def __init__(self) -> None:
        self._last = asyncio.get_running_loop().time()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        self.laps[name] = round(now - self._last, 6)
        self._last = now


def _refuse_unread(parsed: ParsedDocument) -> None:
    """Fail a document of which no page could be read."""
    if parsed.pages_failed == parsed.pages:
        first = parsed.page_errors[0]
        raise ParseError(
            ErrorType.MALFORMED,
            f"none of its {parsed.pages} pages could be read; page {first.page_no}: {first.error}",
        )


def _record_of(message: JobMessage) -> JobRecord:
    """Make the record of a job that somebody else than docnats put on the bus."""
    return JobRecord(
        job_id=message.request_id,
        batch=message.batch,
        filename=message.filename,
        state=JobState.QUEUED,
        s3_bucket=message.s3_bucket,
        s3_key=message.s3_key,
        bytes=message.file_size,
        sha256=message.sha256,
        submitted_at=message.timestamp,
        queued_at=message.timestamp,
        processor=message.processor,
        processing_timeout=message.processing_timeout,
    )
