"""Results in the storage, as DataFrames: one document's, or those of many jobs together."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from docnats.errors import ObjectMissing, TableError, ungrouped
from docnats.models import JobRecord
from docnats.names import DOCUMENT, PAGES, WORDS, part_key, result_key, where
from docnats.storage import Storage
from docnats.table.quantities import named

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DocumentResult",
    "check_columns",
    "empty_table",
    "fetch_document",
    "fetch_source",
    "fetch_table",
    "result_sizes",
]

_GROUP = 16
"""Result objects that are decoded together: a turn of a thread costs as much as one."""

_GROUPS = 3
"""Groups at work at a time; while one is decoded, the others are on their way."""

_LISTED = 16
"""Results whose objects are listed at a time."""


@dataclass(frozen=True, repr=False)
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
    prompt_output : str or None
        The language model's answer to the job's ``custom_prompt``.
    parts : mapping of str to bytes
        The further result files of its processor, for example ``document.md``.
    """

    job: JobRecord
    document: dict[str, Any]
    _pages: bytes
    _words: bytes
    parts: Mapping[str, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the document in a line: what it holds is too much to look at."""
        job = self.job
        return f"DocumentResult({job.filename!r}, pages={job.pages}, job_id={job.job_id!r})"

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

    @property
    def prompt_output(self) -> str | None:
        """What the language model answered to the job's ``custom_prompt``; None without one."""
        return self.document.get("prompt_output")

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
    prefix = job.result_key or result_key(job.job_id)
    keys = (part_key(prefix, part) for part in (DOCUMENT, PAGES, WORDS, *job.parts))
    try:
        document, pages, words, *parts = await asyncio.gather(*map(storage.get_bytes, keys))
    except ObjectMissing as error:
        raise _cleaned_up([job.filename]) from error
    named_parts = dict(zip(job.parts, parts, strict=True))
    return DocumentResult(job, json.loads(document), pages, words, named_parts)


async def fetch_source(storage: Storage, job: JobRecord) -> bytes:
    """Read one job's PDF.

    Raises
    ------
    ObjectMissing
        It was cleaned up, or removed by its owner.
    """
    try:
        return await storage.get_bytes(job.s3_key, bucket=job.s3_bucket)
    except ObjectMissing as error:
        raise ObjectMissing(
            f"the document {job.filename} is not in the storage any more ("
            f"{where(job.s3_bucket, job.s3_key)}): submit the file again to have it there"
        ) from error


async def fetch_table(
    storage: Storage,
    job_ids: Sequence[str],
    part: str,
    columns: Sequence[str] | None,
    names: Mapping[str, str],
    places: Mapping[str, str] | None = None,
) -> pa.Table:
    """Read one result table of many jobs into one, with their ``job_id`` in the first column.

    Parameters
    ----------
    part : str
        ``pages.parquet`` or ``words.parquet``.
    columns : sequence of str, optional
        Only these columns.
    names : mapping
        The documents' names by job id.
    places : mapping, optional
        The jobs' ``result_key`` by job id, for those that were given an earlier result.

    Raises
    ------
    TableError
        There is no such column.
    ObjectMissing
        Results were cleaned up; the message names the documents.
    """
    slots = asyncio.Semaphore(_GROUPS)
    missing: list[str] = []

    async def fetch(job_id: str) -> bytes | None:
        try:
            prefix = (places or {}).get(job_id) or result_key(job_id)
            return await storage.get_bytes(part_key(prefix, part))
        except ObjectMissing:
            missing.append(names.get(job_id, job_id))
            return None

    async def fetch_group(first: int) -> list[pa.Table]:
        async with slots:
            found = await asyncio.gather(*map(fetch, job_ids[first : first + _GROUP]))
            return await asyncio.to_thread(_decode, found, first, part, columns)

    with ungrouped():
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(fetch_group(first)) for first in range(0, len(job_ids), _GROUP)
            ]
    if missing:
        raise _cleaned_up(missing)
    tables = [table for task in tasks for table in task.result()]
    if not tables:
        empty = empty_table(part.removesuffix(".parquet"))
        wanted = (
            empty.column_names if columns is None else check_columns(columns, empty.schema, part)
        )
        tables = [_numbered(empty.select(wanted), 0)]
    return await asyncio.to_thread(_joined, tables, job_ids)


async def result_sizes(storage: Storage, jobs: Iterable[JobRecord]) -> dict[str, int]:
    """Return the bytes that the results of done jobs take, by job id."""
    slots = asyncio.Semaphore(_LISTED)

    async def measure(job: JobRecord) -> int:
        async with slots:
            return sum([stored.size async for stored in storage.list(result_key(job.job_id))])

    done = [job for job in jobs if job.result_key]
    found = await asyncio.gather(*map(measure, done))
    return {job.job_id: total for job, total in zip(done, found, strict=True)}


def _cleaned_up(names: Sequence[str]) -> ObjectMissing:
    return ObjectMissing(
        f"the results of {named(names)} are not in the storage any more: they were cleaned up. "
        "Leave the rows out, or process the files again"
    )


def _decode(
    found: Sequence[bytes | None], first: int, part: str, columns: Sequence[str] | None
) -> list[pa.Table]:
    """Decode a group of results; the job's place in the list comes first, as a number."""
    tables = []
    for number, data in enumerate(found, first):
        if data is None:
            continue
        # On this thread, and without reading ahead: many small files are faster that way.
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        wanted = None if columns is None else check_columns(columns, file.schema_arrow, part)
        tables.append(_numbered(file.read(columns=wanted, use_threads=False), number))
    return tables


def _numbered(table: pa.Table, number: int) -> pa.Table:
    return table.add_column(0, "job_id", pa.repeat(pa.scalar(number, pa.int32()), len(table)))


def _joined(tables: Sequence[pa.Table], job_ids: Sequence[str]) -> pa.Table:
    """Put tables together; ``job_id`` is a dictionary of all ids, in their order."""
    table = pa.concat_tables(tables).unify_dictionaries()
    ids = pa.array(job_ids, pa.string())
    chunks = [
        pa.DictionaryArray.from_arrays(numbers, ids) for numbers in table.column("job_id").chunks
    ]
    ids_type = pa.dictionary(pa.int32(), pa.string())
    return table.set_column(0, "job_id", pa.chunked_array(chunks, ids_type))


def empty_table(part: str) -> pa.Table:
    """Return ``words`` or ``pages`` without rows."""
    from docnats.parsing.tables import TABLES  # loads the parser: only where nothing else tells

    return TABLES[part].empty_table()


def check_columns(columns: Sequence[str], schema: pa.Schema, part: str) -> list[str]:
    """Return the columns to read, without ``job_id``, which is always there.

    Raises
    ------
    TableError
        There is no such column; the message names those there are.
    """
    wanted = [columns] if isinstance(columns, str) else list(columns)
    valid = [name for name in schema.names if name != "job_id"]
    for name in wanted:
        if name not in valid and name != "job_id":
            raise TableError(
                f"{part.removesuffix('.parquet')} has no column {name!r}; it has job_id, "
                f"{', '.join(valid)}"
            )
    return [name for name in wanted if name != "job_id"]
