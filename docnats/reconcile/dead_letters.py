"""Job messages that nobody will work on: to the dead letters, and their rows to an end.

The order of the steps is what keeps a job from becoming invisible: the letter is kept first,
the row ends second, the message goes third, the word of it last. Whoever dies in between leaves
that word to somebody else, who finds done what is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from docnats.bus import Bus, GivenUp, StoredJob, Why
from docnats.errors import BusError, ErrorType, StateConflict, UnreadableMessage
from docnats.models import DeadLetter, DeadLetterKind, JobMessage, JobRecord, JobState
from docnats.reconcile.orphans import end_orphans

__all__ = ["bury_undeliverable"]

log = logging.getLogger(__name__)

AT_A_TIME = 100
"""Messages put right at a time; more would wait longer than word of them is lent."""

TRIES = 5
"""Times that a row is read again because somebody else wrote it."""

LONGEST_NAME = 1024
"""Characters of a document's name in a row that is made here."""

_ON_THE_QUEUE = frozenset({Why.MAX_DELIVERIES, Why.REFUSED, Why.PASSED_OVER})
"""What leaves the message where it is."""


async def bury_undeliverable(bus: Bus) -> None:
    """Move every message that nobody will work on to the dead letters, and end its job.

    Raises
    ------
    BusError
        NATS does not answer; what was not put right stays for the next time.
    """
    while words := await bus.given_up(AT_A_TIME):
        await _put_right(bus, words)
    while words := await bus.passed_over(AT_A_TIME):
        await _put_right(bus, words)


async def _put_right(bus: Bus, words: Sequence[GivenUp]) -> None:
    """Put right all that can be; then raise what kept the others from it."""
    dropped = [word for word in words if word.why is Why.TERMINATED]
    others = [word for word in words if word.why in _ON_THE_QUEUE]
    outcomes = await asyncio.gather(
        *(_put_one_right(bus, word) for word in others), return_exceptions=True
    )
    await bus.settle(w for w in words if w.why is Why.UNKNOWN)
    await bus.settle(w for w, error in zip(others, outcomes, strict=True) if error is None)
    await bus.settle(await end_orphans(bus, dropped))
    for error in outcomes:
        if error is not None:
            raise error


async def _put_one_right(bus: Bus, word: GivenUp) -> None:
    stored = await bus.still_given_up(word)
    if stored is None:
        return
    message, letter = _examine(stored, word)
    if message is not None and word.why is Why.REFUSED:
        log.info("%s: refused by a worker, but it makes sense here; it stays", stored.subject)
        return
    if not await _ended(bus, stored):
        log.error("%s: moved to the dead letters: %s", stored.subject, letter.reason)
        await bus.bury(letter)
        await _end(bus, letter, message)
    await bus.remove(stored)


def _examine(stored: StoredJob, word: GivenUp) -> tuple[JobMessage | None, DeadLetter]:
    """Return the message, if it makes sense, and the dead letter that it is."""
    message: JobMessage | None = None
    try:
        message = JobMessage.read(stored.data, stored.job)
        kind: str = DeadLetterKind.MAX_DELIVERIES
        times = f"{word.deliveries} deliveries" if word.deliveries else "all its deliveries"
        reason = f"given up after {times}: no worker settled it, they died, stalled or were cut off"
    except UnreadableMessage as error:
        kind, reason = error.kind, str(error)
    return message, DeadLetter(
        kind=kind,
        reason=reason,
        subject=stored.subject,
        job=stored.job,
        sequence=stored.sequence,
        stored_at=stored.stored_at,
        deliveries=word.deliveries,
        consumer=word.consumer,
        data=stored.data,
        size=len(stored.data),
    )


async def _ended(bus: Bus, stored: StoredJob) -> bool:
    """Tell whether the job's row says how it ended: its message then holds nothing more."""
    if stored.job is None:
        return False
    entry = await bus.get_state(*stored.job)
    return entry is not None and entry.record.terminal


async def _end(bus: Bus, letter: DeadLetter, message: JobMessage | None) -> None:
    """Write that the job failed, unless it has ended; a job without a row gets one."""
    if letter.job is None:
        return
    error_type = ErrorType.UNREADABLE if message is None else ErrorType.CRASHED
    for _ in range(TRIES):
        entry = await bus.get_state(*letter.job)
        record = entry.record if entry else _record_of(letter, message)
        if record.terminal:
            return
        try:
            failed = record.failed(error_type, letter.reason)
            await bus.update_state(failed, entry.revision if entry else 0)
        except StateConflict:
            continue
        return
    raise BusError(f"{letter.subject}: its row is written by others all the time; tried again")


def _record_of(letter: DeadLetter, message: JobMessage | None) -> JobRecord:
    """Return the record of a job that somebody else than docnats put on the bus.

    It is kept short: a row must fit into a message, whatever the job's own message holds.
    """
    if message is not None:
        return JobRecord.of(message).but(filename=message.filename[:LONGEST_NAME], options={})
    assert letter.job is not None  # noqa: S101 - the caller has looked
    batch, job_id = letter.job
    return JobRecord(
        job_id=job_id,
        batch=batch,
        filename=(letter.filename or f"(unreadable message {job_id})")[:LONGEST_NAME],
        state=JobState.QUEUED,
        s3_bucket="",
        s3_key="",
        submitted_at=letter.stored_at,
        queued_at=letter.stored_at,
    )
