"""Tells everybody that this process sends a batch, for as long as it does."""

from __future__ import annotations

import asyncio
import logging

from docnats.bus import Bus
from docnats.errors import BusError, ConfigError, StateConflict
from docnats.reconcile import settle_unsent, this_sender

__all__ = ["Presence"]

log = logging.getLogger(__name__)

SIGN_SECONDS = 5.0
"""How often a sender gives a sign of life; see docnats.reconcile for when it is missed."""

GIVE_UP_SECONDS = 5.0
"""How long a sender that stops early may take to settle its rows; others do it later."""


class Presence:
    """The entry of this process in the registry of senders, for one batch.

    Parameters
    ----------
    bus : Bus
        The open port.
    batch : str
        The batch's id.

    Attributes
    ----------
    taken_for_dead : bool
        This process gave no sign of life for too long, and the rows it had not sent are
        settled as failed: it need not send any more.
    """

    def __init__(self, bus: Bus, batch: str) -> None:
        self._bus = bus
        self._sender = this_sender(batch)
        self._revision = 0
        self._signs: asyncio.Task[None] | None = None
        self.taken_for_dead = False

    async def begin(self) -> None:
        """Enter the registry, and give signs of life from then on.

        Raises
        ------
        ConfigError
            Another process is sending a batch of this name.
        """
        try:
            self._revision = await self._bus.enlist(self._sender)
        except StateConflict as error:
            raise ConfigError(
                f"batch={self._sender.batch!r}: another process is just sending a batch of this "
                "name; choose another"
            ) from error
        self._signs = asyncio.create_task(self._give_signs())

    async def _give_signs(self) -> None:
        while not self.taken_for_dead:
            await asyncio.sleep(SIGN_SECONDS)
            try:
                await self._give_sign()
            except BusError as error:
                log.info("batch %s: no sign of life: %s", self._sender.batch, error)
        log.warning(
            "batch %s: this process was silent for too long and taken for dead; what it had not "
            "sent by then has failed as not_sent",
            self._sender.batch,
        )

    async def _give_sign(self) -> None:
        try:
            self._revision = await self._bus.enlist(self._sender, self._revision)
        except StateConflict:
            known = {
                entry.sender.but(suspected=False): entry for entry in await self._bus.senders()
            }
            if self._sender in known:  # suspected
                self._revision = await self._bus.enlist(self._sender, known[self._sender].revision)
            else:
                self.taken_for_dead = True

    async def end(self) -> None:
        """Leave the registry: everything was sent."""
        if not await self._stop():
            return
        try:
            await self._bus.delist(self._sender.batch)
        except BusError as error:
            log.info("batch %s: its sender stays in the registry: %s", self._sender.batch, error)

    async def give_up(self, reason: str | None = None) -> None:
        """Settle what was not sent, and leave the registry; without NATS, others do it later."""
        if not await self._stop():
            return
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await settle_unsent(self._bus, self._sender, reason)
        except (BusError, TimeoutError) as error:
            log.warning("batch %s: others settle what was not sent: %r", self._sender.batch, error)

    async def _stop(self) -> bool:
        """Give no more signs of life; False if that was so already."""
        signs, self._signs = self._signs, None
        if signs is None:
            return False
        signs.cancel()
        await asyncio.gather(signs, return_exceptions=True)
        return True
