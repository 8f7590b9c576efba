"""Job records as a Parquet file and back: the job table of an archived batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter

import pyarrow as pa
import pyarrow.parquet as pq

from docnats.errors import TableError
from docnats.models import JobRecord

__all__ = ["records_from_parquet", "records_to_parquet"]

_TIME = pa.timestamp("us", "UTC")

SCHEMA = pa.schema(
    {
        "job_id": pa.string(),
        "batch": pa.string(),
        "position": pa.int64(),
        "filename": pa.string(),
        "state": pa.string(),
        "s3_bucket": pa.string(),
        "s3_key": pa.string(),
        "bytes": pa.int64(),
        "sha256": pa.string(),
        "pages": pa.int64(),
        "pages_failed": pa.int64(),
        "attempt": pa.int64(),
        "releases": pa.int64(),
        "worker": pa.string(),
        "error_type": pa.string(),
        "error": pa.string(),
        "submitted_at": _TIME,
        "queued_at": _TIME,
        "started_at": _TIME,
        "finished_at": _TIME,
        "result_key": pa.string(),
        "parts": pa.list_(pa.string()),
        "reused_from": pa.string(),
        "cleaned_at": _TIME,
        "processor": pa.string(),
        "processing_timeout": pa.float64(),
        "options": pa.string(),  # JSON: each processor has its own
        "custom_prompt": pa.string(),
    }
)


def records_to_parquet(records: Sequence[JobRecord]) -> bytes:
    """Return records as a Parquet file, in their order; equal records make equal bytes."""
    columns = {
        field.name: pa.array(list(map(attrgetter(field.name), records)), field.type)
        for field in SCHEMA
        if field.name != "options"
    }
    options = [json.dumps(record.options, sort_keys=True) for record in records]
    columns["options"] = pa.array(options, pa.string())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=SCHEMA), sink, compression="zstd")
    return bytes(sink.getvalue())


def records_from_parquet(data: bytes) -> list[JobRecord]:
    """Return the records of a Parquet file; columns of a newer docnats are passed over.

    Raises
    ------
    TableError
        It is no such file.
    """
    try:
        rows = pq.read_table(pa.BufferReader(data)).to_pylist()
        return [
            JobRecord.from_values({**row, "options": json.loads(row["options"])}) for row in rows
        ]
    except (pa.ArrowException, LookupError, TypeError, ValueError) as error:
        raise TableError(f"this is no job table of docnats: {error}") from error
