"""A run: documents in, faults all along, then the checks."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from benchmarks.chaos import checks
from benchmarks.chaos.campaign import Campaign
from benchmarks.chaos.documents import make_documents
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.report import Report, Violation
from benchmarks.chaos.schedule import plan_faults
from docnats.config import StackConfig
from docnats.errors import DocnatsError
from docnats.service import S3DocumentService
from docnats.stack import LocalStack

__all__ = ["Options", "run"]

MIB = 1024 * 1024
PART = 5 * MIB
"""The smallest there may be, so that uploads in parts are among those that are disturbed."""

SETTLE_SECONDS = 120.0
"""After the last job: until leases of acks that were lost are over, and advisories are settled,
for some of which the workers wait a minute."""


@dataclass(frozen=True)
class Options:
    """How a run is made.

    Attributes
    ----------
    least : int
        Times that each kind of fault happens at least.
    ack_wait : float
        Seconds of a lease; short, so that the work of the dead goes on soon.
    limit : float
        Seconds after which the run is given up, with what is still open.
    s3_server : Path, optional
        The S3 server's program; by default the one docnats finds.
    folder : Path, optional
        An empty or missing folder for everything the run writes; by default a temporary one,
        which is kept if a promise was broken.
    """

    jobs: int = 2000
    seed: int = 0
    workers: int = 2
    parsers: int = 2
    batches: int = 10
    least: int = 2
    ack_wait: float = 5.0
    limit: float = 900.0
    s3_server: Path | None = None
    folder: Path | None = None


async def run(options: Options) -> Report:
    """Make a run and return what it found."""
    folder = options.folder or Path(tempfile.mkdtemp(prefix="docnats-chaos-"))
    (folder / "tmp").mkdir(parents=True)
    report = Report(options.seed, options.jobs, options.least)
    ledger = await asyncio.to_thread(_account, options, folder / "documents", report)
    faults = plan_faults(options.jobs, options.least, seed=options.seed)
    rows = len(ledger.entries)
    with _logged(folder / "client.log"), _environment(folder / "tmp", options.ack_wait):
        async with _stack(options, folder / "home") as stack:
            s3 = stack.s3.but(multipart_threshold=PART, multipart_chunksize=PART)
            async with S3DocumentService(s3, stack.nats) as service:
                campaign = Campaign(stack, service, ledger, faults, options.ack_wait, report)
                await campaign.run(options.limit)
                dead = await _settled(lambda: checks.check_stack(stack, service, options.workers))
                report.violations += dead
                if not dead:
                    await _check(stack, service, ledger, report)
            if not dead:  # only now, because what a client holds on the servers ends with it
                report.violations += await _settled(lambda: checks.check_streams(stack, rows))
    report.violations += await _settled(lambda: _listed(checks.check_leftovers(folder)))
    report.violations += checks.check_logs(folder)
    report.count_faults()
    if report.violations:
        shutil.rmtree(folder / "home" / "s3")  # a copy of all documents
        report.keep(folder)
    else:
        shutil.rmtree(folder)
    return report


def _account(options: Options, folder: Path, report: Report) -> Ledger:
    """Make the documents and find out how each must end."""
    documents = make_documents(folder, options.jobs, seed=options.seed)
    size = -(-len(documents) // options.batches)
    started = time.monotonic()
    ledger = Ledger([documents[first : first + size] for first in range(0, len(documents), size)])
    report.figures["seconds of an undisturbed parse"] = f"{time.monotonic() - started:.1f}"
    return ledger


def _stack(options: Options, home: Path) -> LocalStack:
    return LocalStack(
        home=home,
        workers=options.workers,
        parsers=options.parsers,
        config=StackConfig(s3_server=options.s3_server),
        embedded=True,
    )


async def _check(
    stack: LocalStack, service: S3DocumentService, ledger: Ledger, report: Report
) -> None:
    """Compare what there is with what there must be."""
    try:
        rows = await service.jobs()
    except DocnatsError as error:
        report.broken("the job table can be read", error)
        return
    report.count_rows(rows)
    report.violations += ledger.check_rows(rows)
    report.violations += await checks.check_results(service, ledger, rows)
    report.violations += await _settled(
        lambda: asyncio.to_thread(checks.check_objects, stack.s3, rows)
    )


async def _listed(found: Iterable[Violation]) -> list[Violation]:
    return list(found)


async def _settled(check: Callable[[], Awaitable[list[Violation]]]) -> list[Violation]:
    """Repeat a check until it finds nothing; return what it finds at last."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        found = await _made(check)
        if not found or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(1)


async def _made(check: Callable[[], Awaitable[list[Violation]]]) -> list[Violation]:
    try:
        return await check()
    except Exception as error:  # whatever a client of the servers raises
        return [Violation("the servers answer at the end", f"{type(error).__name__}: {error}")]


@contextmanager
def _environment(temporary: Path, ack_wait: float) -> Iterator[None]:
    """Have the whole stack put its temporary files where they can be counted."""
    ours = {"TMPDIR": str(temporary), "DOCNATS_ACK_WAIT": f"{ack_wait:g}"}
    with mock.patch.dict(os.environ, ours), mock.patch.object(tempfile, "tempdir", None):
        yield


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Write what this process logs, as a client, into a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()
