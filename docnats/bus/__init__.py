"""The control bus: job queue, job states, progress, cancels and workers on NATS JetStream."""

from docnats.bus.client import NatsBus
from docnats.bus.port import Backlog, Bus, GivenUp, Lease, PoisonEntry, StateEntry, StoredJob, Why
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
    "StateEntry",
    "StoredJob",
    "Why",
]
