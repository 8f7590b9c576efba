"""What is told at once and kept by nobody for long.

Page progress, cancels, requests for URLs, and which workers are alive.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from nats.aio.msg import Msg

from docnats.bus.bucket import current, record_in
from docnats.bus.connection import Connection
from docnats.bus.inbox import LinkLost
from docnats.bus.link import Request
from docnats.bus.port import UrlRequest
from docnats.bus.stream import purge
from docnats.errors import BusError, ConfigError
from docnats.models import JobUrls, PageProgress, WorkerInfo
from docnats.names import SIGNERS, Names

__all__ = ["Signals"]

log = logging.getLogger(__name__)

OUTAGE_SECONDS = 24 * 3600.0
"""Listening goes on after any shorter outage: a worker must outlive those."""


@dataclass(frozen=True, slots=True)
class _UrlRequest:
    """A worker's request; see :class:`~docnats.bus.port.UrlRequest`."""

    _connection: Connection
    batch: str
    job_id: str
    _reply: str

    async def answer(self, urls: JobUrls) -> None:
        """Give the worker its URLs, or the reason why not; it may have given up waiting."""
        link = await self._connection.link()
        await link.tell(self._reply, urls.to_json())


class Signals:
    """Core NATS subjects, and the registry of workers; a part of the bus."""

    _connection: Connection
    _names: Names

    def tell_progress(self, progress: PageProgress) -> None:
        """Tell whoever listens how far a job is; lossy, returns at once."""
        subject = self._names.progress_subject(progress.batch, progress.job_id)
        self._connection.tell_soon(subject, progress.to_json())

    async def progress(self, batch: str) -> AsyncGenerator[PageProgress, None]:
        """Iterate over the page progress of a batch's jobs from now on."""
        async with aclosing(self._listen(self._names.batch_progress_filter(batch))) as messages:
            async for message in messages:
                if progress := record_in(PageProgress, message.subject, message.data):
                    yield progress

    async def broadcast_cancel(self, batch: str, job_ids: Iterable[str]) -> None:
        """Tell the workers to stop some jobs."""
        subjects = [self._names.cancel_subject(batch, job_id) for job_id in job_ids]
        link = await self._connection.link()
        for subject in subjects:
            await link.tell(subject)

    async def cancellations(self) -> AsyncGenerator[tuple[str, str], None]:
        """Iterate over the jobs to stop, each its batch and its id, from now on."""
        async with aclosing(self._listen(self._names.cancels_filter)) as messages:
            async for message in messages:
                yield self._names.cancelled(message.subject)

    async def ask_for_urls(self, batch: str, job_id: str) -> JobUrls | None:
        """Ask whoever can sign for fresh presigned URLs of a job; None: nobody answers."""
        request = Request(
            self._names.sign_subject(batch, job_id), about=f"the request for URLs of job {job_id}"
        )
        try:
            (answer,) = await self._connection.ask_all([request], patience=0)
        except BusError as error:
            log.info("job %s: nobody signs fresh URLs: %s", job_id, error)
            return None
        try:
            return JobUrls.from_json(answer.data)
        except ValueError:  # not shown: there may be URLs in it
            log.warning("job %s: the fresh URLs cannot be read", job_id)
            return None

    async def url_requests(self) -> AsyncGenerator[UrlRequest, None]:
        """Iterate over the requests for URLs from now on; each goes to one who listens."""
        requests = self._listen(self._names.signs_filter, SIGNERS)
        async with aclosing(requests) as messages:
            async for message in messages:
                try:
                    batch, job_id = self._names.asked_for(message.subject)
                except ConfigError as error:
                    log.warning("%s: nobody can sign for this: %s", message.subject, error)
                    continue
                yield _UrlRequest(self._connection, batch, job_id, message.reply)

    async def _listen(self, subject: str, queue: str = "") -> AsyncGenerator[Msg, None]:
        """Iterate over a subject's messages; what is told while the link is lost is missed."""
        while True:
            link = await self._connection.link(OUTAGE_SECONDS)
            try:
                async with link.inbox(subject, queue) as inbox:
                    while True:
                        yield await inbox.get()
            except LinkLost as error:
                log.info("listening to %s begins anew: %s", subject, error)

    async def announce(self, worker: WorkerInfo) -> None:
        """Enter a worker into the registry, for ``WORKER_TTL`` seconds."""
        subject = self._names.worker_subject(worker.worker)
        (await self._connection.ask(subject, worker.to_json())).json()

    async def withdraw(self, worker_id: str) -> None:
        """Take a worker out of the registry."""
        subject = self._names.worker_subject(worker_id)
        await purge(self._connection, self._names.workers_stream, [subject])

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers."""
        stream, subject = self._names.workers_stream, self._names.any_worker_filter
        return await current(self._connection, stream, subject, _worker)

    async def round_trip(self) -> float:
        """Write something to JetStream and return the seconds until it was confirmed."""
        start = time.perf_counter()
        (await self._connection.ask(self._names.probe_subject)).json()
        return time.perf_counter() - start


def _worker(message: Msg) -> WorkerInfo | None:
    return record_in(WorkerInfo, message.subject, message.data)
