"""How far a batch is: page progress, workers, outages, the whole at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from docnats.models.job import TERMINAL, JobRecord, JobState
from docnats.models.record import Record

__all__ = ["Outage", "PageProgress", "Progress", "RunningJob", "Unserved", "WorkerActivity"]


class PageProgress(Record):
    """How far a worker is with a document; lossy, never needed for correctness.

    Attributes
    ----------
    ranges : tuple of (int, int)
        The page ranges that are being parsed now, from 1, both ends included.
    """

    job_id: str
    batch: str
    pages_done: int
    pages: int
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class RunningJob:
    """What a worker does with one document at this moment.

    Attributes
    ----------
    pages : int or None
        Pages of the document, once they are known.
    ranges : tuple of (int, int)
        The page ranges that are being parsed, from 1, both ends included.
    """

    filename: str
    pages: int | None = None
    pages_done: int = 0
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerActivity:
    """One live worker, as the followers of a batch see it.

    Attributes
    ----------
    parsers : int
        Its parser processes.
    jobs : tuple of RunningJob
        The batch's documents it works at.
    other_jobs : int
        Jobs of other batches it holds.
    """

    worker: str
    parsers: int
    jobs: tuple[RunningJob, ...] = ()
    other_jobs: int = 0


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that is out of reach and waited for.

    Attributes
    ----------
    server : {"NATS", "S3"}
    seconds : float
        For how long by now.
    """

    server: Literal["NATS", "S3"]
    seconds: float


@dataclass(frozen=True, slots=True)
class Unserved:
    """Queued jobs that none of the live workers can do.

    Attributes
    ----------
    processor : str
        What they are to be put through.
    prompt : bool
        Whether they ask a language model as well.
    jobs : int
        How many there are.
    """

    processor: str
    prompt: bool
    jobs: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch at one moment: what a progress panel shows.

    Attributes
    ----------
    counts : mapping of JobState to int
        Jobs in each state.
    pages : int
        Pages parsed so far, those of running jobs included.
    bytes_total, bytes_done, bytes_sent : int
        Bytes of all documents known so far, of those that ended, of those uploaded.
    elapsed : float
        Seconds since the submission.
    failures : tuple of JobRecord
        The newest failed jobs, the newest first; capped.
    snapshot : bytes
        One byte a job, in the order of the table's rows: the place of its state in
        :class:`JobState`.
    pages_per_second : float or None
        The rate of late, and over the whole time once finished; None before the first page.
    bytes_sent_per_second : float or None
        The rate of late; None when nothing is being uploaded.
    remaining : tuple of float, or None
        Seconds left, at least and at most as far as it can be told.
    workers : tuple of WorkerActivity, or None
        The live workers; None before they are known.
    outages : tuple of Outage
        The servers that are waited for at this moment.
    unserved : tuple of Unserved
        Jobs that wait for another worker than those that live; the most first. Empty while no
        worker lives, or none is known.
    """

    batch: str
    total: int
    counts: Mapping[JobState, int]
    pages: int
    bytes_total: int
    bytes_done: int
    elapsed: float
    failures: tuple[JobRecord, ...] = ()
    snapshot: bytes = b""
    bytes_sent: int = 0
    pages_per_second: float | None = None
    bytes_sent_per_second: float | None = None
    remaining: tuple[float, float] | None = None
    workers: tuple[WorkerActivity, ...] | None = None
    outages: tuple[Outage, ...] = ()
    unserved: tuple[Unserved, ...] = ()

    @property
    def ended(self) -> int:
        """Jobs in a terminal state."""
        return sum(self.counts.get(state, 0) for state in TERMINAL)

    @property
    def finished(self) -> bool:
        """Whether every job has ended."""
        return self.ended >= self.total
