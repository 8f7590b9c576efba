"""How often and when something is tried again that may have been a passing fault."""

from __future__ import annotations

import asyncio

__all__ = ["PATIENT_RETRIES", "RETRIES", "Pause", "retry_delay"]

FIRST_DELAY = 2.0
LONGEST_DELAY = 60.0

RETRIES = 14
"""Times a job is tried again after passing faults: with these delays, for ten minutes. It counts
each time that a worker handed the job back, so that one record field is enough."""

PATIENT_RETRIES = 360
"""The same where all is well but somebody who must come first: for six hours. Together with the
others they must stay below the deliveries that the queue allows."""


def retry_delay(earlier: int) -> float:
    """Return the seconds to wait after so many earlier tries: 2, 4, 8, …, at most 60."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(earlier, 10))


class Pause:
    """Holds a worker back from taking jobs while they would only meet the same fault.

    Without it, a worker whose S3 server is away would go through the whole queue, and each
    job on it would use up some of its retries.
    """

    def __init__(self) -> None:
        self._faults = 0
        self._until = 0.0

    def lengthen(self) -> None:
        """Take in a fault; several at a time count as one."""
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            self._until = now + retry_delay(self._faults)
            self._faults += 1

    def end(self) -> None:
        """Take in that a job went well."""
        self._faults = 0
        self._until = 0.0

    @property
    def seconds(self) -> float:
        """How long it still lasts."""
        return max(0.0, self._until - asyncio.get_running_loop().time())
