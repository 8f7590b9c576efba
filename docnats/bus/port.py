"""The control bus as its users see it: what a client and a worker may ask of NATS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Protocol

from docnats.bus.entries import (
    Backlog,
    GivenUp,
    PoisonEntry,
    SenderEntry,
    StateEntry,
    StoredJob,
)
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
)

__all__ = ["Bus", "Lease", "UrlRequest"]


class Lease(Protocol):
    """The right to work on one job until ``ack_wait`` seconds pass without renewal.

    The lease does not fence: an ack is taken even after the job was delivered to somebody
    else. So the holder writes the job's state with :meth:`Bus.update_state` first, and acks
    only when that write won.

    Every method raises a :class:`~docnats.errors.BusError` when the server does not confirm
    it in time; the job is then delivered again, at the latest when the lease is over.
    """

    @property
    def message(self) -> JobMessage:
        """The control message."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What was published along with it: where its spans belong, if it is traced."""

    @property
    def attempt(self) -> int:
        """Deliveries of this job so far, this one included: 1 for the first.

        A server that was killed may count some of them again.
        """

    @property
    def lapsed(self) -> bool:
        """Whether it may have run out at any time, so that somebody else has the job by now.

        It is counted from the moment that it was asked for, or that its last renewal was sent:
        so a process that was stopped for long, or cut off from NATS, cannot take it for valid.
        Once true it stays so, whatever is renewed later.
        """

    def dead_letter(self, kind: str, reason: str) -> DeadLetter:
        """Return the message as a dead letter, for :meth:`Bus.bury`."""

    async def renew(self) -> None:
        """Start the lease's time anew."""

    async def ack(self) -> None:
        """Take the job off the queue for good; returns when the server has confirmed it."""

    async def release(self, delay: float = 0) -> None:
        """Hand the job back, to be delivered again after ``delay`` seconds."""


class UrlRequest(Protocol):
    """A worker's request for fresh presigned URLs of a job."""

    @property
    def batch(self) -> str:
        """The job's batch."""

    @property
    def job_id(self) -> str:
        """The job."""

    async def answer(self, urls: JobUrls) -> None:
        """Give the worker its URLs, or the reason why not; it may have given up waiting."""


class Bus(Protocol):
    """What clients and workers do over NATS; an open connection.

    Every coroutine raises a :class:`~docnats.errors.BusError` that names the server when
    NATS does not answer within ``request_timeout``, reconnection included, and a
    :class:`~docnats.errors.ConfigError` for a batch or job id that is no valid name.
    """

    @property
    def outage(self) -> float | None:
        """Seconds since the connection was lost; None while there is one."""

    def patient(self) -> Bus:
        """Return the same bus for what goes on in the background.

        Its calls and watches wait while an outage lasts, up to a limit set when it was opened.
        """

    async def ensure(self) -> None:
        """Create or update the streams, the consumer and the buckets; idempotent."""

    async def publish(
        self,
        messages: Iterable[JobMessage],
        headers: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Put jobs on the queue, each once.

        A job that is on the queue or with a worker already stays as it is, and one that has just
        ended is not queued again: a retry is a new job.

        Parameters
        ----------
        headers : mapping, optional
            What is to travel along with some of them, by job id; not a part of the message.

        Raises
        ------
        BusError
            A message is over the server's ``max_payload`` (nothing is published then), or
            the server refused one.
        """

    async def pull(self, limit: int, wait: float) -> list[Lease]:
        """Take up to ``limit`` jobs off the queue.

        Returns as soon as there is any; ``[]`` when there was none for ``wait`` seconds. Of a
        message that makes no sense there is word by :meth:`given_up`. When the call is
        cancelled, jobs that already arrived are handed back.
        """

    async def drop_queued(self, batch: str, job_ids: Iterable[str] | None = None) -> int:
        """Take a batch's jobs, or some, off the queue; return how many were on it.

        A job that a worker has taken is dropped too: the worker goes on, but the job is not
        delivered again.
        """

    async def queued(self, batch: str | None = None) -> set[tuple[str, str]]:
        """Return the jobs of a batch, or all, that are on the queue or with a worker.

        Each is its batch and its id. On a cluster one that was just acked may still be there.
        """

    async def backlog(self) -> Backlog:
        """Return how many jobs wait and how many are with workers.

        One that was queued a moment ago may not be counted yet.
        """

    async def given_up(self, limit: int) -> list[GivenUp]:
        """Take word of up to ``limit`` messages that nobody will work on; ``[]``: there is none.

        Each word goes to one caller, and to another one if it is not settled in time.
        """

    async def passed_over(self, limit: int) -> list[GivenUp]:
        """Return up to ``limit`` messages that the workers' consumer has left behind.

        Those are on the queue, will not be delivered, and no metric shows them; there should
        be word of each, unless the server could not keep it.
        """

    async def still_given_up(self, word: GivenUp) -> StoredJob | None:
        """Return the message that was given up.

        None: it is gone, or it will be delivered after all, because the queue or its consumer
        was made anew since.
        """

    async def settle(self, words: Iterable[GivenUp]) -> None:
        """Have no more word of some messages."""

    async def bury(self, letter: DeadLetter) -> None:
        """Put a message among the dead letters, if it is not there yet.

        What does not fit into one message of NATS is cut off.
        """

    async def remove(self, job: StoredJob) -> None:
        """Take a message off the queue, wherever it stands."""

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters, the oldest first."""

    async def count_dead_letters(self) -> int:
        """Return how many dead letters there are."""

    async def discard_dead_letters(self, ids: Iterable[int]) -> None:
        """Remove dead letters; those that are not there are passed over."""

    async def update_state(self, record: JobRecord, revision: int) -> int:
        """Write a record if its job's revision still is ``revision`` (0: if there is none).

        Returns
        -------
        int
            The new revision.

        Raises
        ------
        StateConflict
            Somebody else wrote the record since; nothing was written.
        """

    async def update_states(self, entries: Sequence[StateEntry]) -> list[int | None]:
        """Write many records, each as :meth:`update_state`; None stands for a conflict.

        Each entry holds the record to write and the revision it replaces.
        """

    async def get_state(self, batch: str, job_id: str) -> StateEntry | None:
        """Return a job's record as the leader has it, or None."""

    async def states(self, batch: str | None = None) -> list[StateEntry]:
        """Return the records of a batch, or all; a record written meanwhile counts once."""

    def watch(self, batch: str) -> AsyncGenerator[StateEntry | None, None]:
        """Iterate over a batch's records: the current ones, one None, then each change.

        After a lost connection the current records come again. Close it with
        ``contextlib.aclosing``.

        Raises
        ------
        BusError
            The connection was lost for too long, or the bus was closed.
        """

    async def forget_batch(self, batch: str) -> None:
        """Forget all records of a batch, at once: nobody ever sees a part of them."""

    async def put_archive(self, archived: ArchivedBatch) -> None:
        """Enter a batch into the index of archives, in place of an earlier entry."""

    async def archive(self, batch: str) -> ArchivedBatch | None:
        """Return a batch's entry in the index of archives, as the leader has it, or None."""

    async def archives(self) -> list[ArchivedBatch]:
        """Return the entries of all archived batches."""

    async def put_poison(self, key: str, poison: Poison) -> None:
        """Note that a document kills the parser; kept for some weeks."""

    async def remove_poison(self, key: str) -> None:
        """Note that it does not, or not any more; a key without a note is fine."""

    def watch_poison(self) -> AsyncGenerator[PoisonEntry | None, None]:
        """Iterate over the notes on poison: the current ones, one None, then each change.

        After a lost connection the current ones come again.
        """

    async def put_results(self, results: Mapping[str, KnownResult]) -> None:
        """Note results by the keys of their documents, in place of what was noted before."""

    async def known_results(self, keys: Sequence[str]) -> list[KnownResult | None]:
        """Return what is noted under some keys, as the leader has it, in their order."""

    async def forget_results(self, sha256s: Iterable[str] | None = None) -> None:
        """Forget all that is known of some documents, or of all."""

    def tell_progress(self, progress: PageProgress) -> None:
        """Tell whoever listens how far a job is; lossy, returns at once."""

    def progress(self, batch: str) -> AsyncGenerator[PageProgress, None]:
        """Iterate over the page progress of a batch's jobs from now on."""

    async def broadcast_cancel(self, batch: str, job_ids: Iterable[str]) -> None:
        """Tell the workers to stop some jobs."""

    def cancellations(self) -> AsyncGenerator[tuple[str, str], None]:
        """Iterate over the jobs to stop, each its batch and its id, from now on."""

    async def ask_for_urls(self, batch: str, job_id: str) -> JobUrls | None:
        """Ask whoever can sign for fresh presigned URLs of a job; None: nobody answers."""

    def url_requests(self) -> AsyncGenerator[UrlRequest, None]:
        """Iterate over the requests for URLs from now on; each goes to one who listens."""

    async def announce(self, worker: WorkerInfo) -> None:
        """Enter a worker into the registry, for :data:`~docnats.bus.WORKER_TTL` seconds."""

    async def withdraw(self, worker_id: str) -> None:
        """Take a worker out of the registry."""

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers."""

    async def enlist(self, sender: SenderInfo, revision: int = 0) -> int:
        """Enter a batch's sender into the registry, or let it give a sign of life.

        Parameters
        ----------
        revision : int
            Of its last sign of life; 0 for the first.

        Returns
        -------
        int
            The new revision.

        Raises
        ------
        StateConflict
            Another process sends this batch, or somebody took the entry away.
        """

    async def delist(self, batch: str) -> None:
        """Take a batch's sender out of the registry; fine if there is none."""

    async def senders(self) -> list[SenderEntry]:
        """Return the senders, those too that have given no sign of life for long."""

    async def foreign_jobs(self) -> set[str]:
        """Return the ids of the jobs that other namespaces on the same servers know."""

    async def round_trip(self) -> float:
        """Write something to JetStream and return the seconds until it was confirmed."""
