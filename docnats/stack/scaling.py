"""How many workers a backlog is worth."""

from __future__ import annotations

from collections import deque

from docnats.bus import Backlog
from docnats.config.machine import PARSER_BYTES, WORKER_BYTES, cores, room_for_work

__all__ = ["Target", "most_workers"]

LOOKS_BACK = 15
"""Looks at the backlog that a worker must have been too many for; 30 s, at one in 2 s."""


def most_workers(parsers: int) -> int:
    """Return how many workers of so many parsers this machine has cores and memory for."""
    room = room_for_work() // (WORKER_BYTES + parsers * PARSER_BYTES)
    return max(1, min(cores() // parsers, room))


class Target:
    """The number of workers to have: grows at once, shrinks late.

    Parameters
    ----------
    parsers : int
        Parser processes of each worker; so many jobs are worth a worker.
    most : int, optional
        The most workers to have; by default :func:`most_workers`.

    Examples
    --------
    >>> target = Target(1, most=4)
    >>> target.after(Backlog(pending=2, leased=1), least=1)
    3
    >>> target.after(Backlog(pending=0, leased=0), least=1)
    3
    """

    def __init__(self, parsers: int, most: int | None = None) -> None:
        self._parsers = parsers
        self._most = most_workers(parsers) if most is None else most
        self._lately: deque[int] = deque(maxlen=LOOKS_BACK)

    def after(self, backlog: Backlog, *, least: int) -> int:
        """Return the number of workers to have, after one more look at the backlog."""
        jobs = backlog.pending + backlog.leased
        self._lately.append(-(-jobs // self._parsers))
        return max(least, min(self._most, max(self._lately)))
