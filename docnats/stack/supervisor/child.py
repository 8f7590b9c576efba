"""One child process of the supervisor, its restarts included."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["STOP_GRACE", "Child", "die_with_parent"]

logger = logging.getLogger("docnats.stack.supervisor")

STOP_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a child that ended is started again; they double with each early end."""

RAN_WELL = 10.0
"""Seconds after which the end of a child has nothing to do with its start."""

PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``."""


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child does before ``exec`` so that it dies with this thread (Linux)."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    supervisor = os.getpid()

    def before_exec() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)

    return before_exec


class Child:
    """One child process, its restarts included.

    It may end early, within ``RAN_WELL`` of its start, ``tries`` times in a row; then it has
    failed for good. It is never started again with 0.
    """

    def __init__(
        self, name: str, log: Path, request: dict[str, Any], before_exec: Callable[[], None] | None
    ) -> None:
        self.name = name
        self.log = log
        self.stop_order = int(request["stop_order"])
        self.tries = int(request["tries"])
        self.restarts = 0
        self.stopping = False
        self.kill_at: float | None = None
        self.start_at: float | None = None
        self._early_ends = 0
        self._asked_for: int | None = None
        self._request = request
        self._before_exec = before_exec
        with contextlib.suppress(FileNotFoundError):
            log.replace(log.with_suffix(".log.old"))
        self.start()

    def start(self) -> None:
        """Start the process, or raise ``OSError``."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - running programs is the purpose
                self._request["argv"],
                env=self._request["env"],
                cwd=self._request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=self._before_exec,  # noqa: PLW1509 - this process has one thread
            )
        self.started = time.monotonic()
        self.start_at = None
        self._asked_for = None
        self.returncode: int | None = None
        logger.info("%s started as process %d", self.name, self.process.pid)

    @property
    def running(self) -> bool:
        """Whether the process was alive when last looked at."""
        return self.returncode is None

    @property
    def kept(self) -> bool:
        """Whether the process runs, or will again, and was not asked to stop."""
        return not self.stopping and (self.running or self.start_at is not None)

    def stop(self) -> None:
        """Ask the process to end; :meth:`kill_if_due` sees to it that it does."""
        self.start_at = None
        if self.running and not self.stopping:
            self.kill_at = time.monotonic() + STOP_GRACE
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)  # else a paused process would not hear it
        self.stopping = True

    def signal(self, number: int) -> None:
        """Send a signal to the process if it still runs."""
        if self.running:
            self._asked_for = number
            self.process.send_signal(number)

    def kill_if_due(self) -> None:
        """Kill the process and its own children if it outlived its time to stop."""
        if self.running and self.kill_at is not None and time.monotonic() >= self.kill_at:
            logger.warning("%s does not stop: killing it", self.name)
            self.kill_at = None
            self._kill_group()

    def reap(self) -> bool:
        """Return True once when the process has ended; whatever it left behind goes too."""
        if not self.running or self.process.poll() is None:
            return False
        self.returncode = self.process.returncode
        self.kill_at = None
        self._kill_group()
        for path in self._request["leftovers"]:
            with contextlib.suppress(OSError):
                Path(path).unlink()
        logger.info("%s ended with %d", self.name, self.returncode)
        return True

    def plan_restart(self) -> None:
        """Decide whether and when the process, which has just ended, is started again."""
        if self.stopping or not self.tries:
            return
        asked_for = self._asked_for is not None and self.returncode == -self._asked_for
        if time.monotonic() - self.started >= RAN_WELL:
            self._early_ends = 0
        elif not asked_for:
            self._early_ends += 1
        self._pause()

    def restart_if_due(self) -> None:
        """Start the process again if its pause is over."""
        if self.start_at is None or time.monotonic() < self.start_at:
            return
        self.start_at = None
        try:
            self.start()
        except OSError as error:
            logger.error("%s cannot be started again: %s", self.name, error)
            self._early_ends += 1
            self._pause()
        else:
            self.restarts += 1

    def status(self) -> dict[str, Any]:
        """Return the process as clients see it."""
        waits = None if self.start_at is None else max(0.0, self.start_at - time.monotonic())
        return {
            "name": self.name,
            "pid": self.process.pid,
            "returncode": self.returncode,
            "stopped": self.stopping,
            "restarts": self.restarts,
            "restart_in": waits,
            "log": os.fspath(self.log),
        }

    def _pause(self) -> None:
        if self._early_ends >= self.tries:
            logger.error("%s ended early %d times in a row: given up", self.name, self._early_ends)
            return
        pause = min(FIRST_PAUSE * 2 ** max(0, self._early_ends - 1), LONGEST_PAUSE)
        self.start_at = time.monotonic() + pause

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
