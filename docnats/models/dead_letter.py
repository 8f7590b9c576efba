"""A job message that no worker could settle."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime

from docnats.errors import UnreadableMessage
from docnats.models.message import DeadLetterKind, JobMessage
from docnats.models.record import utc_now

__all__ = ["DeadLetter"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job message that no worker could settle, kept for people to look at.

    Attributes
    ----------
    id : int
        Its place among the dead letters; 0 while it is not there yet.
    at : datetime
        When it came there.
    kind, reason : str
        Why, in one word (:class:`DeadLetterKind`) and in many.
    subject : str
        Where it was published; the bus fills it in for a job of which only word is left.
    job : (batch, job_id) or None
        The job it belongs to, as its subject says.
    sequence : int
        What number it had on the queue.
    stored_at : datetime
        When it came onto the queue.
    deliveries : int
        Times it was handed to a worker.
    consumer : str
        Through whom.
    data : bytes
        The message, or as much of it as NATS takes; it may hold passwords and signed URLs.
    size : int
        Bytes of the whole message.
    """

    kind: str
    reason: str
    subject: str
    job: tuple[str, str] | None
    sequence: int
    stored_at: datetime
    deliveries: int
    consumer: str
    data: bytes = field(repr=False)
    size: int
    id: int = 0
    at: datetime = field(default_factory=utc_now)

    @property
    def truncated(self) -> bool:
        """Whether the end of the message was cut off."""
        return len(self.data) < self.size

    @property
    def filename(self) -> str | None:
        """The document's name, as far as the message can be understood."""
        try:
            name = json.loads(self.data)["filename"]
        except (ValueError, TypeError, LookupError, RecursionError):
            return None
        # JSON can hold halves of characters, which neither NATS nor pandas take.
        return name.encode(errors="replace").decode() if isinstance(name, str) else None

    def message(self) -> JobMessage:
        """Return the job message; ``UnreadableMessage`` if this version cannot work on it."""
        if self.kind == DeadLetterKind.TERMINATED:
            why = "a worker took it off the queue, and the server keeps nothing of it"
            raise UnreadableMessage(self.kind, why)
        if self.truncated:
            why = f"only {len(self.data):,} of its {self.size:,} bytes were kept"
            raise UnreadableMessage(self.kind, why)
        return JobMessage.read(self.data, self.job)
