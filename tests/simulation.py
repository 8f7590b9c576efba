"""A batch in simulated time: workers as they are, documents of any kind, a job table that follows.

Documents are uploaded one after the other, leased in order, twice as many as there are parsers,
and parsed in ranges of pages; page progress is told as workers tell it.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from docnats.models import JobRecord, JobState, PageProgress, WorkerInfo
from docnats.table import JobTable

START = datetime(2026, 1, 31, tzinfo=UTC)
PAGES_PER_RANGE = 48
PROGRESS_SECONDS = 0.25
DOWNLOAD_SECONDS = 0.01
STORE_SECONDS = 0.02
PAGE_SECONDS = 0.027


@dataclass(frozen=True)
class Document:
    """Its size, its pages (None: it is no PDF) and the seconds a parser takes for one."""

    bytes: int
    pages: int | None
    page_seconds: float = PAGE_SECONDS


Corpus = Callable[[random.Random], Document]


def letters(rng: random.Random) -> Document:
    """Return a document of one page, with or without a picture."""
    return _document(rng, pages=1, size=rng.lognormvariate(11, 1))


def reports(rng: random.Random) -> Document:
    """Return one whose size is that of its pages, and of fonts."""
    pages = rng.lognormvariate(2, 1)
    return _document(rng, pages, 20_000 + 3_000 * pages * rng.lognormvariate(0, 0.2))


def found_on_the_web(rng: random.Random) -> Document:
    """Return one of any kind: pages a byte differ by an order of magnitude; some are no PDFs."""
    if rng.random() < 0.2:
        return Document(rng.randint(200, 60_000), None)
    pages = rng.lognormvariate(1.5, 1.2)
    return _document(rng, pages, pages * rng.lognormvariate(10.5, 1))


def scans_and_texts(rng: random.Random) -> Document:
    """Return a large scan of few pages, quick to read, or a small text of many."""
    if rng.random() < 0.5:
        pages = rng.lognormvariate(1, 0.8)
        return _document(rng, pages, pages * rng.lognormvariate(12.6, 0.3), speed=3)
    pages = rng.lognormvariate(2.5, 0.8)
    return _document(rng, pages, pages * rng.lognormvariate(8.3, 0.5))


CORPORA: list[Corpus] = [letters, reports, found_on_the_web, scans_and_texts]


def _document(rng: random.Random, pages: float, size: float, speed: float = 1) -> Document:
    """Return one whose pages take more or less time than others, by 70 % on real PDFs."""
    seconds = PAGE_SECONDS * rng.lognormvariate(-0.2, 0.65) / speed
    return Document(max(500, int(size)), max(1, min(5000, round(pages))), seconds)


@dataclass
class _Running:
    worker: str
    began: float
    waiting: deque[int]
    done: int = 0
    open: int = 0
    told: float = 0.0


class Simulation:
    """One batch from submission to end.

    Parameters
    ----------
    documents : sequence of Document
        In the order of their submission.
    workers, parsers : int
        How many live, and the parsers of each.
    upload_rate : float
        Bytes a second.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        workers: int = 1,
        parsers: int = 2,
        upload_rate: float = 1e9,
    ) -> None:
        self.now = 0.0
        self.table = JobTable("b", clock=self._time)
        self._documents = documents
        self.parsers = workers * parsers
        self._parsers = parsers
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self._queue: deque[int] = deque()
        self._leased = {f"w{number}": 0 for number in range(workers)}
        self._idle = dict.fromkeys(self._leased, parsers)
        self._tasks: dict[str, deque[tuple[float, Callable[[], None]]]] = {
            worker: deque() for worker in self._leased
        }
        self._running: dict[int, _Running] = {}
        self.table.apply_workers(map(self._info, self._leased))
        self._records = [self._record(*pair) for pair in enumerate(documents)]
        for place in range(len(documents)):
            self._write(place)
        uploaded = 0.2
        for place, document in enumerate(documents):
            uploaded += document.bytes / upload_rate
            self._at(uploaded, lambda place=place: self._enqueue(place))

    def run(self, every: float) -> Iterator[float]:
        """Let time pass; stop to look every so many seconds, until the batch has ended."""
        look = every
        while self._events:
            moment, _, happen = heapq.heappop(self._events)
            while look < moment:
                self.now = look
                yield look
                look += every
            self.now = moment
            happen()

    def _time(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def _info(self, worker: str) -> WorkerInfo:
        return WorkerInfo(
            worker=worker,
            host="h",
            pid=1,
            parsers=self._parsers,
            processors=("docling-parse",),
            version="1",
            started_at=START,
        )

    def _record(self, place: int, document: Document) -> JobRecord:
        return JobRecord(
            job_id=f"j{place}",
            batch="b",
            position=place,
            filename=f"{place}.pdf",
            state=JobState.UPLOADING,
            s3_bucket="documents",
            s3_key=f"raw/j{place}.pdf",
            bytes=document.bytes,
            submitted_at=START,
        )

    def _write(self, place: int, **changes: object) -> None:
        self._records[place] = self._records[place].but(**changes)
        self.table.apply(self._records[place], next(self._numbers))

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), happen))

    def _enqueue(self, place: int) -> None:
        self._write(place, state=JobState.QUEUED, queued_at=self._time())
        self._queue.append(place)
        self._pull()

    def _pull(self) -> None:
        for worker in self._leased:
            while self._queue and self._leased[worker] < 2 * self._parsers:
                place = self._queue.popleft()
                self._leased[worker] += 1
                self._write(
                    place, state=JobState.RUNNING, worker=worker, started_at=self._time(), attempt=1
                )
                self._at(
                    self.now + DOWNLOAD_SECONDS,
                    lambda place=place, worker=worker: self._open(place, worker),
                )

    def _open(self, place: int, worker: str) -> None:
        pages = self._documents[place].pages or 0
        lengths = [
            min(PAGES_PER_RANGE, pages - first) for first in range(0, pages, PAGES_PER_RANGE)
        ]
        job = self._running[place] = _Running(worker, self.now, deque(lengths[1:]), told=self.now)
        first = lengths[0] if lengths else 0

        def go_on() -> None:
            self._finish_range(place, first)
            for _ in range(min(self._parsers, len(job.waiting))):
                self._next_range(place)

        job.open = 1
        self._parse(place, first + 0.5, go_on)

    def _next_range(self, place: int) -> None:
        job = self._running[place]
        if job.waiting:
            pages = job.waiting.popleft()
            job.open += 1

            def go_on() -> None:
                self._finish_range(place, pages)
                if place in self._running:
                    self._next_range(place)

            self._parse(place, pages, go_on)

    def _finish_range(self, place: int, pages: int) -> None:
        job = self._running[place]
        job.open -= 1
        job.done += pages
        if not job.open and not job.waiting:
            del self._running[place]
            self._at(self.now + STORE_SECONDS, lambda: self._settle(place, job.worker))
        elif self.now - job.told >= PROGRESS_SECONDS:
            job.told = self.now
            total = self._documents[place].pages or 0
            self.table.apply_progress(
                PageProgress(
                    job_id=f"j{place}",
                    batch="b",
                    pages_done=job.done,
                    pages=total,
                    ranges=((1, 1),) * min(self._parsers, job.open + len(job.waiting)),
                )
            )

    def _parse(self, place: int, work: float, then: Callable[[], None]) -> None:
        worker = self._running[place].worker
        self._tasks[worker].append((work * self._documents[place].page_seconds, then))
        self._feed(worker)

    def _feed(self, worker: str) -> None:
        while self._idle[worker] and self._tasks[worker]:
            seconds, then = self._tasks[worker].popleft()
            self._idle[worker] -= 1

            def free(then: Callable[[], None] = then) -> None:
                self._idle[worker] += 1
                then()
                self._feed(worker)

            self._at(self.now + seconds, free)

    def _settle(self, place: int, worker: str) -> None:
        pages = self._documents[place].pages
        state = JobState.FAILED if pages is None else JobState.DONE
        self._write(place, state=state, pages=pages, finished_at=self._time())
        self._leased[worker] -= 1
        self._pull()
