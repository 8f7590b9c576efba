"""What goes wrong, and when: drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Fault", "FaultKind", "plan_faults"]


class FaultKind(StrEnum):
    """A way to break a part of the stack."""

    KILL_PARSER = "SIGKILL to a parser process"
    KILL_FORK_SERVER = "SIGKILL to a worker's fork server"
    KILL_WORKER = "SIGKILL to a worker"
    KILL_NATS = "SIGKILL to nats-server"
    KILL_S3 = "SIGKILL to the S3 server"
    STALL_WORKER = "SIGSTOP to a worker for longer than its leases"


PER_THOUSAND = {
    FaultKind.KILL_PARSER: 12,
    FaultKind.KILL_FORK_SERVER: 3,
    FaultKind.KILL_WORKER: 6,
    FaultKind.KILL_NATS: 5,
    FaultKind.KILL_S3: 5,
    FaultKind.STALL_WORKER: 5,
}
"""Faults a thousand jobs."""

FIRST, LAST = 0.02, 0.85
"""Shares of the jobs that have ended when faults begin and end: the run must be able to end."""

LONGEST_DELAY = 1.0
"""Seconds after that moment, so that faults come at any point of a job."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault to come.

    Attributes
    ----------
    at : int
        It is due once so many jobs have ended: a slow machine has as many faults a job as a
        fast one.
    delay : float
        Seconds to wait then.
    number : float
        From 0 to 1; chooses the victim, and how long a stalled one is left.
    """

    kind: FaultKind
    at: int
    delay: float
    number: float


def plan_faults(jobs: int, least: int, *, seed: int) -> list[Fault]:
    """Return the faults of a run in their order; each kind at least ``least`` times."""
    rng = random.Random(f"faults {seed}")  # noqa: S311 - must be repeatable
    counts = {kind: max(least, rate * jobs // 1000) for kind, rate in PER_THOUSAND.items()}
    faults = [
        Fault(
            kind,
            at=round(jobs * rng.uniform(FIRST, LAST)),
            delay=rng.uniform(0, LONGEST_DELAY),
            number=rng.random(),
        )
        for kind, count in counts.items()
        for _ in range(count)
    ]
    return sorted(faults, key=lambda fault: fault.at)
