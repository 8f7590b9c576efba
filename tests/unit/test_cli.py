"""The command line without servers: what a signal does, whenever it comes."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Self

import pytest

from docnats.cli import app as command_line
from docnats.stack import LocalStack

SOON = 0.2


class InterruptedStack:
    """Stands at once; SIGINT comes with the given step that Python takes after that.

    ``in_time`` tells whether it came so, or later, because all was waiting before that step.
    """

    home = Path("home")
    environment: ClassVar[dict[str, str]] = {}

    def __init__(self, step: int) -> None:
        self.in_time = True
        self._step = step
        self._steps = itertools.count()
        self._late = threading.Timer(SOON, self._interrupt_late)

    async def __aenter__(self) -> Self:
        self._late.start()
        sys.settrace(self._trace)
        return self

    async def __aexit__(self, *_: object) -> None:
        sys.settrace(None)
        self._late.cancel()
        self._late.join()

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if next(self._steps) == self._step:
            signal.raise_signal(signal.SIGINT)
        return self._trace

    def _interrupt_late(self) -> None:
        self.in_time = False
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("interruptible")
def test_up_ends_whenever_the_interrupt_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it begins to wait, when an event that a handler sets may hold its lock."""
    for step in itertools.count():
        stack = InterruptedStack(step)
        monkeypatch.setattr(LocalStack, "default", lambda stack=stack, **_: stack)
        command_line.up()
        if not stack.in_time:
            break
    assert step > 0
