"""Documents that are known to kill the parser: nobody need find out twice."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from docnats.bus import MAX_POISON, Bus
from docnats.errors import BusError, ErrorType, ParseError
from docnats.models import SECRET_OPTIONS, JobMessage, Poison, utc_now
from docnats.names import poison_key
from docnats.processors import find_processor

__all__ = ["Quarantine"]

log = logging.getLogger(__name__)


class Quarantine:
    """What all workers know of documents that kill the parser.

    Its bucket is held in memory, kept up to date by a watch, so that a job costs one look
    into a dictionary.

    Parameters
    ----------
    bus : Bus
        Where the bucket is.
    memory_limit : int
        Bytes that a parser process of this worker may have, unless the processor asks for more.
    """

    def __init__(self, bus: Bus, memory_limit: int) -> None:
        self._bus = bus
        self._memory_limit = memory_limit
        self._known: dict[str, Poison] = {}
        self._loaded = asyncio.Event()

    async def follow(self) -> None:
        """Keep up with what other workers find out, for ever."""
        async with aclosing(self._bus.watch_poison()) as entries:
            async for entry in entries:
                if entry is None:
                    self._loaded.set()
                elif entry.poison is None:
                    self._known.pop(entry.key, None)
                else:
                    self._learn(entry.key, entry.poison)

    def _learn(self, key: str, poison: Poison) -> None:
        self._known[key] = poison
        while len(self._known) > MAX_POISON:
            del self._known[next(iter(self._known))]

    async def loaded(self) -> None:
        """Wait until all is known that was known before."""
        await self._loaded.wait()

    def check(self, message: JobMessage, sha256: str | None) -> None:
        """Refuse a document that is known to kill the parser, unless this try may go better.

        Raises
        ------
        ParseError
            It is refused; the message says since when, and how to try it all the same.
        """
        if not sha256 or message.force or not self._known:
            return
        known = self._known.get(_key(message, sha256))
        if known is None or known.job_id == message.request_id or self._better(message, known):
            return
        raise ParseError(
            known.error_type,
            f"not tried, because this document stops the parser: since {known.seen_at:%Y-%m-%d} "
            f"(job {known.job_id}) it is known to end like this: {known.error}. "
            f"It is tried again once {message.processor} is updated, or at once with force=True",
        )

    def _better(self, message: JobMessage, known: Poison) -> bool:
        match known.error_type:
            case ErrorType.TIMEOUT:
                return message.processing_timeout > known.processing_timeout
            case ErrorType.OUT_OF_MEMORY:
                return self._memory(message) > known.memory_limit
        return False

    def _memory(self, message: JobMessage) -> int:
        return max(self._memory_limit, find_processor(message.processor).memory)

    async def add(self, message: JobMessage, sha256: str, death: ParseError) -> None:
        """Note that a document killed the parser."""
        poison = Poison(
            error_type=death.error_type,
            error=str(death),
            job_id=message.request_id,
            batch=message.batch,
            filename=message.filename,
            processing_timeout=message.processing_timeout,
            memory_limit=self._memory(message),
            seen_at=utc_now(),
        )
        key = _key(message, sha256)
        self._learn(key, poison)
        try:
            await self._bus.put_poison(key, poison)
        except BusError as error:  # the next worker finds out by itself
            log.warning("job %s: not noted as poison: %s", message.request_id, error)

    async def remove(self, message: JobMessage, sha256: str) -> None:
        """Note that a document could be parsed after all."""
        if not self._known or self._known.pop(_key(message, sha256), None) is None:
            return
        try:
            await self._bus.remove_poison(_key(message, sha256))
        except BusError as error:  # it is forgotten by time
            log.warning("job %s: still noted as poison: %s", message.request_id, error)


def _key(message: JobMessage, sha256: str) -> str:
    # Without its password, a document ends in another way: as encrypted.
    options = {k: k in SECRET_OPTIONS or v for k, v in message.options.items()}
    # A new version may have learnt to read the document.
    version = find_processor(message.processor).version
    return poison_key(sha256, message.processor, version, options)
