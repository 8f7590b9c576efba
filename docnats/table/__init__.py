"""Folds state records into the job table, and the job table into a DataFrame."""

from docnats.table.fold import JobTable
from docnats.table.frame import COLUMNS, TEXT, jobs_frame
from docnats.table.parquet import records_from_parquet, records_to_parquet

__all__ = [
    "COLUMNS",
    "TEXT",
    "JobTable",
    "jobs_frame",
    "records_from_parquet",
    "records_to_parquet",
]
