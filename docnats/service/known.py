"""Documents that were processed before: found by their content, answered without an upload."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence

from docnats.bus import Bus
from docnats.config import LlmConfig
from docnats.errors import BusError
from docnats.models import (
    SECRET_OPTIONS,
    JobRecord,
    JobState,
    KnownResult,
    WorkerInfo,
    utc_now,
)
from docnats.names import known_key
from docnats.processors import offered, result_version
from docnats.service.choice import Choice
from docnats.service.sources import Source

__all__ = ["Library"]

log = logging.getLogger(__name__)

_IN_MEMORY = 1 << 20
"""Bytes read at a time."""


class Library:
    """The results that some documents may have already.

    Parameters
    ----------
    bus : Bus
        The open port.
    choice : Choice
        How the documents are to be processed.
    bucket : str
        Where results are read from; those in another one are of no use.
    """

    def __init__(self, bus: Bus, choice: Choice, bucket: str) -> None:
        self._bus = bus
        self._bucket = bucket
        self._options = dict(choice.options)
        self._prompt = choice.prompt

    async def look_up(self, jobs: Sequence[tuple[Source, JobRecord]]) -> list[JobRecord | None]:
        """Return the records of jobs as done where their results are known, in their order.

        A password makes all unknown: only a parser can tell that it is the right one.
        """
        local = [job for job in jobs if job[0].key is None]
        if not local or SECRET_OPTIONS & self._options.keys():
            return [None] * len(jobs)
        try:
            answered = await self._answers(local)
        except BusError as error:  # this is only a cache: they are uploaded and processed
            log.warning("not looked up whether %d documents are known: %s", len(local), error)
            answered = {}
        return [answered.get(record.job_id) for _, record in jobs]

    async def _answers(self, jobs: Sequence[tuple[Source, JobRecord]]) -> dict[str, JobRecord]:
        workers = await self._bus.workers()
        versions, models = _makers(workers) if workers else _makers_here()
        jobs = [job for job in jobs if job[1].processor in versions]
        if not jobs or (self._prompt is not None and len(models) != 1):
            return {}
        prompt = None if self._prompt is None else (self._prompt, min(models))
        digests = await asyncio.to_thread(lambda: [_sha256(source) for source, _ in jobs])
        wanted = [
            (digest, record, known_key(digest, record.processor, version, self._options, prompt))
            for digest, (_, record) in zip(digests, jobs, strict=True)
            if digest and (version := versions[record.processor])
        ]
        found = await self._bus.known_results([key for _, _, key in wanted])
        return {
            record.job_id: _answered(record, known, digest)
            for (digest, record, _), known in zip(wanted, found, strict=True)
            if known is not None and known.s3_bucket == self._bucket
        }


def _makers(workers: Sequence[WorkerInfo]) -> tuple[dict[str, str], set[str]]:
    """Return what makes results now: versions by processor, and models that answer prompts.

    Where those who offer a processor have different versions, no earlier result is sure to be
    what they would make.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for worker in workers:
        for processor in worker.processors:
            found[processor].add(worker.versions.get(processor, ""))
    alike = {
        processor: version
        for processor, versions in found.items()
        if len(versions) == 1 and (version := min(versions))
    }
    return alike, {worker.prompts for worker in workers if worker.prompts}


def _makers_here() -> tuple[dict[str, str], set[str]]:
    """Return what would make results here: workers that start just now are as this process."""
    model = LlmConfig().model
    return {name: result_version(name) for name in offered()}, {model} if model else set()


def _sha256(source: Source) -> str | None:
    """Return the digest of a local document; None if it cannot be read: its upload says why."""
    if source.data is not None:
        return hashlib.sha256(source.data).hexdigest()
    if source.path is None:
        return None
    digest = hashlib.sha256()
    try:
        with source.path.open("rb", buffering=0) as file:
            while block := file.read(_IN_MEMORY):
                digest.update(block)
    except OSError as error:
        log.info("%s cannot be read: %s", source.name, error)
        return None
    return digest.hexdigest()


def _answered(record: JobRecord, known: KnownResult, sha256: str | None) -> JobRecord:
    return record.but(
        state=JobState.DONE,
        sha256=sha256,
        bytes=known.bytes,
        pages=known.pages,
        pages_failed=0,
        s3_bucket=known.s3_bucket,
        s3_key=known.s3_key,
        result_key=known.result_key,
        parts=known.parts,
        reused_from=known.job_id,
        finished_at=utc_now(),
    )
