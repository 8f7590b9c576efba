"""The control bus on NATS JetStream: job queue, job states, signals, workers and senders."""

from docnats.bus.client import NatsBus
from docnats.bus.entries import (
    Backlog,
    GivenUp,
    PoisonEntry,
    SenderEntry,
    StateEntry,
    StoredJob,
    Why,
)
from docnats.bus.objects import NatsObjects
from docnats.bus.port import Bus, Lease, UrlRequest
from docnats.bus.schema import MAX_POISON, WORKER_TTL

__all__ = [
    "MAX_POISON",
    "WORKER_TTL",
    "Backlog",
    "Bus",
    "GivenUp",
    "Lease",
    "NatsBus",
    "NatsObjects",
    "PoisonEntry",
    "SenderEntry",
    "StateEntry",
    "StoredJob",
    "UrlRequest",
    "Why",
]
