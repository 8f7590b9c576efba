"""``jobs.docnats``: results for any DataFrame of job rows."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from docnats.errors import TableError
from docnats.names import PAGES, WORDS
from docnats.notebook.session import current_session

__all__ = ["JobsAccessor"]

_NEEDED = ("job_id", "batch", "state")


@pd.api.extensions.register_dataframe_accessor("docnats")
class JobsAccessor:
    """Results of the jobs in a DataFrame, however it was filtered, sorted or joined.

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
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = [name for name in _NEEDED if name not in frame.columns]
        if missing:
            raise TableError(
                f"not a table of docnats jobs: it has no column {', '.join(missing)}; keep "
                "job_id, batch and state when selecting columns"
            )
        self._frame = frame

    def pages(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row a page of the jobs that are done.

        Parameters
        ----------
        columns : sequence of str, optional
            Only these, besides ``job_id``.

        Returns
        -------
        pandas.DataFrame
            ``job_id, page_no, width, height, rotation, text, n_words, n_lines, quality,
            error``; lengths in points.
        """
        return self._results(PAGES, columns)

    def words(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row a word of the jobs that are done.

        Parameters
        ----------
        columns : sequence of str, optional
            Only these, besides ``job_id``.

        Returns
        -------
        pandas.DataFrame
            ``job_id, page_no, line_no, text, x0, y0, x1, y1, angle, font, left_to_right``;
            boxes in points from the page's top-left corner.
        """
        return self._results(WORDS, columns)

    def text(self) -> pd.DataFrame:
        """Return one row a job that is done: ``job_id``, ``filename`` and its whole ``text``.

        Pages are joined by a form feed.
        """
        pages = self.pages(["page_no", "text"])
        joined = pages.groupby("job_id", observed=True, sort=False)["text"].agg(
            lambda texts: "\f".join(texts.fillna(""))
        )
        done = self._done()[["job_id", "filename"]].reset_index(drop=True)
        return done.assign(text=done["job_id"].map(joined).astype("string").fillna(""))

    def _done(self) -> pd.DataFrame:
        return self._frame[self._frame["state"] == "done"].drop_duplicates("job_id")

    def _results(self, part: str, columns: Sequence[str] | None) -> pd.DataFrame:
        session = current_session()
        job_ids = [str(job_id) for job_id in self._done()["job_id"]]
        table = session.run(session.service().fetch_table(job_ids, part, columns))
        frame: pd.DataFrame = table.to_pandas()
        return frame
