"""What a batch that has ended took, from its records alone."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from docnats.models import JobRecord
from docnats.names import raw_key
from docnats.service.sources import Source
from docnats.table.pace import PAGES_PER_RANGE

__all__ = ["INSTANT", "parser_seconds", "upload_seconds"]

INSTANT = 1e-3
"""Seconds that something takes at least, whatever the clocks say."""


def parser_seconds(records: Iterable[JobRecord], parsers: Mapping[str, int]) -> dict[str, float]:
    """Return the seconds that jobs which have ended took of parsers, by job id.

    Parameters
    ----------
    records : iterable of JobRecord
        Those that never came to a worker are left out.
    parsers : mapping
        The parsers of each worker.

    Notes
    -----
    A worker begins more jobs than it has parsers. So a job waits until one of those begun before
    it ends; the rest of its time it has a parser, or as many as it has ranges of pages. Each
    worker's times are by its own clock.
    """
    workers: dict[str, list[_Job]] = {}
    for job in records:
        if job.worker and job.started_at and job.finished_at:
            begin, end = job.started_at.timestamp(), job.finished_at.timestamp()
            ranges = max(1, ceil((job.pages or 0) / PAGES_PER_RANGE))
            workers.setdefault(job.worker, []).append(_Job(begin, end, ranges, job.job_id))
    found: dict[str, float] = {}
    for worker, jobs in workers.items():
        found.update(_shared_out(sorted(jobs), parsers.get(worker, 1)))
    return found


class _Job(NamedTuple):
    begin: float
    end: float
    ranges: int
    job_id: str


def _shared_out(jobs: Sequence[_Job], parsers: int) -> dict[str, float]:
    """Return the seconds of one worker's parsers that its jobs took, in the order they began."""
    free = [0.0] * parsers
    seconds: dict[str, float] = {}
    for job in jobs:
        had_one = job.end - max(job.begin, heapq.heapreplace(free, job.end))
        seconds[job.job_id] = max(had_one * min(parsers, job.ranges), INSTANT)
    # Long documents share their parsers with others: there were not more than there are.
    real = _busy_seconds(jobs, parsers) / sum(seconds.values())
    return {job_id: max(took * real, INSTANT) for job_id, took in seconds.items()}


def _busy_seconds(jobs: Sequence[_Job], parsers: int) -> float:
    """Return the seconds of parsers, added up, while they had these jobs."""
    changes: list[tuple[float, int]] = []
    for job in jobs:
        used = min(parsers, job.ranges)
        changes += [(job.begin, used), (job.end, -used)]
    at_work, busy = 0, 0.0
    for (moment, change), (until, _) in pairwise(sorted(changes)):
        at_work += change
        busy += min(at_work, parsers) * (until - moment)
    return busy


def upload_seconds(
    documents: Sequence[Source], records: Iterable[JobRecord]
) -> tuple[float, float]:
    """Return how long the upload of documents takes, by those that were uploaded.

    By the bytes, and by the number of documents: which of the two counts is not known.
    """
    sent = [job for job in records if job.queued_at and job.s3_key == raw_key(job.job_id)]
    local = [document for document in documents if document.key is None]
    if not sent or not local:
        return 0.0, 0.0
    begin = min(job.submitted_at for job in sent)
    took = max(job.queued_at for job in sent if job.queued_at) - begin
    seconds = took.total_seconds()
    sent_bytes = sum(job.bytes or 0 for job in sent)
    by_bytes = sum(document.size for document in local) / max(sent_bytes, 1)
    return seconds * by_bytes, seconds * len(local) / len(sent)
