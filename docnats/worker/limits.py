"""What a document may cost, in proportion to the time limit of its job."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OPEN_CPU_SECONDS", "Limits"]

OPEN_CPU_SECONDS = 30.0
"""Processor time for opening a document: honest ones take 4 to 220 ms."""

PAGE_CPU_SECONDS = 10.0
"""Processor time for a page: 7 times what the slowest honest one takes (1.4 s)."""

ALONE_CPU_SECONDS = 20.0
"""The same for a page by itself, which is its second try as a rule."""

RANGE_SECONDS = 120.0
PAGE_SECONDS = 1.5
"""Time limit of a range by the clock: enough for one that is all slowest honest pages. A page
that never ends comes to its limit of processor time before, unless the machine is overloaded."""

USUAL_SECONDS = 600.0
"""The time limit of a job that the limits above are for; a longer one lengthens them."""

BAD_PAGES_SHARE = 0.5
"""Part of a job's time limit that pages which kill the parser may use up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one job.

    Parameters
    ----------
    seconds : float
        What the whole job may take; whoever gives it more than usual means slow pages too.
    memory : int
        Bytes of address space that its processor asks for.
    """

    seconds: float
    memory: int = 0

    @property
    def bad_pages_seconds(self) -> float:
        """What parser processes that die may take together."""
        return self.seconds * BAD_PAGES_SHARE

    def page_cpu_seconds(self, pages: int) -> float:
        """Return the processor time that each page may take in a try of so many pages."""
        return self._stretch * (ALONE_CPU_SECONDS if pages == 1 else PAGE_CPU_SECONDS)

    def range_seconds(self, pages: int) -> float:
        """Return the seconds that a try of so many pages may take."""
        return self._stretch * RANGE_SECONDS + PAGE_SECONDS * pages

    @property
    def _stretch(self) -> float:
        return max(1.0, self.seconds / USUAL_SECONDS)
