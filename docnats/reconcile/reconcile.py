"""All that is put right from time to time: by every worker, and by a client that looks."""

from __future__ import annotations

from docnats.bus import Bus
from docnats.reconcile.dead_letters import bury_undeliverable
from docnats.reconcile.senders import settle_dead_senders

__all__ = ["reconcile"]


async def reconcile(bus: Bus) -> None:
    """Put right what nobody else will.

    Every step is a compare-and-set or an idempotent deletion, so that many may run this at
    the same time, and one that dies on the way leaves nothing half done.

    Raises
    ------
    BusError
        NATS does not answer; run it again later.
    """
    await bury_undeliverable(bus)
    await settle_dead_senders(bus)
