"""What a worker notes of its results, so that nobody need make them twice."""

from __future__ import annotations

import asyncio
import logging

from docnats.bus import Bus
from docnats.errors import BusError
from docnats.models import JobMessage, JobRecord, JobState, KnownResult
from docnats.names import known_key, owner
from docnats.processors import result_version

__all__ = ["ResultNotes"]

log = logging.getLogger(__name__)

_GROUP = 512
"""Notes written at a time."""


class ResultNotes:
    """Notes on results, written in groups behind the jobs' backs.

    They are only a cache: what is not written when a worker dies is parsed once more.

    Parameters
    ----------
    bus : Bus
        Where the bucket is.
    model : str, optional
        The language model that answers prompts here.
    """

    def __init__(self, bus: Bus, model: str | None = None) -> None:
        self._bus = bus
        self._model = model
        self._notes: dict[str, KnownResult] = {}
        self._there_are_some = asyncio.Event()

    def add(self, message: JobMessage, record: JobRecord) -> None:
        """Note the result of a job that has ended, if it may stand for later ones."""
        known = _known(message, record)
        if known is not None and message.sha256:
            made_by = result_version(message.processor)
            prompt = message.custom_prompt and (message.custom_prompt, self._model)
            key = known_key(
                message.sha256, message.processor, made_by, message.options, prompt or None
            )
            self._notes[key] = known
            self._there_are_some.set()

    async def run(self) -> None:
        """Write the notes as they come, for ever."""
        while True:
            await self._there_are_some.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write what is not written yet."""
        while self._notes:
            group = {key: self._notes.pop(key) for key in tuple(self._notes)[:_GROUP]}
            try:
                await self._bus.put_results(group)
            except BusError as error:  # the same documents will be parsed once more
                log.warning("%d results not noted: %s", len(group), error)
        self._there_are_some.clear()


def _known(message: JobMessage, record: JobRecord) -> KnownResult | None:
    """Return what to note of a job; None where a later one should be done all the same.

    So it is for pages that were lost, which may go better; for a password, which somebody else
    may not know; and for documents in place, whose owner may change or delete them.
    """
    if record.state is not JobState.DONE or record.pages_failed or not record.result_key:
        return None
    if message.options != message.shown_options or owner(message.s3_key) is None:
        return None
    return KnownResult(
        job_id=record.job_id,
        batch=record.batch,
        s3_bucket=record.s3_bucket,
        s3_key=record.s3_key,
        result_key=record.result_key,
        parts=record.parts,
        bytes=record.bytes or 0,
        pages=record.pages or 0,
    )
