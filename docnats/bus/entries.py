"""What the bus hands out: states, words of messages given up, senders, the backlog."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from docnats.models import JobRecord, Poison, SenderInfo

__all__ = [
    "Backlog",
    "GivenUp",
    "PoisonEntry",
    "SenderEntry",
    "StateEntry",
    "StoredJob",
    "Why",
]


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A state record as the bus keeps it.

    Attributes
    ----------
    record : JobRecord
        The job's state.
    revision : int
        Rises with every write; the token of a compare-and-set. 0 stands for no record.
    """

    record: JobRecord
    revision: int


class Backlog(NamedTuple):
    """How much work there is; an autoscaler counts both.

    Attributes
    ----------
    pending : int
        Jobs that no worker has taken yet.
    leased : int
        Jobs that workers have taken and not settled, those awaiting a retry included.
    """

    pending: int
    leased: int


class PoisonEntry(NamedTuple):
    """What the poison bucket says under one key.

    Attributes
    ----------
    key : str
        Of :func:`docnats.names.poison_key`.
    poison : Poison or None
        None: it was removed.
    """

    key: str
    poison: Poison | None


class Why(Enum):
    """Why nobody will work on a message."""

    MAX_DELIVERIES = auto()
    """The server delivered it as often as it may."""
    TERMINATED = auto()
    """A worker had the server drop it, which keeps nothing of it."""
    REFUSED = auto()
    """A worker cannot make sense of it."""
    PASSED_OVER = auto()
    """The consumer counts it as settled, yet it is on the queue: word of it was lost."""
    UNKNOWN = auto()
    """Nobody can tell: the word itself makes no sense."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Word of a message on the queue that nobody will work on.

    Attributes
    ----------
    sequence : int
        Its number on the queue.
    at : datetime
        When it was given up.
    deliveries : int
        Times it was handed to a worker; 0: not known.
    consumer : str
        Through whom.
    reason : str
        What the worker that had it dropped said.
    receipt : str
        What settles the word; empty: nothing has to.
    """

    why: Why
    sequence: int
    at: datetime
    deliveries: int = 0
    consumer: str = ""
    reason: str = ""
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A message as it lies on the queue, whether it makes sense or not.

    Attributes
    ----------
    job : (batch, job_id) or None
        What its subject names.
    """

    sequence: int
    subject: str
    job: tuple[str, str] | None
    stored_at: datetime
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SenderEntry:
    """A sender as the registry keeps it.

    Attributes
    ----------
    revision : int
        Rises with every sign of life; the token of the next one.
    silent : float
        Seconds since its last sign of life, by the server's clock.
    """

    sender: SenderInfo
    revision: int
    silent: float
