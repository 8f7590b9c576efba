"""What this machine, or the container on it, gives a process: cores and memory."""

from __future__ import annotations

import os

from docnats.config.cgroups import cpu_quota, memory_limit

__all__ = ["PARSER_BYTES", "WORKER_BYTES", "cores", "memory", "most_parsers", "room_for_work"]

PARSER_BYTES = 425_000_000
"""What to reckon with for a parser process. Honest documents take 112 to 250 MB at their peak
(130 real ones, see ``pool.slot``), and it is replaced only over 600 MB: half-way between."""

WORKER_BYTES = 150_000_000
"""What a worker and its fork server hold without the parsers."""

BESIDE_BYTES = 850_000_000
"""What else there is in a notebook's container: JupyterLab and a kernel with tables, 450 MB, and
both servers, 30 MB of nats-server and 255 MB of the S3 server, with some room to grow."""


def cores() -> int:
    """Return how many cores this process may use.

    A quota of processor time counts as the nearest number of cores: more processes than it
    has time for would all be halted when it is used up, with those that renew leases.
    """
    affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    seen = len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1
    quota = cpu_quota()
    return seen if quota is None else max(1, min(seen, int(quota + 0.5)))


def memory() -> int:
    """Return the bytes of memory that this process and those around it may use."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = memory_limit()
    return physical if limit is None else min(physical, limit)


def room_for_work() -> int:
    """Return the bytes of memory that are there for workers and parsers, beside all else."""
    return max(0, memory() - BESIDE_BYTES)


def most_parsers() -> int:
    """Return how many parser processes a worker has by default: what fits, at least one."""
    room = (room_for_work() - WORKER_BYTES) // PARSER_BYTES
    return max(1, min(cores(), room))
