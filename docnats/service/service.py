"""The service: a client that also looks after the installation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from docnats.errors import DocnatsError
from docnats.models import WorkerInfo
from docnats.names import probe_key
from docnats.service.client import S3DocumentClient

__all__ = ["Health", "PartHealth", "S3DocumentService"]

_PROBE = b"docnats health check"
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part of the installation: ``seconds`` its check took, what it says."""

    name: str
    healthy: bool
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """The whole installation at one moment."""

    parts: tuple[PartHealth, ...]

    @property
    def healthy(self) -> bool:
        """Whether every part is."""
        return all(part.healthy for part in self.parts)

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it."""
        rows = "".join(
            f"<tr><td>{'✓' if part.healthy else '✗'}</td><th>{part.name}</th>"
            f"<td>{1000 * part.seconds:.0f} ms</td>"
            f'<td style="text-align:left">{escape(part.detail)}</td></tr>'
            for part in self.parts
        )
        return f"<table>{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {"healthy": self.healthy, "parts": [asdict(part) for part in self.parts]}


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

        Parameters
        ----------
        wait : float
            Seconds that the first worker may take to appear, for a stack just started.
        """
        return Health(
            tuple(
                await asyncio.gather(
                    _check("s3", self._check_storage()),
                    _check("nats", self._check_bus()),
                    _check("workers", self._check_workers(wait)),
                )
            )
        )

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers."""
        return await self.bus.workers()

    async def _check_storage(self) -> str:
        key = probe_key()
        await self.storage.put_bytes(key, _PROBE)
        found = await self.storage.get_bytes(key)
        await self.storage.delete([key])
        if found != _PROBE:
            raise DocnatsError(f"read back other bytes than were written to {key}")
        return f"bucket {self.storage.bucket}: put, get and delete work"

    async def _check_bus(self) -> str:
        await self.bus.round_trip()
        backlog = await self.bus.backlog()
        return f"JetStream answers; {backlog.pending} jobs queued, {backlog.leased} with workers"

    async def _check_workers(self, wait: float) -> str:
        deadline = time.monotonic() + wait
        while not (workers := await self.bus.workers()):
            if time.monotonic() >= deadline:
                raise DocnatsError("no live worker: start one with `docnats worker`")
            await asyncio.sleep(_POLL_SECONDS)
        parsers = sum(worker.parsers for worker in workers)
        return f"{len(workers)} live, {parsers} parser process{'' if parsers == 1 else 'es'}"


async def _check(name: str, check: Awaitable[str]) -> PartHealth:
    start = time.perf_counter()
    try:
        detail, healthy = await check, True
    except DocnatsError as error:
        detail, healthy = str(error), False
    return PartHealth(name, healthy, round(time.perf_counter() - start, 4), detail)
