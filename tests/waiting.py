"""Wait for what nobody tells of: look again and again, and fail after a limit."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.02
"""Seconds between two looks."""


def eventually(condition: Callable[[], object], *, within: float = 20, what: str = "") -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or condition}"
        time.sleep(PAUSE)


async def until(
    read: Callable[[], Any], holds: Callable[[Any], object] = bool, *, within: float = 20
) -> Any:
    """Return what is read, at once or by awaiting it, when it holds; the event loop goes on."""
    found = None
    try:
        async with asyncio.timeout(within):
            while not holds(found := await _read(read)):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(PAUSE)
    except TimeoutError as error:
        raise AssertionError(f"not within {within:g} s; the last look gave {found!r}") from error
    return found


async def _read(read: Callable[[], Any]) -> Any:
    found = read()
    return await found if inspect.isawaitable(found) else found
