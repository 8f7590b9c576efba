"""The control bus over a real NATS server."""

from __future__ import annotations

import copy
from typing import Self

from docnats.bus.archives import ArchiveIndex
from docnats.bus.connection import Connection
from docnats.bus.dead_letters import DeadLetters
from docnats.bus.jobs import JobQueue
from docnats.bus.poison import PoisonNotes
from docnats.bus.results import KnownResults
from docnats.bus.schema import ensure
from docnats.bus.senders import Senders
from docnats.bus.signals import Signals
from docnats.bus.states import JobStates
from docnats.config import OUTAGE_LIMIT, NatsConfig
from docnats.names import Names

__all__ = ["NatsBus"]


class NatsBus(
    JobQueue, ArchiveIndex, DeadLetters, JobStates, KnownResults, PoisonNotes, Senders, Signals
):
    """The control bus over NATS JetStream; implements :class:`~docnats.bus.port.Bus`.

    An async context manager. A lost connection is opened again for ever; meanwhile each call
    waits for at most ``request_timeout``, and what was lost on the way is sent again. The
    calls of :meth:`patient` wait longer.

    Parameters
    ----------
    config : NatsConfig
        Servers, credentials, namespace and time-outs.
    outage_limit : float
        Seconds that an outage may last for the calls of :meth:`patient`.

    Raises
    ------
    BusError
        On entering: no server takes us; the message says for each one why not.

    Examples
    --------
    >>> async with NatsBus(NatsConfig()) as bus:  # doctest: +SKIP
    ...     await bus.ensure()
    ...     pending, leased = await bus.backlog()
    """

    def __init__(self, config: NatsConfig, *, outage_limit: float = OUTAGE_LIMIT) -> None:
        self._connection = Connection(config)
        self._outage_limit = outage_limit
        self._names = Names(config.namespace)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.close()

    @property
    def outage(self) -> float | None:
        """Seconds since the connection was lost; None while there is one."""
        return self._connection.outage

    def patient(self) -> Self:
        """Return the same bus for what goes on in the background."""
        other = copy.copy(self)
        other._connection = self._connection.patient(self._outage_limit)  # noqa: SLF001 - a copy of this
        return other

    async def ensure(self) -> None:
        """Create or update the streams, the consumer and the buckets; idempotent.

        Raises
        ------
        BusError
            JetStream is not enabled, or something of that name exists and cannot be changed.
        """
        await ensure(self._connection, self._names)
