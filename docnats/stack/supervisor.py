"""Own child processes for some user processes; end them when the last user is gone.

A script of its own with nothing but the standard library, so that it starts in tens of
milliseconds and stays small: ``python -I -S supervisor.py LISTENER_FD LOGS [DIRECTORY …]``.
The listener is a bound Unix socket made by the launcher; the children's output goes to
files in LOGS; the directories are removed at the end. :mod:`docnats.stack.client` speaks to
it, one JSON object a line each way.

Every connection is one *user*. A user is gone when it says ``leave``, when its connection
closes, and when its process ends, even if a forked sibling still holds the connection open.
The children end with the supervisor in every case: by SIGTERM and SIGKILL in the order
asked for, and by the kernel (``PR_SET_PDEATHSIG``) if the supervisor itself is killed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger("docnats.stack.supervisor")

START_GRACE = 10.0
"""Seconds to wait for the first user."""

STOP_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

SHUTDOWN_LIMIT = 60.0
"""Seconds after which the supervisor ends although a child does not; the kernel kills it."""

SEND_TIMEOUT = 5.0
PR_SET_PDEATHSIG = 1

_PEERCRED = struct.Struct("3i")


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
    """One child process, its restarts included."""

    def __init__(
        self, name: str, log: Path, request: dict[str, Any], before_exec: Callable[[], None] | None
    ) -> None:
        self.name = name
        self.log = log
        self.stop_order = int(request["stop_order"])
        self.restarts = 0
        self.stopping = False
        self.kill_at: float | None = None
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
        self.returncode: int | None = None
        logger.info("%s started as process %d", self.name, self.process.pid)

    @property
    def running(self) -> bool:
        """Whether the process was alive when last looked at."""
        return self.returncode is None

    def stop(self) -> None:
        """Ask the process to end; :meth:`kill_if_due` sees to it that it does."""
        if not self.stopping:
            self.stopping = True
            self.kill_at = time.monotonic() + STOP_GRACE
            self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send a signal to the process if it still runs."""
        if self.running:
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

    def restart_if_wanted(self) -> None:
        """Start an ended process again, unless it was stopped or died early."""
        after = self._request["restart_after"]
        if self.stopping or after is None or time.monotonic() - self.started < after:
            return
        try:
            self.start()
        except OSError as error:
            logger.error("%s cannot be restarted: %s", self.name, error)
        else:
            self.restarts += 1

    def status(self) -> dict[str, Any]:
        """Return the process as clients see it."""
        return {
            "name": self.name,
            "pid": self.process.pid,
            "returncode": self.returncode,
            "stopped": self.stopping,
            "restarts": self.restarts,
            "log": os.fspath(self.log),
        }

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class User:
    """One connected process; ``pidfd`` becomes readable when the process ends (Linux)."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pidfd: int | None = None
        self.left = False
        self.unread = b""
        if hasattr(socket, "SO_PEERCRED"):
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
            pid, uid, _ = _PEERCRED.unpack(raw)
            if uid != os.getuid():
                msg = f"process {pid} belongs to another user"
                raise PermissionError(msg)
            self.pidfd = _pidfd(pid)

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that have arrived; ``EOFError`` at the end of the connection."""
        data = self.connection.recv(65536)
        if not data:
            raise EOFError
        *lines, self.unread = (self.unread + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Forget the user."""
        self.connection.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


class Supervisor:
    """The event loop over users, children and signals."""

    def __init__(self, listener: socket.socket, logs: Path) -> None:
        self._listener = listener
        self._logs = logs
        self._users: set[User] = set()
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
        moments = [c.kill_at for c in self._children.values() if c.kill_at is not None]
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
        self._users.add(user)
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
            "stop": self._stop,
            "kill": self._kill,
            "status": self._status,
            "leave": self._leave,
            "shutdown": self._shutdown,
        }
        try:
            return {"ok": True, **commands[request["do"]](user, request)}
        except (OSError, LookupError, TypeError, ValueError) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def _spawn(self, _: User, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        if request["numbered"]:
            numbered = (f"{name}-{number}" for number in itertools.count(1))
            name = next(free for free in numbered if free not in self._children)
        if self._shutting_down:
            msg = "the stack is shutting down"
            raise ValueError(msg)
        if name in self._children and self._children[name].running:
            msg = f"{name} is running"
            raise ValueError(msg)
        child = Child(name, self._logs / f"{name}.log", request, self._before_exec)
        self._children[name] = child
        return child.status()

    def _stop(self, _: User, request: dict[str, Any]) -> dict[str, Any]:
        self._children[request["name"]].stop()
        return {}

    def _kill(self, _: User, request: dict[str, Any]) -> dict[str, Any]:
        self._children[request["name"]].signal(request["signal"])
        return {}

    def _status(self, *_: object) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "users": sum(not user.left for user in self._users),
            "children": [child.status() for child in self._children.values()],
        }

    def _leave(self, user: User, _: dict[str, Any]) -> dict[str, Any]:
        user.left = True
        return {"last": self._unused()}

    def _shutdown(self, *_: object) -> dict[str, Any]:
        self._shut_down("asked to")
        return {}

    def _shut_down(self, why: str) -> None:
        if self._shutting_down:
            return
        logger.info("shutting down: %s", why)
        self._shutting_down = True
        self._ends_at = time.monotonic() + SHUTDOWN_LIMIT
        self._selector.unregister(self._listener)
        self._listener.close()
        self._look_after_children()

    def _look_after_children(self) -> None:
        for child in self._children.values():
            child.kill_if_due()
            if child.reap() and not self._shutting_down:
                child.restart_if_wanted()
        running = [child for child in self._children.values() if child.running]
        if self._shutting_down and running:
            first = min(child.stop_order for child in running)
            for child in running:
                if child.stop_order == first:
                    child.stop()

    def _on_signals(self, source: socket.socket) -> None:
        if signal.SIGTERM in source.recv(4096):
            self._shut_down("terminated")


def _pidfd(pid: int) -> int | None:
    """Return a handle on a process; None where the kernel or a sandbox has no pidfds."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError as error:
        logger.warning("only connections tell when users end: no pidfd: %s", error)
        return None


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


if __name__ == "__main__":
    main(*sys.argv[1:])
