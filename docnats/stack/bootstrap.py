"""Become a user of the stack in a home: join the one that runs there, or start it."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from docnats.config import NatsConfig, S3Config, StackConfig
from docnats.errors import StackError
from docnats.stack.client import Supervisor
from docnats.stack.environment import nats_from, nats_variables, s3_from, s3_variables
from docnats.stack.home import Home, RunningStack
from docnats.stack.named import NamedServers
from docnats.stack.servers import embedded_servers
from docnats.stack.startup import start_servers

__all__ = ["Bootstrap", "Membership"]

logger = logging.getLogger(__name__)

LOCK_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Membership:
    """What a user has of a stack that runs; without S3, documents are in the Object Store."""

    supervisor: Supervisor
    s3: S3Config | None
    nats: NatsConfig


class Bootstrap:
    """Joins or starts a stack.

    Parameters
    ----------
    config : StackConfig
    named : NamedServers
        Servers to use instead of embedded ones.
    use_s3 : bool
        Whether documents are in S3; otherwise in the NATS Object Store.
    cancelled : threading.Event
        Set by another thread to give up.
    """

    def __init__(
        self, config: StackConfig, named: NamedServers, *, use_s3: bool, cancelled: threading.Event
    ) -> None:
        self._config = config
        self._named = named
        self._use_s3 = use_s3
        self._cancelled = cancelled

    def enter(self, home: Home, *, temporary: bool) -> Membership:
        """Return when the stack's servers do their work.

        Parameters
        ----------
        home : Home
        temporary : bool
            It is removed with the stack.

        Raises
        ------
        StackError
            What is missing or went wrong; nothing is left running that was started for it.
        """
        deadline = time.monotonic() + self._config.start_timeout
        try:
            while True:
                found = self._join(home) or self._launch(home, temporary=temporary)
                if found is not None:
                    return found
                self._wait_for_other(home, deadline)
        finally:
            home.unlock()

    def _join(self, home: Home) -> Membership | None:
        """Become a user of the stack that runs in this home; None if there is none."""
        running = home.running()
        if running is None or running.host != socket.gethostname():
            return None
        try:
            supervisor = Supervisor(Path(running.socket))
        except OSError:
            return None
        try:
            supervisor.status()
        except StackError:  # it is about to end
            supervisor.close()
            return None
        try:
            joined = self._checked(home, running, supervisor)
        except BaseException:
            supervisor.close()
            raise
        logger.info("joined the stack in %s", home.path)
        return joined

    def _checked(self, home: Home, running: RunningStack, supervisor: Supervisor) -> Membership:
        """Return the membership, if this stack is what the user is configured for."""
        s3 = s3_from(running.s3) if running.use_s3 else None
        nats = nats_from(running.nats)
        if running.use_s3 != self._use_s3:
            msg = (
                f"the stack that runs in {home.path} keeps documents elsewhere, in S3 or in NATS: "
                "give its users the same USE_S3_STORAGE, or set DOCNATS_HOME to another directory"
            )
            raise StackError(msg)
        if not self._named.are_used_by(s3, nats, running.embedded):
            msg = (
                f"the stack that runs in {home.path} uses other servers or another namespace "
                "than this process is configured for: set DOCNATS_HOME to another directory"
            )
            raise StackError(msg)
        return Membership(supervisor, s3, nats)

    def _launch(self, home: Home, *, temporary: bool) -> Membership | None:
        """Start the stack of this home; None if another process has its lock."""
        lock = home.lock()
        if lock is None:
            return None
        home.clear_away()
        nats, s3 = embedded_servers(home, self._config, self._named, use_s3=self._use_s3)
        servers = [server for server in (s3, nats) if server]
        supervisor = Supervisor.launch(
            home.logs, inherit=[lock], remove=[home.path] if temporary else []
        )
        try:
            start_servers(
                servers,
                supervisor,
                timeout=self._config.start_timeout,
                cancelled=self._cancelled,
            )
            launched = Membership(
                supervisor,
                s3.config if s3 else self._named.s3 if self._use_s3 else None,
                nats.config if nats else self._named.nats or NatsConfig(),
            )
            self._announce(home, launched, [server.name for server in servers])
        except BaseException:
            supervisor.close()
            raise
        return launched

    def _announce(self, home: Home, stack: Membership, embedded: list[str]) -> None:
        """Say how to join it."""
        home.set_running(
            RunningStack(
                host=socket.gethostname(),
                socket=os.fspath(stack.supervisor.address),
                embedded=embedded,
                s3=s3_variables(stack.s3) if stack.s3 else {},
                nats=nats_variables(stack.nats),
                use_s3=self._use_s3,
            )
        )

    def _wait_for_other(self, home: Home, deadline: float) -> None:
        """Wait a moment for another process that starts or ends the stack in this home."""
        running = home.running()
        host = running.host if running else socket.gethostname()
        if host != socket.gethostname() or time.monotonic() >= deadline:
            msg = (
                f"{home.path} is in use by a stack on {host}: end that one, or set "
                "DOCNATS_HOME to another directory"
            )
            raise StackError(msg)
        if self._cancelled.wait(LOCK_POLL):
            msg = "the start of the stack was given up"
            raise StackError(msg)
