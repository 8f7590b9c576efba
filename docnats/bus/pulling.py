"""One pull request to a durable consumer."""

from __future__ import annotations

import asyncio
import json
import logging

from nats.aio.msg import Msg

from docnats.bus.inbox import LinkLost, status
from docnats.bus.link import Link

__all__ = ["fetch"]

log = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0
"""How much later than its ``expires`` the end of a pull may arrive."""


async def fetch(
    link: Link, consumer: str, arrived: list[Msg], limit: int, wait: float
) -> Msg | None:
    """Add up to ``limit`` messages to ``arrived``; return the status that ended it, if one did.

    Parameters
    ----------
    consumer : str
        As in the subjects of JetStream's API: ``{stream}.{consumer}``.
    wait : float
        Seconds that the first message may take.
    """
    # With no_wait and a time, the server answers with what there is as soon as there is any.
    request = {"batch": limit, "no_wait": True, "expires": int(wait * 1e9)}
    async with link.inbox() as inbox:
        try:
            await link.tell(
                f"$JS.API.CONSUMER.MSG.NEXT.{consumer}",
                json.dumps(request).encode(),
                inbox.subject,
            )
            async with asyncio.timeout(wait + ANSWER_SECONDS):
                while len(arrived) < limit:
                    message = await inbox.get()
                    if status(message):
                        return message
                    arrived.append(message)
        except (TimeoutError, LinkLost) as error:
            log.info("a pull from %s did not end well: %s", consumer, error or "no answer")
            arrived += await inbox.drain()
            await link.check()
        except asyncio.CancelledError:
            arrived += await inbox.drain()
            raise
    return None
