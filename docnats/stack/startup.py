"""Start servers under a supervisor and wait until they do their work."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from docnats.errors import StackError
from docnats.stack.client import ProcessStatus, Supervisor
from docnats.stack.servers import Server

__all__ = ["explain_end", "start_servers"]

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.03

PORT_ATTEMPTS = 5

TRIES = 8
"""Early ends in a row before a server has failed for good: some 13 s of pauses in all.

More than a worker has: a server that cannot start for a while takes the workers down with it.
"""

LOG_LINES = 12
LOG_TAIL = 8192

# The last is MinIO's, which said so once of two different ports.
_PORT_TAKEN = re.compile(
    r"(address|port is) already in use|port \d+ .*is not available|port cannot be same as",
    re.IGNORECASE,
)


def start_servers(
    servers: Sequence[Server],
    supervisor: Supervisor,
    *,
    timeout: float,
    cancelled: threading.Event,
) -> None:
    """Start servers side by side; return when each has done a piece of work.

    Parameters
    ----------
    servers : sequence of Server
    supervisor : Supervisor
        Owns them from then on; it is the caller's to close when this fails.
    timeout : float
        Seconds until all must be ready.
    cancelled : threading.Event
        Set by another thread to give up.

    Raises
    ------
    StackError
        When one ends, or is not ready in time; quotes the end of its log.
    """
    if not servers:
        return
    deadline = time.monotonic() + timeout

    def start(server: Server) -> None:
        _start(server, supervisor, _Patience(deadline, timeout, cancelled))

    with ThreadPoolExecutor(len(servers), thread_name_prefix="docnats-start") as pool:
        starts = [pool.submit(start, server) for server in servers]
        try:
            for done in as_completed(starts):
                done.result()
        except BaseException:
            cancelled.set()
            raise


def explain_end(process: ProcessStatus) -> str:
    """Return how a process ended, with the last lines of its log and the log's name."""
    how = f"with code {process.returncode}"
    if process.returncode is not None and process.returncode < 0:
        how = f"by signal {-process.returncode}"
    return f"{process.name} ended {how}; the end of {process.log}:\n{_tail(process.log)}"


class _Patience:
    def __init__(self, deadline: float, timeout: float, cancelled: threading.Event) -> None:
        self._deadline = deadline
        self._timeout = timeout
        self._cancelled = cancelled

    def wait(self, process: ProcessStatus) -> None:
        """Wait a moment, or raise when there is no more time."""
        if self._cancelled.wait(POLL_INTERVAL):
            msg = "the start of the stack was given up"
            raise StackError(msg)
        if time.monotonic() >= self._deadline:
            msg = (
                f"{process.name} was not ready within {self._timeout:g} s; the end of "
                f"{process.log}:\n{_tail(process.log)}"
            )
            raise StackError(msg)


def _start(server: Server, supervisor: Supervisor, patience: _Patience) -> None:
    began = time.monotonic()
    for attempt in range(PORT_ATTEMPTS):
        server.choose_ports(fresh=attempt > 0)
        # Without restarts: what keeps it from starting is told at once.
        process = supervisor.spawn(
            server.name, server.command(supervisor.runtime), stop_order=server.stop_order
        )
        while process.running and not server.is_ready():
            patience.wait(process)
            process = supervisor.process(server.name)
        if process.running:
            process = supervisor.keep(server.name, TRIES)
        if process.running:
            logger.info("%s is ready after %.2f s", server.name, time.monotonic() - began)
            return
        if not _PORT_TAKEN.search(_tail(process.log)):
            raise StackError(explain_end(process))
        logger.warning("%s: a port was taken meanwhile, choosing others", server.name)
    msg = f"{server.name} found no free ports in {PORT_ATTEMPTS} attempts; see {process.log}"
    raise StackError(msg)


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"(it cannot be read: {error})"
    return "\n".join(text.splitlines()[-LOG_LINES:])
