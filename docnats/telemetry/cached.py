"""An answer that is asked for again only when it has become old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Cached"]

T = TypeVar("T")


class Cached(Generic[T]):
    """Keeps what an asynchronous question was answered with.

    Those who ask while an answer is on its way all get that one; one who stops waiting takes
    nothing from the others.

    Parameters
    ----------
    ask : callable
        The question.
    seconds : float
        How long an answer holds, from its arrival on.

    Examples
    --------
    >>> cached = Cached(check_everything, 15)  # doctest: +SKIP
    >>> await cached.get()  # doctest: +SKIP
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._until = 0.0
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the last answer, or a new one."""
        clock = asyncio.get_running_loop().time
        if self._asking is None or (self._asking.done() and clock() >= self._until):
            self._asking = asyncio.create_task(self._answer())
        return await asyncio.shield(self._asking)

    async def _answer(self) -> T:
        try:
            return await self._ask()
        finally:
            self._until = asyncio.get_running_loop().time() + self._seconds

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
