"""Folds state records into the job table, and the job table into a DataFrame."""

from docnats.table.fold import JobTable
from docnats.table.frame import COLUMNS, TEXT, jobs_frame

__all__ = ["COLUMNS", "TEXT", "JobTable", "jobs_frame"]
