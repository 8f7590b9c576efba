"""The client: documents in, states and results out, over open connections to S3 and NATS."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import pyarrow as pa
from pydantic import JsonValue

from docnats.bus import Bus, NatsBus
from docnats.config import NatsConfig, ProcessingConfig, S3Config
from docnats.errors import (
    ConfigError,
    DocnatsError,
    ErrorType,
    JobFailed,
    JobTimeout,
    StateConflict,
)
from docnats.models import JobRecord, JobState, utc_now
from docnats.names import RAW_PREFIX, RESULT_PARTS, new_batch_id, result_part, valid_token
from docnats.service.batch import Batch
from docnats.service.results import DocumentResult, fetch_document, fetch_table
from docnats.service.sources import Sources, expand_sources
from docnats.service.submission import Submission
from docnats.storage import S3Storage, Storage
from docnats.table import JobTable

__all__ = ["S3DocumentClient"]

log = logging.getLogger(__name__)


class S3DocumentClient:
    """Puts documents through docnats; an async context manager.

    Parameters
    ----------
    s3_config, nats_config, processing_config : optional
        Settings; by default those of the environment.

    Examples
    --------
    >>> async with S3DocumentClient() as client:  # doctest: +SKIP
    ...     result = await client.process_document("report.pdf", timeout=60)
    ...     result.pages
    """

    def __init__(
        self,
        s3_config: S3Config | None = None,
        nats_config: NatsConfig | None = None,
        processing_config: ProcessingConfig | None = None,
    ) -> None:
        self.config = processing_config or ProcessingConfig()
        self._s3_config = s3_config or S3Config()
        self._nats_config = nats_config or NatsConfig()
        self._open = AsyncExitStack()
        self._sending: set[asyncio.Task[None]] = set()
        self._ports: tuple[Bus, Storage] | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the connections and create what is missing on the servers.

        Raises
        ------
        StorageError, BusError
            A server cannot be reached or refuses; the message says what to check.
        """
        if self._ports is not None:
            return
        if not self.config.use_s3_storage:
            raise ConfigError(
                "ProcessingConfig.use_s3_storage=False (environment: USE_S3_STORAGE): storage "
                "without S3 is not available in this version; unset it"
            )
        async with AsyncExitStack() as opening:
            storage = await opening.enter_async_context(S3Storage(self._s3_config))
            bus = await opening.enter_async_context(NatsBus(self._nats_config))
            await asyncio.gather(storage.ensure_bucket(), bus.ensure())
            self._ports = (bus, storage)
            self._open = opening.pop_all()

    async def close(self) -> None:
        """Close the connections; uploads that still go on are stopped first."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        self._ports = None
        await self._open.aclose()

    def using(self, config: ProcessingConfig) -> Self:
        """Return a client on the same connections with other processing settings."""
        other = copy.copy(self)
        other.config = config
        return other

    @property
    def bus(self) -> Bus:
        """The open control bus."""
        return self._connected()[0]

    @property
    def storage(self) -> Storage:
        """The open storage."""
        return self._connected()[1]

    def _connected(self) -> tuple[Bus, Storage]:
        if self._ports is None:
            raise DocnatsError("not connected: use `async with`, or call connect() first")
        return self._ports

    async def submit(
        self,
        sources: Sources,
        *,
        batch: str | None = None,
        options: Mapping[str, JsonValue] | None = None,
        timeout: float | None = None,
        custom_prompt: str | None = None,
    ) -> Batch:
        """Register a batch of documents and start to upload and queue them.

        Parameters
        ----------
        sources
            See :func:`docnats.submit_many`.
        batch : str, optional
            Its name; by default one made of the time.
        options : mapping, optional
            The processor's options, for example a ``password``.
        timeout : float, optional
            Seconds one job may take on a worker; by default the configured one.
        custom_prompt : str, optional
            Not available in this version; refused.

        Returns
        -------
        Batch
            Uploading goes on in the background; follow it with ``await batch.follow()``.

        Raises
        ------
        SourceError
            The sources cannot be used; nothing was uploaded.
        ConfigError
            An argument is wrong.
        """
        _refuse_prompt(custom_prompt)
        documents = await expand_sources(sources, self.storage)
        batch = await self._new_batch(batch)
        config = self.config if timeout is None else self.config.but(timeout=timeout)
        submission = Submission(self.bus, self.storage, config, batch, documents, options or {})
        table = JobTable(batch)
        for entry in await submission.register():
            table.apply(entry.record, entry.revision)
        sending = asyncio.create_task(submission.send(), name=f"docnats-send-{batch}")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return Batch(self.bus, table, sending)

    async def _new_batch(self, name: str | None) -> str:
        if name is None:
            return new_batch_id()
        if not valid_token(name):
            raise ConfigError(
                f"batch={name!r}: a name is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'"
            )
        if await self.bus.states(name):
            raise ConfigError(f"batch={name!r}: there is such a batch already; choose another name")
        return name

    async def process_document(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float | None = None,
        password: str | None = None,
        custom_prompt: str | None = None,
    ) -> DocumentResult:
        """Put one document through and return its result.

        Parameters
        ----------
        path : path
            A local PDF or an ``s3://`` URI.
        timeout : float, optional
            Seconds to wait for the result; by default the configured one.
        password : str, optional
            Opens an encrypted PDF.
        custom_prompt : str, optional
            Not available in this version; refused.

        Raises
        ------
        SourceError
            There is no such file.
        JobFailed
            The document could not be processed; ``error_type`` says why.
        JobTimeout
            No result in time (also a ``TimeoutError``); the job is cancelled.

        Notes
        -----
        With ``cleanup_on_error``, a document that fails or times out leaves nothing in S3.
        """
        timeout = self.config.timeout if timeout is None else timeout
        options = {} if password is None else {"password": password}
        batch = await self.submit(
            os.fspath(path), options=options, timeout=timeout, custom_prompt=custom_prompt
        )
        try:
            table = await batch.follow(timeout=timeout)
            (job,) = table.records()
            if job.state is JobState.DONE:
                return await fetch_document(self.storage, job)
            raise _failure(job)
        except (DocnatsError, asyncio.CancelledError):
            await self._give_up(batch.table.records())
            raise

    async def _give_up(self, jobs: Sequence[JobRecord]) -> None:
        await self.cancel(jobs)
        if self.config.cleanup_on_error:
            await self.cleanup_jobs(jobs)

    async def jobs(self, batch: str | None = None) -> list[JobRecord]:
        """Return the state records of a batch or of all, in the order of submission."""
        records = [entry.record for entry in await self.bus.states(batch)]
        return sorted(records, key=lambda job: (job.submitted_at, job.batch, job.position))

    async def attach(self, batch: str) -> Batch:
        """Return a handle on a batch that any client submitted.

        Raises
        ------
        ConfigError
            There is no such batch.
        """
        table = JobTable(batch)
        for entry in await self.bus.states(batch):
            table.apply(entry.record, entry.revision)
        if not len(table):
            raise ConfigError(f"batch={batch!r}: there is no such batch; see docnats.jobs()")
        return Batch(self.bus, table)

    async def cancel(self, jobs: Iterable[JobRecord]) -> None:
        """Cancel jobs: queued ones are dropped, running ones stopped, ended ones left."""
        for job in jobs:
            if await self._mark_cancelled(job):
                await self.bus.drop_queued(job.batch, job.job_id)
                await self.bus.broadcast_cancel(job.batch, job.job_id)

    async def _mark_cancelled(self, job: JobRecord) -> bool:
        while True:
            entry = await self.bus.get_state(job.batch, job.job_id)
            if entry is None or entry.record.terminal:
                return False
            cancelled = entry.record.but(state=JobState.CANCELLED, finished_at=utc_now())
            try:
                await self.bus.update_state(cancelled, entry.revision)
            except StateConflict:
                continue  # it moved on meanwhile: look again
            return True

    async def fetch_table(
        self, job_ids: Sequence[str], part: str, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read ``pages.parquet`` or ``words.parquet`` of many done jobs as one table."""
        return await fetch_table(self.storage, job_ids, part, columns)

    async def fetch_document(self, job: JobRecord) -> DocumentResult:
        """Read one done job's result."""
        return await fetch_document(self.storage, job)

    async def cleanup(self, key: str) -> None:
        """Delete one object or, with a key that ends in ``/``, all below it.

        Examples
        --------
        >>> await client.cleanup(result.job.s3_key)  # doctest: +SKIP
        """
        keys = [stored.key async for stored in self.storage.list(key)] if key[-1:] == "/" else [key]
        await self.storage.delete(keys)

    async def cleanup_jobs(self, jobs: Iterable[JobRecord]) -> None:
        """Delete the uploaded documents and the results of jobs; their rows stay.

        Documents that were processed in place, from ``s3://`` sources, are left alone.
        """
        keys: list[str] = []
        for job in jobs:
            keys += [result_part(job.job_id, part) for part in RESULT_PARTS]
            if job.s3_bucket == self.storage.bucket and job.s3_key.startswith(RAW_PREFIX):
                keys.append(job.s3_key)
        await self.storage.delete(keys)


def _failure(job: JobRecord) -> DocnatsError:
    message = f"{job.filename}: {job.error or job.state}"
    if job.error_type is ErrorType.TIMEOUT:
        return JobTimeout(message)
    return JobFailed(message, job_id=job.job_id, error_type=job.error_type)


def _refuse_prompt(custom_prompt: str | None) -> None:
    if custom_prompt is not None:
        raise ConfigError(
            "custom_prompt is not available in this version: no language model can be "
            "configured yet; leave it out"
        )
