"""The control bus in memory, for tests of what stands on the port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Generic, TypeVar

from docnats.bus import (
    Backlog,
    GivenUp,
    Lease,
    PoisonEntry,
    SenderEntry,
    StateEntry,
    StoredJob,
    UrlRequest,
    Why,
    schema,
)
from docnats.errors import BusError, StateConflict, UnreadableMessage
from docnats.models import (
    ArchivedBatch,
    DeadLetter,
    JobMessage,
    JobRecord,
    JobUrls,
    KnownResult,
    PageProgress,
    Poison,
    SenderInfo,
    WorkerInfo,
    utc_now,
)
from docnats.names import Names

T = TypeVar("T")
Key = tuple[str, str]


@dataclass
class Queued:
    """A job on the queue; ``free_at`` is when it may be delivered, in the loop's time."""

    stored: StoredJob
    attempt: int = 0
    free_at: float = 0.0
    lease: FakeLease | None = None
    given_up: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def message(self) -> JobMessage:
        """What is in it."""
        return JobMessage.from_json(self.stored.data)


class FakeLease:
    """A :class:`docnats.bus.Lease` on a job of a :class:`FakeBus`."""

    def __init__(self, bus: FakeBus, queued: Queued, message: JobMessage) -> None:
        self.message = message
        self.headers = queued.headers
        self.attempt = queued.attempt
        self._bus = bus
        self._queued = queued
        self._lapsed = False
        self.until = queued.free_at

    @property
    def lapsed(self) -> bool:
        self._lapsed |= now() >= self.until
        return self._lapsed

    def dead_letter(self, kind: str, reason: str) -> DeadLetter:
        stored = self._queued.stored
        return DeadLetter(
            kind=kind,
            reason=reason,
            subject=stored.subject,
            job=stored.job,
            sequence=stored.sequence,
            stored_at=stored.stored_at,
            deliveries=self.attempt,
            consumer="workers",
            data=stored.data,
            size=len(stored.data),
        )

    async def renew(self) -> None:
        self._queued.free_at = now() + self._bus.ack_wait
        if not self.lapsed:
            self.until = self._queued.free_at

    async def ack(self) -> None:
        """Like the server, take it from a lease that is over too."""
        key = (self.message.batch, self.message.request_id)
        if self._bus.queue.get(key) is self._queued:
            del self._bus.queue[key]

    async def release(self, delay: float = 0) -> None:
        self._queued.free_at = now() + delay
        self._bus.wake()


class FakeUrlRequest:
    """A :class:`docnats.bus.UrlRequest` whose answer is awaited."""

    def __init__(self, batch: str, job_id: str) -> None:
        self.batch = batch
        self.job_id = job_id
        self.answered: asyncio.Future[JobUrls] = asyncio.get_running_loop().create_future()

    async def answer(self, urls: JobUrls) -> None:
        if not self.answered.done():
            self.answered.set_result(urls)


class FakeBus:
    """A :class:`docnats.bus.Bus` that keeps everything in dictionaries.

    Clients and workers of one test share one object. :meth:`expire_leases` makes every lease
    end now, :meth:`put` puts anything at all on the queue, :meth:`terminate` drops a message as
    the worker of another make does, and :meth:`lose_word` forgets what is not yet taken.
    :meth:`silence` makes it long ago that a sender gave a sign of life.
    """

    def __init__(
        self,
        *,
        ack_wait: float = 30,
        max_deliver: int = 5,
        max_payload: int = 1024 * 1024,
        worker_ttl: float = 15,
    ) -> None:
        self.ack_wait = ack_wait
        self.outage: float | None = None
        self.queue: dict[Key, Queued] = {}
        self.waiting_pulls = 0
        self.records: dict[Key, StateEntry] = {}
        self.letters: dict[int, DeadLetter] = {}
        self._names = Names("fake")
        self._sequences = count(1)
        self._letter_ids = count(1)
        self._published: set[str] = set()
        self._words: dict[str, tuple[float, GivenUp]] = {}
        self.poison: dict[str, Poison] = {}
        self.results: dict[str, KnownResult] = {}
        self.archived: dict[str, ArchivedBatch] = {}
        self._deliveries = max_deliver + schema.HAND_BACKS
        self._max_payload = max_payload
        self._worker_ttl = worker_ttl
        self.foreign: set[str] = set()
        self._workers: dict[str, tuple[float, WorkerInfo]] = {}
        self._senders: dict[str, tuple[float, SenderInfo, int]] = {}
        self._revision = 0
        self._changed = asyncio.Event()
        self._watchers = Listeners[StateEntry]()
        self._poisoned = Listeners[PoisonEntry]()
        self._progress = Listeners[PageProgress]()
        self._signers = Listeners[UrlRequest]()
        self._cancels = Listeners[Key]()

    def patient(self) -> FakeBus:
        return self

    async def ensure(self) -> None:
        pass

    def expire_leases(self) -> None:
        for queued in self.queue.values():
            queued.free_at = 0
            if queued.lease is not None:
                queued.lease.until = 0
        self.wake()

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def publish(
        self,
        messages: Iterable[JobMessage],
        headers: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        messages = list(messages)
        for message in messages:
            if len(message.to_json()) > self._max_payload:
                raise BusError(f"job {message.request_id} ({message.filename}) is too large")
        for message in messages:
            if message.request_id not in self._published:
                self._published.add(message.request_id)
                await self.put(message.batch, message.request_id, message.to_json())
                queued = self.queue[message.batch, message.request_id]
                queued.headers = (headers or {}).get(message.request_id, {})

    async def put(self, batch: str, job_id: str, data: bytes) -> None:
        """Put something on the queue, as any program may."""
        subject = self._names.job_subject(batch, job_id)
        stored = StoredJob(next(self._sequences), subject, (batch, job_id), utc_now(), data)
        self.queue[batch, job_id] = Queued(stored)
        self.wake()

    async def pull(self, limit: int, wait: float) -> list[Lease]:
        deadline = now() + wait
        while not (leases := self._take(limit)) and now() < deadline:
            changed = self._changed
            free = [queued.free_at for queued in self._deliverable()]
            self.waiting_pulls += 1
            try:
                async with asyncio.timeout_at(min([deadline, *free])):
                    await changed.wait()
            except TimeoutError:
                pass
            finally:
                self.waiting_pulls -= 1
        return leases

    def _take(self, limit: int) -> list[Lease]:
        leases: list[Lease] = []
        free = [queued for queued in self._deliverable() if queued.free_at <= now()]
        for queued in free[:limit]:
            queued.attempt += 1
            queued.free_at = now() + self.ack_wait
            try:
                message = JobMessage.read(queued.stored.data, queued.stored.job)
            except UnreadableMessage as error:
                self._tell(Why.REFUSED, queued, str(error))
            else:
                queued.lease = FakeLease(self, queued, message)
                leases.append(queued.lease)
        for queued in self.queue.values():
            over = queued.attempt >= self._deliveries and queued.free_at <= now()
            if over and not queued.given_up:
                queued.given_up = True
                self._tell(Why.MAX_DELIVERIES, queued)
        return leases

    def _deliverable(self) -> list[Queued]:
        return [queued for queued in self.queue.values() if queued.attempt < self._deliveries]

    def _tell(self, why: Why, queued: Queued, reason: str = "") -> None:
        receipt = str(next(self._sequences))
        word = GivenUp(
            why, queued.stored.sequence, utc_now(), queued.attempt, "workers", reason, receipt
        )
        self._words[receipt] = (0, word)

    def terminate(self, lease: Lease, reason: str = "") -> None:
        """Drop a job as the worker of another make does."""
        queued = self.queue.pop((lease.message.batch, lease.message.request_id))
        self._tell(Why.TERMINATED, queued, reason)

    def lose_word(self) -> None:
        """Forget what was given up, as a server that could not keep it."""
        self._words.clear()

    async def given_up(self, limit: int) -> list[GivenUp]:
        free = [word for free_at, word in self._words.values() if free_at <= now()][:limit]
        for word in free:
            self._words[word.receipt] = (now() + self.ack_wait, word)
        return free

    async def passed_over(self, limit: int) -> list[GivenUp]:
        lost = [queued.stored for queued in self.queue.values() if queued.given_up]
        return [GivenUp(Why.PASSED_OVER, stored.sequence, utc_now()) for stored in lost[:limit]]

    async def still_given_up(self, word: GivenUp) -> StoredJob | None:
        jobs = {queued.stored.sequence: queued.stored for queued in self.queue.values()}
        return jobs.get(word.sequence)

    async def settle(self, words: Iterable[GivenUp]) -> None:
        for word in words:
            self._words.pop(word.receipt, None)

    async def bury(self, letter: DeadLetter) -> None:
        known = {(known.kind, known.sequence, known.stored_at) for known in self.letters.values()}
        if (letter.kind, letter.sequence, letter.stored_at) not in known:
            number = next(self._letter_ids)
            self.letters[number] = replace(letter, id=number, at=utc_now())

    async def remove(self, job: StoredJob) -> None:
        for key, queued in tuple(self.queue.items()):
            if queued.stored.sequence == job.sequence:
                del self.queue[key]

    async def dead_letters(self) -> list[DeadLetter]:
        return list(self.letters.values())

    async def count_dead_letters(self) -> int:
        return len(self.letters)

    async def discard_dead_letters(self, ids: Iterable[int]) -> None:
        for number in ids:
            self.letters.pop(number, None)

    async def drop_queued(self, batch: str, job_ids: Iterable[str] | None = None) -> int:
        wanted = None if job_ids is None else set(job_ids)
        dropped = [
            key for key in self.queue if key[0] == batch and (wanted is None or key[1] in wanted)
        ]
        for key in dropped:
            del self.queue[key]
        return len(dropped)

    async def queued(self, batch: str | None = None) -> set[Key]:
        return {key for key in self.queue if batch in (None, key[0])}

    async def backlog(self) -> Backlog:
        leased = sum(queued.attempt > 0 for queued in self.queue.values())
        return Backlog(pending=len(self.queue) - leased, leased=leased)

    async def update_state(self, record: JobRecord, revision: int) -> int:
        known = self.records.get((record.batch, record.job_id))
        if (known.revision if known else 0) != revision:
            raise StateConflict(f"job {record.job_id}: written by somebody else")
        self._revision += 1
        entry = StateEntry(record, self._revision)
        self.records[record.batch, record.job_id] = entry
        self._watchers.tell(entry)
        return self._revision

    async def update_states(self, entries: Sequence[StateEntry]) -> list[int | None]:
        written: list[int | None] = []
        for entry in entries:
            try:
                written.append(await self.update_state(entry.record, entry.revision))
            except StateConflict:
                written.append(None)
        return written

    async def get_state(self, batch: str, job_id: str) -> StateEntry | None:
        return self.records.get((batch, job_id))

    async def states(self, batch: str | None = None) -> list[StateEntry]:
        return [entry for key, entry in self.records.items() if batch in (None, key[0])]

    async def watch(self, batch: str) -> AsyncGenerator[StateEntry | None, None]:
        with self._watchers.listen() as changes:
            for entry in await self.states(batch):
                yield entry
            yield None
            while True:
                entry = await changes.get()
                if entry.record.batch == batch:
                    yield entry

    async def forget_batch(self, batch: str) -> None:
        for key in [key for key in self.records if key[0] == batch]:
            del self.records[key]

    async def put_archive(self, archived: ArchivedBatch) -> None:
        self.archived[archived.batch] = archived

    async def archive(self, batch: str) -> ArchivedBatch | None:
        return self.archived.get(batch)

    async def archives(self) -> list[ArchivedBatch]:
        return list(self.archived.values())

    async def put_poison(self, key: str, poison: Poison) -> None:
        self.poison[key] = poison
        self._poisoned.tell(PoisonEntry(key, poison))

    async def remove_poison(self, key: str) -> None:
        self.poison.pop(key, None)
        self._poisoned.tell(PoisonEntry(key, None))

    async def watch_poison(self) -> AsyncGenerator[PoisonEntry | None, None]:
        with self._poisoned.listen() as changes:
            for key, poison in tuple(self.poison.items()):
                yield PoisonEntry(key, poison)
            yield None
            while True:
                yield await changes.get()

    async def put_results(self, results: Mapping[str, KnownResult]) -> None:
        self.results.update(results)

    async def known_results(self, keys: Sequence[str]) -> list[KnownResult | None]:
        return [self.results.get(key) for key in keys]

    async def forget_results(self, sha256s: Iterable[str] | None = None) -> None:
        forgotten = None if sha256s is None else set(sha256s)
        for key in tuple(self.results):
            if forgotten is None or key.split(".")[0] in forgotten:
                del self.results[key]

    def tell_progress(self, progress: PageProgress) -> None:
        self._progress.tell(progress)

    async def progress(self, batch: str) -> AsyncGenerator[PageProgress, None]:
        with self._progress.listen() as told:
            while True:
                progress = await told.get()
                if progress.batch == batch:
                    yield progress

    async def broadcast_cancel(self, batch: str, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._cancels.tell((batch, job_id))

    async def cancellations(self) -> AsyncGenerator[tuple[str, str], None]:
        with self._cancels.listen() as told:
            while True:
                yield await told.get()

    async def ask_for_urls(self, batch: str, job_id: str) -> JobUrls | None:
        request = FakeUrlRequest(batch, job_id)
        if not self._signers.tell_one(request):
            return None
        return await request.answered

    async def url_requests(self) -> AsyncGenerator[UrlRequest, None]:
        with self._signers.listen() as asked:
            while True:
                yield await asked.get()

    async def announce(self, worker: WorkerInfo) -> None:
        self._workers[worker.worker] = (now() + self._worker_ttl, worker)

    async def withdraw(self, worker_id: str) -> None:
        self._workers.pop(worker_id, None)

    async def workers(self) -> list[WorkerInfo]:
        return [worker for until, worker in self._workers.values() if until > now()]

    async def enlist(self, sender: SenderInfo, revision: int = 0) -> int:
        _, known, last = self._senders.get(sender.batch, (0, None, 0))
        if last != revision and known != sender:
            raise StateConflict(f"batch {sender.batch}: another process sends it")
        self._revision += 1
        self._senders[sender.batch] = (now(), sender, self._revision)
        return self._revision

    def silence(self, batch: str, seconds: float) -> None:
        seen, sender, revision = self._senders[batch]
        self._senders[batch] = (seen - seconds, sender, revision)

    async def delist(self, batch: str) -> None:
        self._senders.pop(batch, None)

    async def senders(self) -> list[SenderEntry]:
        return [
            SenderEntry(sender, revision, now() - seen)
            for seen, sender, revision in self._senders.values()
        ]

    async def foreign_jobs(self) -> set[str]:
        return set(self.foreign)

    async def round_trip(self) -> float:
        await asyncio.sleep(0)
        return 0.0


class Listeners(Generic[T]):
    """Those who listen to something, each with a queue."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[T]] = set()

    @contextmanager
    def listen(self) -> Iterator[asyncio.Queue[T]]:
        queue: asyncio.Queue[T] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def tell_one(self, item: T) -> bool:
        """Tell one of them; False if there is none."""
        for queue in self._queues:
            queue.put_nowait(item)
            return True
        return False

    def tell(self, item: T) -> None:
        for queue in self._queues:
            queue.put_nowait(item)


def now() -> float:
    return asyncio.get_running_loop().time()
