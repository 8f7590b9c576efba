"""What the tests wait with must fail when what they wait for does not come."""

from __future__ import annotations

import asyncio

import pytest

from tests.waiting import eventually, until


async def test_what_is_read_is_returned_once_it_holds() -> None:
    numbers = iter([1, 2, 3])
    assert await until(lambda: next(numbers), lambda number: number == 2) == 2

    async def read() -> int:
        return next(numbers)

    assert await until(read) == 3


async def test_what_does_not_come_fails_after_the_limit_and_names_the_last_look() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.05 s; the last look gave 7"):
        await until(lambda: 7, lambda number: number == 8, within=0.05)
    with pytest.raises(AssertionError, match="not within"):
        await until(asyncio.Event().wait, within=0.05)
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: the tide"):
        eventually(lambda: False, within=0.05, what="the tide")
