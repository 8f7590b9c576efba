"""The client: documents in, states and results out, over open connections to S3 and NATS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from docnats.errors import DocnatsError
from docnats.models import JobRecord, JobState, Receipt
from docnats.names import new_batch_id
from docnats.processors import DEFAULT
from docnats.service import history, results
from docnats.service.archive import archive_batch
from docnats.service.batch import Batch
from docnats.service.cancel import cancel_jobs
from docnats.service.choice import choose, with_password
from docnats.service.cleanup import clean_up_jobs, give_up
from docnats.service.explain import failure_of
from docnats.service.history import key_of
from docnats.service.reader import Reader
from docnats.service.results import DocumentResult
from docnats.service.retry import resubmission
from docnats.service.sources import Sources, expand_sources
from docnats.service.submission import Submission
from docnats.service.verify import Verification, verify_batch

__all__ = ["S3DocumentClient"]


class S3DocumentClient(Reader):
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
        batch = await history.new_batch(self.archives, batch)
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
        With ``cleanup_on_error``, a document that fails or times out leaves nothing in the storage.
        """
        timeout = self.config.timeout if timeout is None else timeout
        batch = await self.submit(
            os.fspath(path),
            processor=processor,
            options=with_password(options, password),
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
            A document is not in the storage any more, or there is nothing to retry; nothing was
            submitted.

        Examples
        --------
        >>> failed = await client.jobs("papers", state="failed")  # doctest: +SKIP
        >>> batch = await client.retry(failed, timeout=3600)  # doctest: +SKIP
        """
        batch = new_batch_id()
        submission = await resubmission(
            self.archives,
            self.config,
            batch,
            map(key_of, jobs),
            password=password,
            timeout=timeout,
            force=force,
        )
        return await self._begin(submission, batch)

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
        return await clean_up_jobs(self.archives, jobs)

    async def archive(self, batch: str) -> Receipt:
        """Move a batch's rows out of NATS into S3; see :func:`docnats.archive`.

        Raises
        ------
        ConfigError
            There is no such batch.
        DocnatsError
            A job has not ended; nothing was changed.

        Examples
        --------
        >>> receipt = await client.archive("papers")  # doctest: +SKIP
        """
        return await archive_batch(self.archives, batch)

    async def verify(self, batch: str) -> Verification:
        """Check an archived batch against its receipt; see :func:`docnats.verify`.

        Raises
        ------
        ConfigError
            The batch is not archived.
        DocnatsError
            Its receipt is gone, or cannot be read.

        Examples
        --------
        >>> (await client.verify("papers")).intact  # doctest: +SKIP
        """
        return await verify_batch(self.archives, batch)
