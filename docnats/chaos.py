"""Break the embedded stack on purpose, from a cell, and see that nothing is lost.

Each function says in one line what it did. They act on the servers and workers that docnats
itself started on this machine, and refuse anything else.

>>> import docnats
>>> jobs = docnats.submit_many("papers/", wait=False)  # doctest: +SKIP
>>> docnats.chaos.kill_worker()  # doctest: +SKIP
killed worker-1 (process 4711) at 12:00:03 UTC; the supervisor starts it again
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Literal, get_args

from docnats.errors import ConfigError, StackError
from docnats.notebook.session import current_session
from docnats.stack import LocalStack, ProcessStatus
from docnats.stack.offspring import grandchildren

__all__ = ["Fault", "kill_parser", "kill_server", "kill_worker", "stall_worker"]

logger = logging.getLogger(__name__)

Server = Literal["nats", "s3"]


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """What was done to a process; shown as a sentence.

    Attributes
    ----------
    process : str
        ``nats``, ``s3``, ``worker-1``, …, or ``parser of worker-1``.
    pid : int
    deed : str
        For example ``killed``.
    outlook : str
        What happens next.
    at : datetime
        UTC.
    """

    process: str
    pid: int
    deed: str
    outlook: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __repr__(self) -> str:
        return (
            f"{self.deed} {self.process} (process {self.pid}) at {self.at:%H:%M:%S} UTC; "
            f"{self.outlook}"
        )


def kill_worker(name: str | None = None, *, stack: LocalStack | None = None) -> Fault:
    """Kill a worker with SIGKILL, which it cannot notice, let alone handle.

    Parameters
    ----------
    name : str, optional
        ``worker-1``, …; by default the first one that runs.
    stack : LocalStack, optional
        By default the embedded stack of this session.

    Returns
    -------
    Fault
        What was done; shown as a sentence.

    Raises
    ------
    StackError
        There is no embedded stack, or no such worker runs.

    Examples
    --------
    >>> jobs = docnats.submit_many("papers/", wait=False)  # doctest: +SKIP
    >>> docnats.chaos.kill_worker()  # doctest: +SKIP
    killed worker-1 (process 4711) at 12:00:03 UTC; the supervisor starts it again, and …
    """
    stack = _embedded(stack)
    outlook = (
        "the supervisor starts it again, and what it worked at is delivered again within "
        f"{stack.nats.ack_wait:g} s"
    )
    return _hit(stack, _worker(stack, name), SIGKILL, "killed", outlook)


def stall_worker(
    seconds: float, name: str | None = None, *, stack: LocalStack | None = None
) -> Fault:
    """Pause a worker with SIGSTOP; returns at once, and lets it go on after a while.

    One that is silent for long is taken for dead: its jobs go to others, and at last, after
    some 35 s, it is replaced.

    Parameters
    ----------
    seconds : float
        Until it goes on, if it was not replaced meanwhile.
    name : str, optional
        ``worker-1``, …; by default the first one that runs.
    stack : LocalStack, optional
        By default the embedded stack of this session.

    Returns
    -------
    Fault
        What was done; shown as a sentence.

    Raises
    ------
    StackError
        There is no embedded stack, or no such worker runs.

    Examples
    --------
    >>> docnats.chaos.stall_worker(15)  # doctest: +SKIP
    paused worker-1 (process 4711) at 12:00:03 UTC; it goes on after 15 s
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"seconds={seconds!r}: it is a number over 0")
    stack = _embedded(stack)
    fault = _hit(stack, _worker(stack, name), SIGSTOP, "paused", f"it goes on after {seconds:g} s")
    timer = threading.Timer(seconds, _resume, (stack, fault))
    timer.daemon = True
    timer.start()
    return fault


def kill_server(name: Server, *, stack: LocalStack | None = None) -> Fault:
    """Kill the NATS server or the S3 server with SIGKILL.

    Parameters
    ----------
    name : {"nats", "s3"}
    stack : LocalStack, optional
        By default the embedded stack of this session.

    Returns
    -------
    Fault
        What was done; shown as a sentence.

    Raises
    ------
    StackError
        There is no embedded stack, or this server is not one of its own.

    Examples
    --------
    >>> docnats.chaos.kill_server("nats")  # doctest: +SKIP
    killed nats (process 4711) at 12:00:03 UTC; the supervisor starts it again
    """
    if name not in get_args(Server):
        raise ConfigError(f"{name!r} is no server: it is 'nats' or 's3'")
    stack = _embedded(stack)
    outlook = "the supervisor starts it again, with all data it had"
    return _hit(stack, _running(stack, [name]), SIGKILL, "killed", outlook)


def kill_parser(worker: str | None = None, *, stack: LocalStack | None = None) -> Fault:
    """Kill the parser process that is the busiest, with SIGKILL.

    Parameters
    ----------
    worker : str, optional
        One of this worker's; by default of any.
    stack : LocalStack, optional
        By default the embedded stack of this session.

    Returns
    -------
    Fault
        What was done; shown as a sentence.

    Raises
    ------
    StackError
        There is no embedded stack, or no parser runs.

    Examples
    --------
    >>> docnats.chaos.kill_parser()  # doctest: +SKIP
    killed parser of worker-1 (process 4711) at 12:00:03 UTC; its worker replaces it, and …
    """
    stack = _embedded(stack)
    owners = _workers(stack) if worker is None else [_worker(stack, worker)]
    parsers = [(parser, owner) for owner in owners for parser in grandchildren(owner.pid)]
    parsers.sort(key=lambda found: (found[0].running, found[0].used), reverse=True)
    for parser, owner in parsers:
        try:
            os.kill(parser.pid, SIGKILL)
        except ProcessLookupError:  # it has just been replaced
            continue
        outlook = "its worker replaces it and tries again what it was reading"
        return Fault(f"parser of {owner.name}", parser.pid, "killed", outlook)
    raise StackError("no parser runs at this moment: a worker that starts needs some seconds")


def _embedded(stack: LocalStack | None) -> LocalStack:
    found = stack or current_session().stack
    if found is None:
        raise StackError(
            "chaos breaks only what docnats started on this machine, and this session has no "
            "embedded stack: submit something first, with neither NATS_URL nor S3_ENDPOINT_URL set"
        )
    return found


def _workers(stack: LocalStack) -> list[ProcessStatus]:
    return [p for p in stack.processes() if p.name.startswith("worker-") and p.running]


def _worker(stack: LocalStack, name: str | None) -> ProcessStatus:
    if name is not None and not name.startswith("worker-"):
        raise ConfigError(f"{name!r} is no worker: they are worker-1, worker-2, …")
    names = [process.name for process in stack.processes() if process.name.startswith("worker-")]
    return _running(stack, names if name is None else [name])


def _running(stack: LocalStack, names: Sequence[str]) -> ProcessStatus:
    """Return the first of some processes that runs."""
    running = {process.name: process for process in stack.processes() if process.running}
    for name in names:
        if name in running:
            return running[name]
    wanted = " or ".join(names) or "no worker"
    raise StackError(f"{wanted}: not running in this stack; what runs: {', '.join(running)}")


def _hit(stack: LocalStack, process: ProcessStatus, signal: int, deed: str, outlook: str) -> Fault:
    pid = stack.kill(process.name, signal, pid=process.pid)
    if pid is None:
        raise StackError(f"{process.name} has just ended by itself: try again in a second")
    return Fault(process.name, pid, deed, outlook)


def _resume(stack: LocalStack, fault: Fault) -> None:
    try:
        stack.kill(fault.process, SIGCONT, pid=fault.pid)
    except StackError as error:
        logger.info("%s does not go on: %s", fault.process, error)
