"""What is done for one job: get its document, parse it, put its results."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from docnats import parsing
from docnats.bus import Bus
from docnats.config import ProcessingConfig
from docnats.errors import ConfigError, ErrorType, ParseError, ungrouped
from docnats.llm import Chat
from docnats.models import JobMessage, JobRecord, JobState, PageProgress, utc_now
from docnats.names import DOCUMENT, PAGES, WORDS, result_key
from docnats.parsing import ParseOptions
from docnats.pool import ParserPool
from docnats.processors import Processor, offered, package_version
from docnats.telemetry import Tracing, WorkerObserver
from docnats.worker.bisection import DEATHS
from docnats.worker.claim import Claim
from docnats.worker.document import (
    OnProgress,
    PageRange,
    ParsedDocument,
    parse_document,
    parse_whole,
)
from docnats.worker.known import ResultNotes
from docnats.worker.limits import Limits
from docnats.worker.outcome import stalled
from docnats.worker.prompts import answer
from docnats.worker.quarantine import Quarantine
from docnats.worker.retries import Pause
from docnats.worker.transfer import Transfer

__all__ = ["Processing", "Tools"]

READ_SECONDS = 600.0
"""For reading the texts of all pages back: some megabytes."""

PROGRESS_SECONDS = 0.25
"""Page progress is told at most 4 times a second a job."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a worker works with; one set for all its jobs."""

    worker: str
    bus: Bus
    transfer: Transfer
    pool: ParserPool
    quarantine: Quarantine
    notes: ResultNotes
    pause: Pause
    config: ProcessingConfig
    max_deliver: int
    lease_seconds: float
    processors: Mapping[str, Processor] = field(default_factory=offered)
    chat: Chat | None = None
    observer: WorkerObserver = field(default_factory=WorkerObserver)
    tracing: Tracing = field(default_factory=Tracing)


class Processing:
    """One run of one job.

    Parameters
    ----------
    message : JobMessage
        The job.
    claim : Claim
        The right to write its results.
    tools : Tools
        What the worker works with.
    """

    def __init__(self, message: JobMessage, claim: Claim, tools: Tools) -> None:
        self._message = message
        self._claim = claim
        self._tools = tools
        self._processor = tools.processors[message.processor]

    async def run(self, record: JobRecord) -> JobRecord:
        """Do it; return the record of the job that is done.

        Raises
        ------
        ParseError
            The document cannot be parsed, or is known to kill the parser.
        PromptError
            The language model does not answer.
        PlaceForbidden
            The job names a place outside of the worker's storage.
        StorageError, OSError, BusError
            It had nothing to do with the document.
        ClaimLost, JobEnded
            The job is not this worker's any more; no result was written.
        """
        message, tools = self._message, self._tools
        tools.transfer.check(message)
        tools.quarantine.check(message, message.sha256)
        with tempfile.TemporaryDirectory(prefix="docnats-job-", dir=tools.pool.workspace) as folder:
            home = Path(folder)
            source = home / "document.pdf"
            clock = _Clock()
            with self._transfer("download", "docnats.download"):
                sha256 = await tools.transfer.fetch(message, source)
            size = source.stat().st_size
            tools.observer.downloaded(clock.lap("download_seconds"), size)
            if not message.sha256:
                tools.quarantine.check(message, sha256)
            with tools.tracing.start("docnats.parse"):
                parsed = await self._parse_or_note(source, home, sha256)
            seconds = clock.lap("parse_seconds")
            tools.observer.parsed(seconds, parsed.pages, parsed.pages_failed)
            _refuse_unread(parsed)
            record = record.but(
                sha256=sha256,
                bytes=size,
                pages=parsed.pages,
                pages_failed=parsed.pages_failed,
                parts=self._processor.parts,
            )
            answered = await self._answer_prompt(home)
            if answered:
                clock.lap("prompt_seconds")
            document = self._document(record, parsed, clock.laps, answered)
            await self._claim.confirm()
            with self._transfer("upload", "docnats.store"):
                await self._store(home, document)
        await tools.quarantine.remove(message, sha256)
        return record.but(
            state=JobState.DONE, result_key=result_key(record.job_id), finished_at=utc_now()
        )

    @contextmanager
    def _transfer(self, direction: str, span: str) -> Iterator[None]:
        """Tell of a ``download`` or an ``upload``."""
        with self._tools.tracing.start(span):
            try:
                yield
            except Exception:
                self._tools.observer.transfer_failed(direction)
                raise

    async def _parse_or_note(self, source: Path, out_dir: Path, sha256: str) -> ParsedDocument:
        """Parse the document; if it kills the parser, note that for all workers."""
        try:
            return await self._parse(source, out_dir)
        except ParseError as death:
            if death.error_type is ErrorType.TIMEOUT and self._claim.doubtful:
                raise stalled(self._tools.worker) from death
            if death.error_type in DEATHS and not death.transient and sha256:
                await self._tools.quarantine.add(self._message, sha256, death)
            raise

    async def _parse(self, source: Path, out_dir: Path) -> ParsedDocument:
        tools, options = self._tools, self._parse_options()
        limits = Limits(self._message.processing_timeout, self._processor.memory)
        if self._processor.whole:
            return await parse_whole(tools.pool, source, out_dir, options, limits=limits)
        return await parse_document(
            tools.pool,
            source,
            out_dir,
            options,
            pages_per_range=tools.config.pages_per_range,
            limits=limits,
            on_progress=self._progress_teller(),
        )

    def _parse_options(self) -> ParseOptions:
        try:
            settings = self._processor.settings(self._message.options)
        except ConfigError as error:  # of another version's client, or of another program
            raise ParseError(ErrorType.PROCESSOR, str(error)) from error
        return ParseOptions(
            settings=settings,
            max_pages=self._tools.config.max_pages,
            reader=self._processor.reader,
            parts=self._processor.parts,
        )

    async def _answer_prompt(self, home: Path) -> dict[str, Any]:
        prompt, chat = self._message.custom_prompt, self._tools.chat
        if prompt is None or chat is None:  # a job with a prompt does not come here without one
            return {}
        # What a parser process wrote is read in one: the document may have taken it over.
        pool = self._tools.pool
        with self._tools.tracing.start("docnats.prompt"):
            pages = await pool.run(parsing.read_texts, str(home), timeout=READ_SECONDS)
            return {"custom_prompt": prompt, **await answer(chat, prompt, pages)}

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
                    job_id=self._message.request_id,
                    batch=self._message.batch,
                    pages_done=pages_done,
                    pages=pages,
                    ranges=ranges,
                )
            )

        return tell

    def _document(
        self,
        record: JobRecord,
        parsed: ParsedDocument,
        timings: dict[str, float],
        answered: dict[str, Any],
    ) -> bytes:
        message = self._message
        body = {
            "schema_version": message.schema_version,
            "job_id": message.request_id,
            "batch": message.batch,
            "filename": message.filename,
            "sha256": record.sha256,
            "bytes": record.bytes,
            "pages": parsed.pages,
            "pages_failed": parsed.pages_failed,
            "metadata": parsed.metadata,
            "processor": message.processor,
            "versions": {
                name: package_version(name) for name in ("docnats", self._processor.package)
            },
            "parts": self._processor.parts,
            "options": message.shown_options,
            "timings": timings,
            "errors": [
                {"page_no": error.page_no, "error": error.error} for error in parsed.page_errors
            ],
            **answered,
        }
        return to_json(body, indent=1)

    async def _store(self, folder: Path, document: bytes) -> None:
        contents: dict[str, Path | bytes] = {
            PAGES: folder / PAGES,
            WORDS: folder / WORDS,
            **{part: folder / part for part in self._processor.parts},
            DOCUMENT: document,
        }
        clock = _Clock()
        with ungrouped():
            async with asyncio.TaskGroup() as puts:
                for part, content in contents.items():
                    puts.create_task(self._tools.transfer.store(self._message, part, content))
        seconds = clock.lap("upload_seconds")
        self._tools.observer.uploaded(seconds, (_size(content) for content in contents.values()))


class _Clock:
    def __init__(self) -> None:
        self._last = asyncio.get_running_loop().time()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> float:
        now = asyncio.get_running_loop().time()
        self.laps[name] = seconds = round(now - self._last, 6)
        self._last = now
        return seconds


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _refuse_unread(parsed: ParsedDocument) -> None:
    """Fail a document of which no page could be read."""
    if parsed.pages_failed == parsed.pages:
        first = parsed.page_errors[0]
        raise ParseError(
            ErrorType.MALFORMED,
            f"none of its {parsed.pages} pages could be read; page {first.page_no}: {first.error}",
        )
