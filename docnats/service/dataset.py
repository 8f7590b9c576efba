"""The results of many jobs as one dataset that is read piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import pyarrow as pa

from docnats.errors import ConfigError, ObjectMissing, StorageError
from docnats.names import part_key, result_key
from docnats.service.results import check_columns, empty_table
from docnats.storage import Storage

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset, Fragment

__all__ = ["Part", "open_dataset"]

Part = Literal["words", "pages"]


async def open_dataset(
    storage: Storage,
    job_ids: Sequence[str],
    part: Part,
    columns: Sequence[str] | None = None,
    places: Mapping[str, str] | None = None,
) -> Dataset:
    """Return the results of jobs as a dataset; only the first one's schema is read by now.

    The files of a dataset hold no job id: each has it as its partition expression, so that a
    filter on ``job_id`` leaves the others unread. ``places`` are the jobs' ``result_key`` by
    job id, for those that were given an earlier result.
    """
    import pyarrow.dataset as ds

    if part not in get_args(Part):
        raise ConfigError(f"part={part!r}: it is one of {', '.join(get_args(Part))}")
    files = await storage.filesystem()
    prefixes = {job_id: (places or {}).get(job_id) or result_key(job_id) for job_id in job_ids}
    format_ = ds.ParquetFileFormat()
    fragments = [
        format_.make_fragment(
            f"{storage.bucket}/{part_key(prefix, f'{part}.parquet')}",
            files,
            partition_expression=ds.field("job_id") == job_id,
        )
        for job_id, prefix in prefixes.items()
    ]
    if fragments:
        schema = await _schema(fragments[0])
    else:
        schema = empty_table(part).schema
    schema = schema.insert(0, pa.field("job_id", pa.string()))
    if columns is not None:
        shown = ["job_id", *check_columns(columns, schema, part)]
        schema = pa.schema([schema.field(name) for name in shown])
    return ds.FileSystemDataset(fragments, schema, format_, files)


async def _schema(fragment: Fragment) -> pa.Schema:
    try:
        return await asyncio.to_thread(lambda: fragment.physical_schema)
    except FileNotFoundError as error:
        raise ObjectMissing(f"{fragment.path} is gone: the results were cleaned up") from error
    except OSError as error:
        raise StorageError(f"cannot read {fragment.path} with pyarrow: {error}") from error
