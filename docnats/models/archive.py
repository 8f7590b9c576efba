"""What is kept of a batch whose rows are in S3: its entry in the index, and its receipt."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from pydantic import AwareDatetime, Field, JsonValue

from docnats.models.job import JobState
from docnats.models.record import Record

__all__ = ["ArchivedBatch", "HashedObject", "Receipt", "Timings", "Usage"]


class ArchivedBatch(Record):
    """An archived batch as a whole: its entry in the index.

    Attributes
    ----------
    counts : mapping of JobState to int
        Jobs in each state that occurs.
    borrows : bool
        Some of its rows have a document or a result that another job put into S3.
    receipt_sha256 : str
        Of the receipt's bytes, hexadecimal.
    """

    batch: str
    submitted_at: AwareDatetime
    finished_at: AwareDatetime
    jobs: int
    counts: Mapping[JobState, int]
    pages: int
    bytes: int
    borrows: bool
    receipt_sha256: str
    archived_at: AwareDatetime


class HashedObject(Record):
    """An object in S3 as it was when the batch was archived; ``sha256`` is hexadecimal."""

    key: str
    size: int
    sha256: str


class Timings(Record):
    """When the batch ran, and the seconds that its jobs were at work, added up."""

    submitted_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime
    work_seconds: float


class Usage(Record):
    """How many jobs were processed in one way; ``what`` holds no secrets."""

    what: Mapping[str, JsonValue]
    jobs: int


class Receipt(Record):
    """What an archive holds, to be checked against S3 at any time later.

    Attributes
    ----------
    docnats : str
        The version that made the archive.
    counts : mapping of JobState to int
        Jobs in each state that occurs.
    pages, bytes : int
        Of the documents, as far as they are known.
    options : tuple of Usage
        The processors, options and time limits of the jobs.
    versions : tuple of Usage
        What made the results: the processors and docnats.
    table : HashedObject
        The job table.
    objects : tuple of HashedObject
        Every result object.
    without_results : tuple of str
        Jobs that are done and whose results were not complete in S3 any more by then.

    Examples
    --------
    >>> receipt = docnats.archive("papers")  # doctest: +SKIP
    >>> receipt.counts["done"], receipt.table.sha256  # doctest: +SKIP
    """

    schema_version: int = 1
    batch: str
    namespace: str
    bucket: str
    docnats: str
    archived_at: AwareDatetime
    jobs: int
    counts: Mapping[JobState, int]
    pages: int
    bytes: int
    timings: Timings
    options: tuple[Usage, ...]
    versions: tuple[Usage, ...]
    table: HashedObject
    objects: tuple[HashedObject, ...] = Field(repr=False)
    without_results: tuple[str, ...] = ()

    def to_json(self) -> builtins.bytes:
        """Return the receipt as it is stored: to be read by people too."""
        return self.model_dump_json(indent=2).encode()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return self.model_dump(mode="json")
