"""What a client reads: job records, batches, and the results of jobs that are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from docnats.errors import ObjectMissing
from docnats.models import JobRecord, JobState
from docnats.service import history, results
from docnats.service.batch import Batch
from docnats.service.connected import Connected
from docnats.service.dataset import Part, open_dataset
from docnats.service.explain import Explanation, explain_jobs
from docnats.service.history import BatchSummary, JobKey, Since, States
from docnats.service.results import DocumentResult

if TYPE_CHECKING:
    import pyarrow.dataset

__all__ = ["Reader"]


class Reader(Connected):
    """A client as far as it changes nothing; archived batches are read like all others."""

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
        return await history.list_jobs(self.archives, batch, since, state)

    async def batches(self) -> list[BatchSummary]:
        """Return one summary a batch, the newest first.

        Examples
        --------
        >>> running = [b for b in await client.batches() if not b.finished_at]  # doctest: +SKIP
        """
        return await history.list_batches(self.archives)

    async def attach(self, batch: str) -> Batch:
        """Return a handle on a batch that any client submitted.

        Raises
        ------
        ConfigError
            There is no such batch.
        """
        return await history.attach_batch(self.archives, batch)

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
        return await history.select_jobs(self.archives, keys)

    async def find(self, keys: Iterable[JobKey]) -> list[JobRecord]:
        """Return the records of some jobs, each once; ``TableError`` for an unknown one."""
        return [entry.record for entry in await history.find_jobs(self.archives, keys)]

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
        places = await history.result_places(self.archives, job_ids)
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
            places = await history.result_places(self.archives, job_ids)
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
