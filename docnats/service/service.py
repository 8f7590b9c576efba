"""The service: a client that also looks after the installation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from docnats.checks import check_installation, live_workers
from docnats.errors import DocnatsError
from docnats.models import DeadLetter, Health, WorkerInfo
from docnats.names import new_batch_id, new_canary_id
from docnats.processors import DEFAULT
from docnats.service import choice
from docnats.service.canary import Canary, choose, sample_size
from docnats.service.client import S3DocumentClient
from docnats.service.estimate import Estimate, estimate_of
from docnats.service.leftovers import Leftover, collect_leftovers
from docnats.service.requeue import Requeued, requeue
from docnats.service.results import result_sizes
from docnats.service.sources import Sources, expand_sources
from docnats.service.submission import Submission

__all__ = ["S3DocumentService"]


class S3DocumentService(S3DocumentClient):
    """Everything a client does, and the health of what it depends on.

    Examples
    --------
    >>> async with S3DocumentService() as service:  # doctest: +SKIP
    ...     if (await service.health_check()).healthy:
    ...         result = await service.process_document("report.pdf")
    """

    async def health_check(self, *, wait: float = 0) -> Health:
        """Put, get and delete an object, do a JetStream round trip, count live workers.

        It uses connections of its own, so it also tells what keeps :meth:`connect` from working.

        Parameters
        ----------
        wait : float
            Seconds that the first worker may take to appear, for a stack just started.

        Returns
        -------
        Health
            What each part says and how long it took; of one that cannot be used, why not.

        Examples
        --------
        >>> [part.name for part in (await service.health_check()).parts]  # doctest: +SKIP
        ['s3', 'nats', 'workers']
        """
        return await check_installation(self._s3_config, self._nats_config, self.config, wait=wait)

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers."""
        return await self.bus.workers()

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the job messages that no worker could settle, the oldest first.

        Examples
        --------
        >>> [letter.reason for letter in await service.dead_letters()]  # doctest: +SKIP
        """
        return await self.bus.dead_letters()

    async def requeue(self, ids: Iterable[int]) -> Requeued:
        """Run dead letters again, each as a new job of a new batch on the same document.

        A letter is discarded when its new job is on the queue. One that cannot run again, as
        its message makes no sense or its document is gone, stays, and the others go on.

        Parameters
        ----------
        ids : iterable of int
            Of the letters.

        Raises
        ------
        SourceError
            None of them can run again; the message says why.

        Examples
        --------
        >>> done = await service.requeue([7, 8])  # doctest: +SKIP
        >>> table, why_not = await done.batch.follow(), done.refused  # doctest: +SKIP
        """
        batch = new_batch_id()
        submission, refused = await requeue(self.bus, self.storage, self.config, batch, ids)
        return Requeued(await self._begin(submission, batch), refused)

    async def gc(
        self, *, delete: bool = False, older_than: timedelta = timedelta(hours=24)
    ) -> list[Leftover]:
        """Find what is stored and no job needs; delete it if asked to. See :func:`docnats.gc`."""
        return await collect_leftovers(self.archives, delete=delete, older_than=older_than)

    async def canary(
        self,
        sources: Sources,
        *,
        sample: float = 0.01,
        seed: int = 0,
        processor: str = DEFAULT,
        options: Mapping[str, JsonValue] | None = None,
        timeout: float | None = None,
        wait: float = 0,
    ) -> Canary:
        """Begin to process a few of many documents; see :func:`docnats.estimate`.

        Parameters
        ----------
        processor, options, timeout
            As of :meth:`submit`.
        wait : float
            Seconds that the first worker may take to appear.

        Raises
        ------
        SourceError, ConfigError
            The sources or an argument cannot be used; nothing was uploaded.
        StackError
            There is no live worker; nothing was uploaded.

        Examples
        --------
        >>> canary = await service.canary("papers")  # doctest: +SKIP
        >>> await canary.batch.follow()  # doctest: +SKIP
        >>> estimate = await service.judge(canary)  # doctest: +SKIP
        """
        how = await choice.choose(self.bus, processor, options or {})
        documents = await expand_sources(sources, self.storage)
        workers = await live_workers(self.bus, wait=wait)
        parsers = {worker.worker: worker.parsers for worker in workers}
        count = sample_size(sample, len(documents), sum(parsers.values()))
        chosen = choose([document.size for document in documents], count, seed)
        batch = new_canary_id()
        config = self.config if timeout is None else self.config.but(timeout=timeout)
        submission = Submission(
            self.bus,
            self.storage,
            config,
            batch,
            [documents[place] for place in chosen],
            how,
            reuse=False,  # an answer from before would tell nothing of the time
        )
        return Canary(await self._begin(submission, batch), documents, chosen, parsers)

    async def judge(self, canary: Canary) -> Estimate:
        """Return what a canary that has ended tells of all documents.

        Raises
        ------
        DocnatsError
            It has not ended, or none of its documents came to a worker.
        """
        table = canary.batch.table
        if not table.finished:
            raise DocnatsError(f"batch {canary.batch.id} has not ended: follow it first")
        records = table.records()
        parsers = {worker.worker: worker.parsers for worker in await self.bus.workers()}
        sizes = await result_sizes(self.storage, records)
        return estimate_of(canary, records, sizes, parsers or canary.parsers)

    async def estimate(self, sources: Sources, **options: Any) -> Estimate:
        """Process a few of many documents and tell how all of them would go.

        Takes what :meth:`canary` takes. When it is cancelled, so are the jobs.

        Examples
        --------
        >>> (await service.estimate("papers", sample=0.02)).seconds.high  # doctest: +SKIP
        """
        canary = await self.canary(sources, **options)
        try:
            await canary.batch.follow()
        except asyncio.CancelledError:
            await self.cancel(canary.batch.table.records())
            raise
        return await self.judge(canary)
