"""The client: documents in, states and results out, over open connections to S3 and NATS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import JsonValue

from docnats.errors import DocnatsError, ObjectMissing
from docnats.models import JobRecord, JobState
from docnats.names import new_batch_id
from docnats.processors import DEFAULT
from docnats.service import history, results
from docnats.service.batch import Batch
from docnats.service.cancel import cancel_jobs
from docnats.service.choice import choose
from docnats.service.cleanup import clean_up_jobs, give_up
from docnats.service.connected import Connected
from docnats.service.dataset import Part, open_dataset
from docnats.service.explain import Explanation, explain_jobs, failure_of
from docnats.service.history import BatchSummary, JobKey, Since, States, key_of
from docnats.service.results import DocumentResult
from docnats.service.retry import resubmission
from docnats.service.sources import Sources, expand_sources
from docnats.service.submission import Submission

if TYPE_CHECKING:
    import pyarrow.dataset

__all__ = ["S3DocumentClient"]


class S3DocumentClient(Connected):
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

    async def submit(
        self,
        sources: Sources,
        *,
        batch: str | None = None,
        processor: str = DEFAULT,
        options: Mapping[str, JsonValue] | None = None,
        timeout: float | None = None,
        custom_prompt: str | None = None,
        force: bool = False,
    ) -> Batch:
        """Register a batch of documents and start to upload and queue them.

        Parameters
        ----------
        sources
            See :func:`docnats.submit_many`.
        batch : str, optional
            Its name; by default one made of the time.
        processor : str
            What to put the documents through.
        options : mapping, optional
            The processor's options, for example a ``password``.
        timeout : float, optional
            Seconds one job may take on a worker; by default the configured one.
        custom_prompt : str, optional
            What a language model is asked about each document's text: ``prompt_output`` of the
            result. Refused where no worker has one.
        force : bool
            Process documents again whose results are known, or that are known to kill the
            parser.

        Returns
        -------
        Batch
            Uploading goes on in the background; follow it with ``await batch.follow()``.

        Raises
        ------
        SourceError
            The sources cannot be used; nothing was uploaded.
        ConfigError
            An argument is wrong, or there is no such processor or option; nothing was uploaded.
        """
        choice = await choose(self.bus, processor, options or {}, custom_prompt)
        documents = await expand_sources(sources, self.storage)
        batch = await history.new_batch(self.bus, batch)
        config = self.config if timeout is None else self.config.but(timeout=timeout)
        submission = Submission(
            self.bus, self.storage, config, batch, documents, choice, force=force
        )
        return await self._begin(submission, batch)

    async def process_document(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float | None = None,
        password: str | None = None,
        processor: str = DEFAULT,
        options: Mapping[str, JsonValue] | None = None,
        custom_prompt: str | None = None,
        force: bool = False,
    ) -> DocumentResult:
        """Put one document through and return its result.

        Parameters
        ----------
        path : path
            A local PDF or an ``s3://`` URI.
        timeout : float, optional
            Seconds to wait for the result; by default the configured one.
        password : str, optional
            Opens an encrypted PDF: the option of that name.
        processor, options
            As of :meth:`submit`.
        custom_prompt : str, optional
            What a language model is asked about each document's text: ``prompt_output`` of the
            result. Refused where no worker has one.
        force : bool
            Process it anew even if its result is known, or that it kills the parser.

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
        secrets = {} if password is None else {"password": password}
        batch = await self.submit(
            os.fspath(path),
            processor=processor,
            options={**(options or {}), **secrets},
            timeout=timeout,
            custom_prompt=custom_prompt,
            force=force,
        )
        try:
            table = await batch.follow(timeout=timeout)
            (job,) = table.records()
            if job.state is JobState.DONE:
                return await results.fetch_document(self.storage.patient(), job)
            raise failure_of(job)
        except (DocnatsError, asyncio.CancelledError):
            await self._give_up(batch.table.records())
            raise

    async def _give_up(self, jobs: Sequence[JobRecord]) -> None:
        self._skip(jobs)
        await give_up(self.bus, self.storage, jobs, clean_up=self.config.cleanup_on_error)

    async def jobs(
        self,
        batch: str | None = None,
        *,
        since: Since | None = None,
        state: States | None = None,
    ) -> list[JobRecord]:
        """Return the state records of jobs, in the order of submission.

        Parameters
        ----------
        batch : str, optional
            Of this batch only; by default of all.
        since : datetime or timedelta, optional
            Submitted at this time or later (UTC unless it says otherwise), or not longer ago.
        state : JobState, str or several of them, optional
            In one of these states.

        Raises
        ------
        ConfigError
            There is no such state, or ``since`` is no time.

        Examples
        --------
        >>> failed = await client.jobs(since=timedelta(days=1), state="failed")  # doctest: +SKIP
        """
        return await history.list_jobs(self.bus, batch, since, state)

    async def batches(self) -> list[BatchSummary]:
        """Return one summary a batch, the newest first.

        Examples
        --------
        >>> running = [b for b in await client.batches() if not b.finished_at]  # doctest: +SKIP
        """
        return await history.list_batches(self.bus)

    async def attach(self, batch: str) -> Batch:
        """Return a handle on a batch that any client submitted.

        Raises
        ------
        ConfigError
            There is no such batch.
        """
        return await history.attach_batch(self.bus, batch, self.storage)

    async def select(self, keys: Iterable[JobKey]) -> Batch:
        """Return a handle on some jobs of any batches, to look at or to wait for.

        Parameters
        ----------
        keys : iterable of (batch, job_id)
            Repeated ones count once.

        Raises
        ------
        TableError
            A job is not known to this installation.
        ConfigError
            There is not one job.

        Examples
        --------
        >>> batch = await client.select((j.batch, j.job_id) for j in jobs)  # doctest: +SKIP
        >>> table = await batch.follow()  # doctest: +SKIP
        """
        return await history.select_jobs(self.bus, keys, self.storage)

    async def find(self, keys: Iterable[JobKey]) -> list[JobRecord]:
        """Return the records of some jobs, each once; ``TableError`` for an unknown one."""
        return [entry.record for entry in await history.find_jobs(self.bus, keys)]

    async def cancel(self, jobs: Iterable[JobRecord]) -> int:
        """Cancel jobs: queued ones are dropped, running ones stopped, ended ones left.

        Returns how many were cancelled.

        Examples
        --------
        >>> await client.cancel(await client.jobs("papers"))  # doctest: +SKIP
        """
        jobs = list(jobs)
        cancelled = await cancel_jobs(self.bus.patient(), jobs)
        self._skip(jobs)
        return cancelled

    def _skip(self, jobs: Sequence[JobRecord]) -> None:
        for submission in self._sending.values():
            submission.skip(job.job_id for job in jobs)

    async def retry(
        self,
        jobs: Iterable[JobRecord],
        *,
        password: str | None = None,
        timeout: float | None = None,
        force: bool = False,
    ) -> Batch:
        """Run jobs again that failed or were cancelled, without a new upload.

        A job that has ended stays as it is; its document becomes a new job of a new batch.

        Parameters
        ----------
        password : str, optional
            Opens encrypted PDFs; one given earlier is kept nowhere.
        timeout : float, optional
            Seconds one job may take on a worker; by default as long as before.
        force : bool
            Run those again too that are done, and those known to kill the parser.

        Returns
        -------
        Batch
            The new jobs, in the order of those given that were retried.

        Raises
        ------
        SourceError
            A document is not in S3 any more, or there is nothing to retry; nothing was
            submitted.

        Examples
        --------
        >>> failed = await client.jobs("papers", state="failed")  # doctest: +SKIP
        >>> batch = await client.retry(failed, timeout=3600)  # doctest: +SKIP
        """
        batch = new_batch_id()
        submission = await resubmission(
            self.bus,
            self.storage,
            self.config,
            batch,
            map(key_of, jobs),
            password=password,
            timeout=timeout,
            force=force,
        )
        return await self._begin(submission, batch)

    async def fetch_table(
        self,
        job_ids: Sequence[str],
        part: str,
        columns: Sequence[str] | None = None,
        *,
        names: Mapping[str, str] | None = None,
        places: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """Read ``pages.parquet`` or ``words.parquet`` of many done jobs as one table.

        Parameters
        ----------
        columns : sequence of str, optional
            Read only these; ``job_id`` comes first in any case.
        names : mapping, optional
            The documents' names by job id, for the error message.
        places : mapping, optional
            The jobs' ``result_key`` by job id; without it, those that have ``reused_from`` take
            a look at the whole job table.

        Raises
        ------
        TableError
            There is no such column.
        ObjectMissing
            Results were cleaned up; the message names the documents.
        """
        storage, names = self.storage.patient(), names or {}
        try:
            return await results.fetch_table(storage, job_ids, part, columns, names, places)
        except ObjectMissing:
            if places is not None:
                raise
        places = await history.result_places(self.bus, job_ids)
        return await results.fetch_table(storage, job_ids, part, columns, names, places)

    async def dataset(
        self,
        batch: str,
        part: Part = "words",
        columns: Sequence[str] | None = None,
    ) -> pyarrow.dataset.Dataset:
        """Return the results of a batch's done jobs as a dataset that is read piece by piece.

        Parameters
        ----------
        part : {"words", "pages"}
            One row a word, or one row a page.
        columns : sequence of str, optional
            Show only these besides ``job_id``.

        Raises
        ------
        ConfigError
            There is no such batch, or no such part.
        TableError
            There is no such column.

        Notes
        -----
        It reads S3 with the credentials of this moment; open it again when they have ended.
        """
        jobs = (await self.attach(batch)).table.records()
        done = [job for job in jobs if job.state is JobState.DONE]
        places = {job.job_id: job.result_key for job in done if job.result_key}
        return await self.dataset_of([job.job_id for job in done], part, columns, places=places)

    async def dataset_of(
        self,
        job_ids: Sequence[str],
        part: Part = "words",
        columns: Sequence[str] | None = None,
        *,
        places: Mapping[str, str] | None = None,
    ) -> pyarrow.dataset.Dataset:
        """Return the results of done jobs as a dataset; ``places`` as in :meth:`fetch_table`."""
        if places is None:
            places = await history.result_places(self.bus, job_ids)
        return await open_dataset(self.storage, job_ids, part, columns, places)

    async def explain(self, jobs: Iterable[JobRecord]) -> list[Explanation]:
        """Say for each job that did not end well what happened and what to do.

        Examples
        --------
        >>> for told in await client.explain(await client.jobs("papers")):  # doctest: +SKIP
        ...     print(told.filename, told.what_happened, told.what_to_do)
        """
        return await explain_jobs(self.storage, jobs)

    async def fetch_document(self, job: JobRecord) -> DocumentResult:
        """Read one done job's result."""
        return await results.fetch_document(self.storage.patient(), job)

    async def fetch_source(self, job: JobRecord) -> bytes:
        """Read one job's PDF; ``ObjectMissing`` if it was cleaned up."""
        return await results.fetch_source(self.storage.patient(), job)

    async def cleanup(self, key: str) -> None:
        """Delete one object or, with a key that ends in ``/``, all below it.

        Examples
        --------
        >>> await client.cleanup(result.job.s3_key)  # doctest: +SKIP
        """
        keys = [stored.key async for stored in self.storage.list(key)] if key[-1:] == "/" else [key]
        await self.storage.delete(keys)

    async def cleanup_jobs(self, jobs: Iterable[JobRecord]) -> int:
        """Delete the uploaded documents and the results of jobs; their rows stay.

        Documents that were processed in place, from ``s3://`` sources, are left alone. An
        upload or result that another row still has is kept; cleaning up that row deletes it.

        Returns
        -------
        int
            How many documents.

        Raises
        ------
        DocnatsError
            A job has not ended; nothing was deleted.
        """
        return await clean_up_jobs(self.bus, self.storage, jobs)
