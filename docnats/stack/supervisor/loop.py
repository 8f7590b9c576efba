"""The supervisor's event loop and start."""

from __future__ import annotations

import itertools
import json
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .child import Child, die_with_parent
from .user import User

__all__ = ["SHUTDOWN_LIMIT", "main"]

logger = logging.getLogger("docnats.stack.supervisor")

START_GRACE = 10.0
"""Seconds to wait for the first user."""

SHUTDOWN_LIMIT = 60.0
"""Seconds after which the supervisor ends although a child does not; the kernel kills it."""

SEND_TIMEOUT = 5.0


class Supervisor:
    """The event loop over users, children and signals."""

    def __init__(self, listener: socket.socket, logs: Path) -> None:
        self._listener = listener
        self._logs = logs
        self._users: list[User] = []
        self._children: dict[str, Child] = {}
        self._before_exec = die_with_parent()
        self._ends_at = time.monotonic() + START_GRACE
        self._had_users = False
        self._shutting_down = False
        self._selector = selectors.DefaultSelector()
        self._watch(listener, self._accept)
        self._watch(_signal_socket(), self._on_signals)

    def run(self) -> None:
        """Serve until the last user is gone and the last child has ended."""
        while not self._finished():
            for key, _ in self._selector.select(self._next_deadline()):
                key.data(key.fileobj)
            self._look_after_children()
            if not self._shutting_down and self._unused():
                self._shut_down("no user is left")

    def _watch(self, source: socket.socket | int, callback: Callable[[Any], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, callback)

    def _finished(self) -> bool:
        running = any(child.running for child in self._children.values())
        return self._shutting_down and (not running or time.monotonic() >= self._ends_at)

    def _unused(self) -> bool:
        waited = self._had_users or time.monotonic() >= self._ends_at
        return waited and all(user.left for user in self._users)

    def _next_deadline(self) -> float | None:
        """Return the seconds until something must be done without an event."""
        children = self._children.values()
        moments = [m for c in children for m in (c.kill_at, c.start_at) if m is not None]
        if self._shutting_down or not self._had_users:
            moments.append(self._ends_at)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _accept(self, listener: socket.socket) -> None:
        if self._shutting_down:
            return
        connection, _ = listener.accept()
        connection.settimeout(SEND_TIMEOUT)
        try:
            user = User(connection)
        except OSError as error:  # the process is gone already, or is not ours
            logger.warning("a connection was refused: %s", error)
            connection.close()
            return
        self._had_users = True
        self._users.append(user)
        self._watch(connection, lambda _: self._serve(user))
        if user.pidfd is not None:
            self._watch(user.pidfd, lambda _: self._drop(user))

    def _drop(self, user: User) -> None:
        if user not in self._users:
            return
        self._users.remove(user)
        self._selector.unregister(user.connection)
        if user.pidfd is not None:
            self._selector.unregister(user.pidfd)
        user.close()

    def _serve(self, user: User) -> None:
        if user not in self._users:
            return
        try:
            for request in user.requests():
                reply = json.dumps(self._reply(user, request))
                user.connection.sendall(reply.encode() + b"\n")
        except (OSError, EOFError, ValueError):
            self._drop(user)

    def _reply(self, user: User, request: dict[str, Any]) -> dict[str, Any]:
        commands: dict[str, Callable[[User, dict[str, Any]], dict[str, Any]]] = {
            "spawn": self._spawn,
            "fill": self._fill,
            "keep": self._keep,
            "wish": self._wish,
            "stop": self._stop,
            "kill": self._kill,
            "status": self._status,
            "leave": self._leave,
        }
        try:
            return {"ok": True, **commands[request["do"]](user, request)}
        except (OSError, LookupError, TypeError, ValueError) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def _spawn(self, _: User, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        if request["numbered"]:
            numbered = (f"{name}-{number}" for number in itertools.count(1))
            name = next(free for free in numbered if self._is_free(free))
        if self._shutting_down:
            msg = "the stack is shutting down"
            raise ValueError(msg)
        if name in self._children and self._children[name].running:
            msg = f"{name} is running"
            raise ValueError(msg)
        child = Child(name, self._logs / f"{name}.log", request, self._before_exec)
        self._children[name] = child
        return child.status()

    def _fill(self, user: User, request: dict[str, Any]) -> dict[str, Any]:
        missing = request["count"] - sum(child.kept for child in self._numbered(request["name"]))
        return {"added": [self._spawn(user, request)["name"] for _ in range(missing)]}

    def _is_free(self, name: str) -> bool:
        child = self._children.get(name)
        return child is None or (child.stopping and not child.running)

    def _numbered(self, name: str) -> list[Child]:
        return [child for key, child in self._children.items() if key.startswith(f"{name}-")]

    def _keep(self, _: User, request: dict[str, Any]) -> dict[str, Any]:
        child = self._children[request["name"]]
        child.tries = request["tries"]
        return child.status()

    def _wish(self, user: User, request: dict[str, Any]) -> dict[str, Any]:
        user.workers, user.scales = request["workers"], request["scales"]
        return {}

    def _stop(self, _: User, request: dict[str, Any]) -> dict[str, Any]:
        self._children[request["name"]].stop()
        return {}

    def _kill(self, _: User, request: dict[str, Any]) -> dict[str, Any]:
        child = self._children[request["name"]]
        hit = child.running and request["pid"] in (None, child.process.pid)
        if hit:
            child.signal(request["signal"])
        return {"pid": child.process.pid if hit else None}

    def _status(self, user: User, _: dict[str, Any]) -> dict[str, Any]:
        users = [user for user in self._users if not user.left]
        return {
            "pid": os.getpid(),
            "users": len(users),
            "workers": max((user.workers for user in users), default=0),
            "scales": next((one for one in users if one.scales), None) is user,
            "children": [child.status() for child in self._children.values()],
        }

    def _leave(self, user: User, _: dict[str, Any]) -> dict[str, Any]:
        user.left = True
        return {"last": self._unused()}

    def _shut_down(self, why: str) -> None:
        if self._shutting_down:
            return
        logger.info("shutting down: %s", why)
        self._shutting_down = True
        self._ends_at = time.monotonic() + SHUTDOWN_LIMIT
        self._selector.unregister(self._listener)
        self._listener.close()
        for child in self._children.values():
            child.start_at = None
        self._look_after_children()

    def _look_after_children(self) -> None:
        for child in self._children.values():
            child.kill_if_due()
            if child.reap() and not self._shutting_down:
                child.plan_restart()
            child.restart_if_due()
        running = [child for child in self._children.values() if child.running]
        if self._shutting_down and running:
            first = min(child.stop_order for child in running)
            for child in running:
                if child.stop_order == first:
                    child.stop()

    def _on_signals(self, source: socket.socket) -> None:
        if signal.SIGTERM in source.recv(4096):
            self._shut_down("terminated")


def _signal_socket() -> socket.socket:
    """Return a socket that becomes readable when a signal arrives, with its number."""
    ours, kernels = socket.socketpair()
    kernels.setblocking(False)
    signal.set_wakeup_fd(kernels.detach(), warn_on_full_buffer=False)
    # Handlers that do nothing, not SIG_IGN: children would inherit that.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return ours


def main(listener_fd: str, logs: str, *directories: str) -> None:
    """Detach from the launcher, serve, and remove the directories at the end.

    The listener is a bound Unix socket made by the launcher; the children's output goes to
    files in ``logs``; the directories are removed at the end.

    A connection that is still open closes after that: users take it for the end of all.
    """
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    supervisor = Supervisor(socket.socket(fileno=int(listener_fd)), Path(logs))
    try:
        supervisor.run()
    finally:
        import shutil

        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)
