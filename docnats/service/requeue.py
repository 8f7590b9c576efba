"""Runs dead letters again: each as a new job on the document that its message names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from docnats.bus import Bus, StateEntry
from docnats.config import ProcessingConfig
from docnats.errors import SourceError, StorageError, UnreadableMessage
from docnats.models import DeadLetter, JobMessage, JobRecord, JobState
from docnats.names import where
from docnats.service.batch import Batch
from docnats.service.retry import Place, Resubmission, look_up
from docnats.service.sources import Source
from docnats.service.submission import Submission
from docnats.storage import Storage, StoredObject

__all__ = ["Requeued", "requeue"]


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of dead letters that were to run again.

    Attributes
    ----------
    batch : Batch
        The new jobs, in the order of the letters that are not refused.
    refused : dict
        Why the others stay where they are, by their id.
    """

    batch: Batch
    refused: dict[int, str]


async def requeue(
    bus: Bus, storage: Storage, config: ProcessingConfig, batch: str, ids: Iterable[int]
) -> tuple[Submission, dict[int, str]]:
    """Return the submission of dead letters as new jobs, and why others are not in it.

    Raises
    ------
    SourceError
        None of them can run again; the message says why.
    """
    kept = {letter.id: letter for letter in await bus.dead_letters()}
    refused: dict[int, str] = {}
    readable: list[_Readable] = []
    for number in dict.fromkeys(ids):
        try:
            letter = kept[number]
            readable.append(_Readable(letter, letter.message()))
        except KeyError:
            refused[number] = "there is no such dead letter (any more)"
        except UnreadableMessage as error:
            refused[number] = f"this version cannot make sense of it: {error}. {_advice(letter)}"
    found = await _find_documents(storage, readable, refused)
    readable = [one for one in readable if one.letter.id not in refused]
    if not readable:
        reasons = "; ".join(f"{number}: {reason}" for number, reason in refused.items())
        raise SourceError(f"no dead letter was requeued: {reasons or 'none was given'}")
    return _Requeue(bus, storage, config, batch, readable, found), refused


@dataclass(frozen=True, slots=True)
class _Readable:
    letter: DeadLetter
    message: JobMessage

    @property
    def place(self) -> Place:
        return self.message.s3_bucket, self.message.s3_key


def _advice(letter: DeadLetter) -> str:
    row = f" (job {letter.job[1]})" if letter.job else ""
    return f"Use the version that wrote it, or retry or submit the document itself{row}"


async def _find_documents(
    storage: Storage, readable: Sequence[_Readable], refused: dict[int, str]
) -> dict[Place, StoredObject]:
    """Return the documents; enter the letters without one among those refused."""
    found: dict[Place, StoredObject] = {}
    unusable: dict[str, str] = {}
    for bucket in {one.message.s3_bucket for one in readable}:
        places = {one.place for one in readable if one.message.s3_bucket == bucket}
        try:
            found |= await look_up(storage, places)
        except StorageError as error:
            if error.transient:
                raise
            unusable[bucket] = str(error)
    for one in readable:
        if one.place not in found:
            gone = f"its document {where(*one.place)} is not in the storage any more"
            refused[one.letter.id] = unusable.get(one.message.s3_bucket, gone)
    return found


class _Requeue(Resubmission):
    """The way back to the queue of dead letters, which are discarded once they are on it."""

    def __init__(
        self,
        bus: Bus,
        storage: Storage,
        config: ProcessingConfig,
        batch: str,
        readable: Sequence[_Readable],
        found: dict[Place, StoredObject],
    ) -> None:
        self._readable = readable
        jobs = [JobRecord.of(one.message) for one in readable]
        sources = [
            Source(
                name=one.message.filename,
                size=found[one.place].size,
                bucket=one.message.s3_bucket,
                key=one.message.s3_key,
            )
            for one in readable
        ]
        super().__init__(
            bus, storage, config, batch, sources, {}, jobs=jobs, timeout=None, force=False
        )

    async def _message(self, record: JobRecord) -> JobMessage:
        message, original = await super()._message(record), self._readable[record.position].message
        return message.but(
            options=original.options, custom_prompt=original.custom_prompt, force=original.force
        )

    async def _tell(self, group: list[StateEntry]) -> None:
        await super()._tell(group)
        queued = [entry.record for entry in group if entry.record.state is JobState.QUEUED]
        await self._bus.discard_dead_letters(
            self._readable[record.position].letter.id for record in queued
        )
