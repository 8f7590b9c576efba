"""``jobs.docnats``: what can be done with the jobs in any DataFrame of job rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import pandas as pd

from docnats.errors import TableError
from docnats.models import JobRecord, JobState
from docnats.names import PAGES, WORDS
from docnats.notebook.following import follow
from docnats.notebook.rows import JobRows
from docnats.notebook.session import current_session
from docnats.panel import Kind, check_kind
from docnats.service import DocumentResult, Explanation, Part, failure_of, key_of, retryable
from docnats.table import TEXT

if TYPE_CHECKING:
    import pyarrow.dataset

    from docnats.viewer import PageView

__all__ = ["JobsAccessor"]

_FILENAME = "filename"
"""A column of the job table that results can be given as well."""


class JobsAccessor:
    """What can be done with the jobs in a DataFrame, however it was filtered or joined.

    The frame may come from several batches, from a CSV or a Parquet file, have rows more than
    once, columns of your own and any index; what comes back has the same rows in the same
    order. A row without a ``job_id``, as an outer merge makes them, is left as it is.

    Parameters
    ----------
    frame : pandas.DataFrame
        Job rows; needs the columns ``job_id``, ``batch`` and ``state``.

    Raises
    ------
    TableError
        It does not have them.

    Examples
    --------
    >>> jobs[jobs.pages > 10].docnats.text()  # doctest: +SKIP
    >>> jobs = jobs.docnats.retry(timeout=3600)  # doctest: +SKIP
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._rows = JobRows(frame)
        self._frame = frame

    def refresh(self) -> pd.DataFrame:
        """Return the same rows with the jobs as they are now.

        Raises
        ------
        TableError
            This installation does not know a job.

        Examples
        --------
        >>> jobs = jobs.docnats.refresh()  # doctest: +SKIP
        """
        return self._updated(self._records())

    def wait(self, timeout: float | None = None, progress: Kind = "auto") -> pd.DataFrame:
        """Wait until these jobs have ended, and return the rows as they are then.

        Parameters
        ----------
        timeout : float, optional
            Seconds.
        progress : {"auto", "widget", "text", "none"}
            A live widget in notebooks, a bar on stderr elsewhere.

        Raises
        ------
        JobTimeout
            Not every job ended in time; they go on all the same.

        Examples
        --------
        >>> jobs = submit_many("papers", wait=False)  # doctest: +SKIP
        >>> jobs[jobs.filename.str.startswith("2024")].docnats.wait()  # doctest: +SKIP
        """
        keys = self._rows.jobs()
        if not keys:
            return self._frame.copy()
        session = current_session()
        batch = session.run(session.service().select(keys))
        if not batch.table.finished:
            follow(session, batch, wait=True, progress=progress, timeout=timeout)
        return self._updated(batch.table.records())

    def retry(
        self,
        *,
        password: str | None = None,
        timeout: float | None = None,
        force: bool = False,
        wait: bool = True,
        progress: Kind = "auto",
    ) -> pd.DataFrame:
        """Run again what failed or was cancelled, from the documents that are stored.

        Parameters
        ----------
        password : str, optional
            Opens encrypted PDFs; one given earlier is kept nowhere.
        timeout : float, optional
            Seconds one document may take on a worker; by default as long as before.
        force : bool
            Run those again too that are done, and those known to kill the parser.
        wait : bool
            Return when the new jobs have ended, otherwise at once.
        progress : {"auto", "widget", "text", "none"}
            A live widget in notebooks, a bar on stderr elsewhere.

        Returns
        -------
        pandas.DataFrame
            The same rows; those that were retried tell of their new jobs, in a new batch.
            Without any, the rows as they are.

        Raises
        ------
        SourceError
            A document is not in the storage any more; the message names it, and nothing was
            retried.

        Examples
        --------
        >>> jobs = jobs.docnats.retry()  # doctest: +SKIP
        """
        check_kind(progress)
        session, service = current_session(), current_session().service()
        records = self._records()
        again = [job for job in records if retryable(job, force=force)]
        if not again:
            return self._updated(records)
        retried = service.retry(again, password=password, timeout=timeout, force=force)
        batch = session.run(retried)
        follow(session, batch, wait=wait, progress=progress)
        new = zip(again, batch.table.records(), strict=True)
        replaced = {key_of(old): job for old, job in new}
        return self._rows.updated({key_of(job): replaced.get(key_of(job), job) for job in records})

    def cancel(self) -> pd.DataFrame:
        """Cancel these jobs and return the rows as they are then.

        Queued jobs are dropped, running ones stopped, ended ones stay as they are.

        Examples
        --------
        >>> jobs = jobs[jobs.bytes > 1e8].docnats.cancel()  # doctest: +SKIP
        """
        session = current_session()
        session.run(session.service().cancel(self._records()))
        return self.refresh()

    def explain(self) -> pd.DataFrame:
        """Say in plain words why jobs failed, were cancelled or lost pages, and what to do.

        Returns
        -------
        pandas.DataFrame
            One row for each of these jobs: ``job_id, filename, what_happened, pages,
            what_was_tried, what_to_do``. ``pages`` lists the pages, as far as they are known.

        Examples
        --------
        >>> jobs.docnats.explain()[["filename", "what_to_do"]]  # doctest: +SKIP
        """
        session = current_session()
        told = session.run(session.service().explain(self._records()))
        names = [field.name for field in fields(Explanation)]
        frame = pd.DataFrame([asdict(one) for one in told], columns=names)
        texts = [name for name in names if name != "pages"]
        return frame.assign(pages=frame["pages"].map(list)).astype(dict.fromkeys(texts, TEXT))

    def pages(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row a page of the jobs whose rows say that they are done.

        Parameters
        ----------
        columns : sequence of str, optional
            Only these are read, besides ``job_id``; ``filename`` is one of them on request.

        Returns
        -------
        pandas.DataFrame
            ``job_id`` (categorical), ``page_no, width, height, rotation, text, n_words,
            n_lines, quality, error``; lengths in points.

        Raises
        ------
        TableError
            There is no such column.
        ObjectMissing
            Results were cleaned up; the message names the documents.
        """
        return self._results(PAGES, columns)

    def words(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row a word of the jobs whose rows say that they are done.

        Parameters
        ----------
        columns : sequence of str, optional
            Only these are read, besides ``job_id``; ``filename`` is one of them on request.

        Returns
        -------
        pandas.DataFrame
            ``job_id`` (categorical), ``page_no, line_no, text, x0, y0, x1, y1, angle, font,
            left_to_right``; boxes in points from the page's top-left corner.

        Raises
        ------
        TableError
            There is no such column.
        ObjectMissing
            Results were cleaned up; the message names the documents.

        Notes
        -----
        It must fit into memory; :func:`docnats.dataset` reads piece by piece.
        """
        return self._results(WORDS, columns)

    def dataset(self, part: Part = "words") -> pyarrow.dataset.Dataset:
        """Return the results as a dataset that is read piece by piece, for work beyond memory.

        Parameters
        ----------
        part : {"words", "pages"}
            One row a word, or one row a page.

        Returns
        -------
        pyarrow.dataset.Dataset
            The columns of :meth:`words` or :meth:`pages` of the jobs whose rows say that they
            are done; see :func:`docnats.dataset`.

        Examples
        --------
        >>> jobs.docnats.dataset().count_rows()  # doctest: +SKIP
        """
        session = current_session()
        done, places = list(self._rows.done()), self._places()
        return session.run(session.service().dataset_of(done, part, places=places))

    def text(self) -> pd.DataFrame:
        """Return one row a job that is done: ``job_id``, ``filename`` and its whole ``text``.

        Pages are joined by a form feed.
        """
        pages = self.pages(["text"])
        joined = pages.groupby("job_id", observed=True, sort=False)["text"].agg(
            lambda texts: "\f".join(texts.fillna(""))
        )
        done = self._rows.done()
        frame = pd.DataFrame({"job_id": list(done), "filename": list(done.values())})
        return frame.assign(text=frame["job_id"].map(joined).fillna("")).astype(TEXT)

    def document(self, job_id: str | None = None) -> DocumentResult:
        """Return the result of one document, with its metadata, pages, words and text.

        Parameters
        ----------
        job_id : str, optional
            Which one; not needed when there is only one.

        Raises
        ------
        TableError
            There is no such job among these, or there are several.
        JobFailed
            It is not done.
        ObjectMissing
            Its results were cleaned up.

        Examples
        --------
        >>> jobs[jobs.filename == "report.pdf"].docnats.document().pages  # doctest: +SKIP
        """
        session, job = current_session(), self._one_done(job_id)
        return session.run(session.service().fetch_document(job))

    def show(
        self, job_id: str | None = None, page: int = 1, *, password: str | None = None
    ) -> PageView:
        """Show a page of one document as a picture, with its words in boxes.

        Parameters
        ----------
        job_id : str, optional
            Which document; not needed when there is only one.
        page : int
            Which page, from 1.
        password : str, optional
            Opens an encrypted PDF.

        Raises
        ------
        TableError, JobFailed
            As of :meth:`document`.
        ConfigError
            It has no such page.
        ObjectMissing
            The document or its results were cleaned up.

        Examples
        --------
        >>> jobs[jobs.filename == "report.pdf"].docnats.show(page=3)  # doctest: +SKIP
        """
        from docnats.viewer import page_view  # draws with PDFium: only where pages are shown

        session, job = current_session(), self._one_done(job_id)
        service = session.service()
        names = {job.job_id: job.filename}
        places = {job.job_id: job.result_key or ""}
        words = session.run(service.fetch_table([job.job_id], WORDS, names=names, places=places))
        pdf = session.run(service.fetch_source(job))
        return page_view(pdf, words, page=page, filename=job.filename, password=password)

    def cleanup(self) -> int:
        """Delete the uploads and results of these jobs; their rows stay.

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
        session = current_session()
        return session.run(session.service().cleanup_jobs(self._records()))

    def _one_done(self, job_id: str | None) -> JobRecord:
        keys = [key for key in self._rows.jobs() if job_id in (None, key[1])]
        if len(keys) > 1:
            raise TableError(
                f"these are {len(keys)} jobs: name one, for example .docnats.show({keys[0][1]!r})"
            )
        if not keys:
            which = "job" if job_id is None else f"job {job_id}"
            raise TableError(f"there is no {which} among these rows")
        session = current_session()
        (job,) = session.run(session.service().find(keys))
        if job.state is not JobState.DONE:
            raise failure_of(job)
        return job

    def _records(self) -> list[JobRecord]:
        """Return the jobs as they are now, in the order of the rows."""
        keys = self._rows.jobs()
        if not keys:
            return []
        session = current_session()
        return session.run(session.service().find(keys))

    def _places(self) -> dict[str, str]:
        """Return the ``result_key`` of the done jobs by id; from NATS where the rows lack it."""
        places = self._rows.result_keys()
        if places is None:
            places = {job.job_id: job.result_key for job in self._records() if job.result_key}
        return places

    def _updated(self, records: Sequence[JobRecord]) -> pd.DataFrame:
        return self._rows.updated({key_of(job): job for job in records})

    def _results(self, part: str, columns: Sequence[str] | None) -> pd.DataFrame:
        session = current_session()
        done = self._rows.done()
        stored = columns and [name for name in columns if name != _FILENAME]
        found = session.service().fetch_table(
            list(done), part, stored, names=done, places=self._places()
        )
        frame: pd.DataFrame = session.run(found).to_pandas(split_blocks=True, self_destruct=True)
        if columns and _FILENAME in columns:
            frame.insert(1, _FILENAME, frame["job_id"].map(done).astype("category"))
        return frame
