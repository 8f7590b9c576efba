"""The control bus on NATS JetStream: job queue, job states, signals, workers and senders."""

from docnats.bus.client import NatsBus
from docnats.bus.port import (
    Backlog,
    Bus,
    GivenUp,
    Lease,
    PoisonEntry,
    SenderEntry,
    StateEntry,
    StoredJob,
    UrlRequest,
    Why,
)
from docnats.bus.schema import MAX_POISON, WORKER_TTL

__all__ = [
    "MAX_POISON",
    "WORKER_TTL",
    "Backlog",
    "Bus",
    "GivenUp",
    "Lease",
    "NatsBus",
    "PoisonEntry",
    "SenderEntry",
    "StateEntry",
    "StoredJob",
    "UrlRequest",
    "Why",
]
