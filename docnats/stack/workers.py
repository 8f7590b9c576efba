"""The workers of a stack, as one of its users starts and stops them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from docnats.config import NatsConfig, S3Config
from docnats.errors import ConfigError
from docnats.stack.client import Command, ProcessStatus, Supervisor
from docnats.stack.environment import worker_environment

__all__ = ["WORKER_COMMAND", "Workers", "checked_count", "workers_of"]

WORKER_COMMAND = (sys.executable, "-m", "docnats", "worker", "--grace", "5")
"""A worker that hands back its jobs well before the supervisor kills it."""

TRIES = 5
"""Early ends in a row before a worker has failed for good: some seconds."""

_NAME = "worker"


def checked_count(workers: object) -> int:
    """Return a number of workers; ``ConfigError`` if it is none."""
    if not isinstance(workers, int) or workers < 0:
        known = "a whole number, 0 or more; or 'auto', where a stack is made"
        raise ConfigError(f"workers={workers!r}: it is {known}")
    return workers


def workers_of(processes: Sequence[ProcessStatus]) -> list[ProcessStatus]:
    """Return the workers among a stack's processes that are kept, the first numbers first."""
    kept = (p for p in processes if p.name.startswith(f"{_NAME}-") and p.kept)
    return sorted(kept, key=lambda process: int(process.name.rpartition("-")[2]))


class Workers:
    """Starts and stops workers of one kind.

    Parameters
    ----------
    supervisor : Supervisor
    s3, nats : S3Config, NatsConfig
        The servers they use; without S3, documents are in the NATS Object Store.
    argv : sequence of str
        What a worker is.
    environment : mapping
        Variables over those of this process and of the servers.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        s3: S3Config | None,
        nats: NatsConfig,
        argv: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self._supervisor = supervisor
        self._s3 = s3
        self._nats = nats
        self._argv = argv
        self._environment = environment

    def add(self) -> str:
        """Start one more and return its name."""
        return self._supervisor.add(_NAME, self._command(), tries=TRIES).name

    def fill(self, count: int) -> None:
        """Start those that are missing to ``count``, whoever else does the same."""
        self._supervisor.fill(_NAME, self._command(), count, tries=TRIES)

    def scale(self, count: int) -> int:
        """Have ``count``, or as many as another user needs; return how many there are then.

        Those with the highest numbers are stopped: they finish or hand back their jobs.
        """
        self._supervisor.wish(count, scales=False)
        needed = self._supervisor.status().workers
        self.fill(needed)
        kept = workers_of(self._supervisor.processes())
        self._supervisor.stop(*(process.name for process in kept[needed:]))
        return needed

    def _command(self) -> Command:
        # What a killed worker leaves behind vanishes with the stack.
        temporary = {"TMPDIR": os.fspath(self._supervisor.runtime)}
        environment = worker_environment(self._s3, self._nats) | temporary
        return Command(argv=self._argv, env={**environment, **self._environment}, cwd=Path.cwd())
