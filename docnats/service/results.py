"""Results in S3, as DataFrames: one document's, or those of many jobs together."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from docnats.models import JobRecord
from docnats.names import DOCUMENT, PAGES, WORDS, result_part
from docnats.storage import Storage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DocumentResult", "fetch_document", "fetch_table"]

_FETCHES = 16
"""Result objects read from S3 at a time."""


@dataclass(frozen=True)
class DocumentResult:
    """What came out of one document.

    Attributes
    ----------
    job : JobRecord
        The job's last state.
    document : dict
        ``document.json``: metadata, versions, options, timings, errors.
    pages : pandas.DataFrame
        One row a page: ``page_no`` (from 1), ``width`` and ``height`` in points,
        ``rotation``, ``text``, ``n_words``, ``n_lines``, ``quality`` (0 to 1), ``error``.
    words : pandas.DataFrame
        One row a word: ``page_no``, ``line_no``, ``text``, ``x0``, ``y0``, ``x1``, ``y1`` in
        points from the page's top-left corner, ``angle`` in degrees, ``font``,
        ``left_to_right``.
    text : str
        All pages' text, a form feed between pages.
    """

    job: JobRecord
    document: dict[str, Any]
    _pages: bytes = field(repr=False)
    _words: bytes = field(repr=False)

    @cached_property
    def pages(self) -> pd.DataFrame:
        """One row a page."""
        return _frame(self._pages)

    @cached_property
    def words(self) -> pd.DataFrame:
        """One row a word."""
        return _frame(self._words)

    @cached_property
    def text(self) -> str:
        """All pages' text, a form feed between pages."""
        return "\f".join(self.pages["text"].fillna(""))

    def to_dict(self) -> dict[str, Any]:
        """Return ``document.json`` with the pages' rows under ``page_rows`` and the text."""
        rows = pq.read_table(io.BytesIO(self._pages)).to_pylist()
        return {**self.document, "text": self.text, "page_rows": rows}


def _frame(parquet: bytes) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(io.BytesIO(parquet)).to_pandas()
    return frame


async def fetch_document(storage: Storage, job: JobRecord) -> DocumentResult:
    """Read one done job's result.

    Raises
    ------
    ObjectMissing
        The result was cleaned up.
    """
    document, pages, words = await asyncio.gather(
        *(storage.get_bytes(result_part(job.job_id, part)) for part in (DOCUMENT, PAGES, WORDS))
    )
    return DocumentResult(job, json.loads(document), pages, words)


async def fetch_table(
    storage: Storage, job_ids: Sequence[str], part: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read one result table of many jobs into one, with their ``job_id`` in the first column.

    Parameters
    ----------
    part : str
        ``pages.parquet`` or ``words.parquet``.
    columns : sequence of str, optional
        Only these columns.
    """
    limit = asyncio.Semaphore(_FETCHES)

    async def fetch(job_id: str) -> pa.Table:
        async with limit:
            data = await storage.get_bytes(result_part(job_id, part))
        return await asyncio.to_thread(_decode, data, job_id, columns)

    tables = await asyncio.gather(*(fetch(job_id) for job_id in job_ids))
    if not tables:
        tables = [_decode(_empty(part), "", columns)]
    return pa.concat_tables(tables).unify_dictionaries()


def _empty(part: str) -> bytes:
    from docnats.parsing.tables import TABLES  # loads the parser: only where nothing else tells

    buffer = io.BytesIO()
    pq.write_table(TABLES[part.removesuffix(".parquet")].empty_table(), buffer)
    return buffer.getvalue()


def _decode(data: bytes, job_id: str, columns: Sequence[str] | None) -> pa.Table:
    table = pq.read_table(io.BytesIO(data), columns=list(columns) if columns else None)
    index = pa.repeat(pa.scalar(0, pa.int32()), len(table))
    ids = pa.DictionaryArray.from_arrays(index, pa.array([job_id]))
    return table.add_column(0, "job_id", ids)
