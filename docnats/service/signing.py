"""Presigned URLs for workers without credentials: at the submission, and fresh ones later."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable
from contextlib import aclosing

from docnats.bus import Bus, NatsBus, UrlRequest
from docnats.config import NatsConfig, S3Config
from docnats.errors import BusError, ConfigError, StorageError
from docnats.models import JobRecord, JobUrls
from docnats.names import DOCUMENT, RESULT_PARTS, result_part
from docnats.service.cleanup import uploaded
from docnats.storage import S3Storage, Storage
from docnats.telemetry import about_job

__all__ = ["Signer", "run_signer", "signed_urls"]

log = logging.getLogger(__name__)


async def signed_urls(storage: Storage, job: JobRecord) -> JobUrls:
    """Return URLs to read a job's document and to write its results, and nothing else."""
    parts = (*RESULT_PARTS, *job.parts)
    puts = {part: await storage.presign_put(result_part(job.job_id, part)) for part in parts}
    return JobUrls(
        s3_url=await storage.presign_get(job.s3_key, bucket=job.s3_bucket),
        result_url=puts.pop(DOCUMENT),
        part_urls=puts,
    )


class Signer:
    """Signs URLs for workers without credentials whose jobs have none, or expired ones.

    Whoever can write to the job table could name any object as a job's document. So only
    documents that docnats uploaded are signed for, those this client submitted in place, and
    those in the buckets of ``S3_READ_BUCKETS``.

    Parameters
    ----------
    bus, storage
        The open ports; ``storage`` has credentials.
    """

    def __init__(self, bus: Bus, storage: Storage) -> None:
        self._bus = bus
        self._storage = storage
        self._submitted: set[tuple[str, str]] = set()

    def vouch_for(self, jobs: Iterable[JobRecord]) -> None:
        """Sign for the documents of these jobs wherever they are: this client chose them."""
        self._submitted.update(
            (job.s3_bucket, job.s3_key) for job in jobs if not uploaded(job, self._storage)
        )

    async def run(self) -> None:
        """Answer requests until this is cancelled or the bus is closed."""
        async with aclosing(self._bus.url_requests()) as requests:
            async for request in requests:
                with about_job(request.batch, request.job_id):
                    await self._answer(request)

    async def _answer(self, request: UrlRequest) -> None:
        try:
            await request.answer(await self._urls(request.batch, request.job_id))
        except (BusError, StorageError) as error:
            # Not answered: the worker asks again, perhaps somebody else.
            log.warning("job %s: no fresh URLs signed: %s", request.job_id, error)

    async def _urls(self, batch: str, job_id: str) -> JobUrls:
        entry = await self._bus.get_state(batch, job_id)
        if entry is None:
            return JobUrls(refused="there is no such job")
        job = entry.record
        if job.terminal:
            return JobUrls(refused=f"the job is {job.state}")
        if not self._may_be_read(job):
            return JobUrls(refused="another client submitted its document in place")
        log.info("job %s: signing fresh URLs for its worker", job_id)
        return await signed_urls(self._storage, job)

    def _may_be_read(self, job: JobRecord) -> bool:
        if uploaded(job, self._storage) or (job.s3_bucket, job.s3_key) in self._submitted:
            return True
        return job.s3_bucket != self._storage.bucket and job.s3_bucket in self._storage.readable


async def run_signer(s3: S3Config | None = None, nats: NatsConfig | None = None) -> None:
    """Sign URLs until SIGTERM or SIGINT.

    Parameters
    ----------
    s3, nats : optional
        Settings; by default those of the environment.

    Raises
    ------
    ConfigError
        There are no S3 credentials to sign with.
    StorageError, BusError
        A server cannot be reached at the start.

    Examples
    --------
    >>> asyncio.run(run_signer())  # doctest: +SKIP
    """
    async with S3Storage(s3 or S3Config()) as storage, NatsBus(nats or NatsConfig()) as bus:
        if not await storage.has_credentials():
            raise ConfigError(_NOTHING_TO_SIGN_WITH)
        signing = asyncio.create_task(Signer(bus, storage).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signing.cancel)
        log.info("signing URLs for objects of the bucket %s", storage.bucket)
        await asyncio.wait({signing})
        if not signing.cancelled():
            signing.result()


_NOTHING_TO_SIGN_WITH = (
    "a signer needs S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or set up the "
    "AWS credential chain, and do not set S3_USE_CREDENTIALS=false"
)
