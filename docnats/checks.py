"""Checks of an installation that really use it: what they say, or a DocnatsError."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from docnats.backends import storage_for
from docnats.bus import Bus, NatsBus
from docnats.config import NatsConfig, ProcessingConfig, S3Config
from docnats.errors import DocnatsError, StackError
from docnats.models import Health, PartHealth, WorkerInfo
from docnats.names import probe_key
from docnats.storage import Storage

__all__ = [
    "check_bus",
    "check_installation",
    "check_storage",
    "check_workers",
    "examine",
    "live_workers",
    "storage_part",
]

CHECK_SECONDS = 10.0
"""How long a part may take: a server that hangs is not healthy."""

_PROBE = b"docnats health check"
_POLL_SECONDS = 0.2


async def examine(name: str, check: Awaitable[str], *, limit: float = CHECK_SECONDS) -> PartHealth:
    """Return what a check says of a part, and how long it took."""
    start = time.perf_counter()
    try:
        async with asyncio.timeout(limit):
            detail, healthy = await check, True
    except DocnatsError as error:
        detail, healthy = str(error), False
    except TimeoutError:
        detail, healthy = f"no answer within {limit:g} s", False
    return PartHealth(name, healthy, round(time.perf_counter() - start, 4), detail)


async def check_installation(
    s3: S3Config, nats: NatsConfig, processing: ProcessingConfig, *, wait: float = 0
) -> Health:
    """Check the storage, NATS and the workers, each over connections of its own.

    What a client creates when it connects is created: a bucket that is missing is not a fault.

    Parameters
    ----------
    wait : float
        Seconds that the first worker may take to appear.
    """

    async def storage_works() -> str:
        async with storage_for(s3, nats, processing) as storage:
            await storage.ensure_bucket()
            return await check_storage(storage)

    async def bus_works() -> str:
        async with NatsBus(nats) as bus:
            await bus.ensure()
            return await check_bus(bus)

    async def workers_live() -> str:
        async with NatsBus(nats) as bus:
            await bus.ensure()
            return await check_workers(bus, wait=wait)

    parts = asyncio.gather(
        examine(storage_part(in_s3=processing.use_s3_storage), storage_works()),
        examine("nats", bus_works()),
        examine("workers", workers_live(), limit=CHECK_SECONDS + wait),
    )
    return Health(tuple(await parts))


def storage_part(*, in_s3: bool) -> str:
    """Return what the storage is called in a report."""
    return "s3" if in_s3 else "objects"


async def check_storage(storage: Storage) -> str:
    """Put, get and delete an object."""
    key, clock = probe_key(), time.perf_counter
    began = clock()
    await storage.put_bytes(key, _PROBE)
    put = clock()
    found = await storage.get_bytes(key)
    got = clock()
    await storage.delete([key])
    deleted = clock()
    if found != _PROBE:
        raise DocnatsError(f"read back other bytes than were written to {key}")
    steps = (put - began, got - put, deleted - got)
    took = " + ".join(f"{1000 * step:.0f}" for step in steps)
    return f"bucket {storage.bucket}: put, get and delete work ({took} ms)"


async def check_bus(bus: Bus) -> str:
    """Write something to JetStream, and read how much there is to do."""
    seconds = await bus.round_trip()
    backlog, dead = await bus.backlog(), await bus.count_dead_letters()
    return (
        f"JetStream answers ({1000 * seconds:.0f} ms); {backlog.pending} jobs queued, "
        f"{backlog.leased} with workers, {dead} dead letter{'' if dead == 1 else 's'}"
    )


async def check_workers(bus: Bus, *, wait: float = 0) -> str:
    """Count the live workers; see :func:`live_workers`."""
    workers = await live_workers(bus, wait=wait)
    parsers = sum(worker.parsers for worker in workers)
    return f"{len(workers)} live, {parsers} parser process{'' if parsers == 1 else 'es'}"


async def live_workers(bus: Bus, *, wait: float = 0) -> list[WorkerInfo]:
    """Return the live workers.

    Parameters
    ----------
    wait : float
        Seconds that the first one may take to appear.

    Raises
    ------
    StackError
        There is none.
    """
    deadline = time.monotonic() + wait
    while not (workers := await bus.workers()):
        if time.monotonic() >= deadline:
            raise StackError("no live worker: start one with `docnats worker`")
        await asyncio.sleep(_POLL_SECONDS)
    return workers
