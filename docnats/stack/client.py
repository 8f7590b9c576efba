"""The users' side of the supervisor: launch it, join it, ask it for processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from docnats.errors import StackError
from docnats.stack.environment import bare_environment
from docnats.stack.supervisor.child import STOP_GRACE
from docnats.stack.supervisor.loop import SHUTDOWN_LIMIT

__all__ = ["Command", "ProcessStatus", "Supervisor"]

MAX_SOCKET_PATH = 100
"""Bytes; a Unix socket's path has at most 108 on Linux and 104 on macOS, NUL included."""

RUNTIME_PREFIX = "docnats-"

ANSWER_TIMEOUT = 10.0
STOP_TIMEOUT = STOP_GRACE + 5
END_TIMEOUT = SHUTDOWN_LIMIT + 5
POLL_INTERVAL = 0.02

PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from supervisor.loop import main; main(*sys.argv[2:])"
)
"""Runs the supervisor as a package by itself: docnats would load what is not needed there."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run.

    Attributes
    ----------
    argv : sequence of str
    env : mapping of str to str
        The whole environment, credentials among it; nothing is inherited.
    cwd : Path
    leftovers : sequence of Path
        Files to remove once the process has ended, because it may not do so itself.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    leftovers: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of a stack.

    Attributes
    ----------
    name : str
        ``nats``, ``s3``, ``worker-1``, …
    pid : int
    returncode : int or None
        None while it runs; ``-N`` when signal N ended it.
    stopped : bool
        Whether it was asked to end.
    restarts : int
        How many times it was started again after an unexpected end.
    restart_in : float or None
        Seconds until it is started again, while it waits for that.
    log : Path
        Where its output goes.
    """

    name: str
    pid: int
    returncode: int | None
    stopped: bool
    restarts: int
    restart_in: float | None
    log: Path

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.returncode is None

    @property
    def failed(self) -> bool:
        """Whether the process ended, was not asked to, and is not started again."""
        return not self.running and not self.stopped and self.restart_in is None

    @property
    def kept(self) -> bool:
        """Whether the process runs or will again: it was not stopped and has not failed."""
        return not self.stopped and not self.failed


@dataclass(frozen=True, slots=True)
class SupervisorStatus:
    """A supervisor, as one of its users sees it.

    Attributes
    ----------
    pid : int
    users : int
    workers : int
        The most workers that one of the users needs at least.
    scales : bool
        Whether it is this user that scales the workers; of those that would, one does.
    processes : list of ProcessStatus
        Every one that was ever started.
    """

    pid: int
    users: int
    workers: int
    scales: bool
    processes: list[ProcessStatus]


class Supervisor:
    """A connection to a supervisor; while it is open, this process is one of its users.

    Parameters
    ----------
    address : Path
        The supervisor's socket.

    Raises
    ------
    OSError
        When nobody listens there.
    """

    def __init__(self, address: Path) -> None:
        self.address = address
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_TIMEOUT)
        try:
            self._socket.connect(os.fspath(address))
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")

    @classmethod
    def launch(
        cls, logs: Path, *, inherit: Sequence[int] = (), remove: Sequence[Path] = ()
    ) -> Self:
        """Start a supervisor that outlives this process if others use it too.

        Parameters
        ----------
        logs : Path
            The directory of its log and of those of its processes.
        inherit : sequence of int
            File descriptors it keeps open to its end, for example a lock.
        remove : sequence of Path
            Directories it removes at its end.
        """
        log = logs / "supervisor.log"
        try:
            runtime = _runtime_directory()
        except OSError as error:
            msg = f"no temporary directory for the stack's socket: {error}; set TMPDIR"
            raise StackError(msg) from error
        address = runtime / "control.sock"
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.fspath(address))
                address.chmod(0o600)
                listener.listen()
                _run_detached(listener.fileno(), log, inherit, (logs, runtime, *remove))
            return cls(address)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(runtime, ignore_errors=True)
            msg = f"the supervisor of the stack did not start: {error}; see {log}"
            raise StackError(msg) from error

    @property
    def runtime(self) -> Path:
        """A private directory with a short path that vanishes with the supervisor."""
        return self.address.parent

    def spawn(
        self, name: str, command: Command, *, stop_order: int = 0, tries: int = 0
    ) -> ProcessStatus:
        """Start a process.

        Parameters
        ----------
        name : str
            Must not be the name of one that runs.
        command : Command
        stop_order : int
            At the end, processes of the lowest number stop first.
        tries : int
            See :meth:`keep`.

        Raises
        ------
        StackError
            When the program cannot be run.
        """
        request = _spawning(name, command, stop_order, tries)
        return _process_status(self._ask("spawn", numbered=False, **request))

    def add(self, name: str, command: Command, *, tries: int = 0) -> ProcessStatus:
        """Start a process with a number in its name: of ``worker`` comes ``worker-1``."""
        return _process_status(
            self._ask("spawn", numbered=True, **_spawning(name, command, 0, tries))
        )

    def fill(self, name: str, command: Command, count: int, *, tries: int = 0) -> list[str]:
        """Start numbered processes until ``count`` are kept, whoever else does the same.

        Returns the names of those that were missing.
        """
        request = _spawning(name, command, 0, tries)
        added: list[str] = self._ask("fill", numbered=True, count=count, **request)["added"]
        return added

    def keep(self, name: str, tries: int) -> ProcessStatus:
        """Start a process again, from now on, when it ends unasked.

        Parameters
        ----------
        name : str
        tries : int
            It has failed for good when it ended so many times in a row within seconds of its
            start; 0: at its first end. Kills by :meth:`kill` do not count.
        """
        return _process_status(self._ask("keep", name=name, tries=tries))

    def wish(self, workers: int, *, scales: bool) -> None:
        """Say how many workers this user needs at least, and whether it would scale them."""
        self._ask("wish", workers=workers, scales=scales)

    def processes(self) -> list[ProcessStatus]:
        """Return the state of every process that was ever spawned."""
        return self.status().processes

    def process(self, name: str) -> ProcessStatus:
        """Return the state of one process; ``StackError`` if there never was one."""
        found = next((p for p in self.processes() if p.name == name), None)
        if found is None:
            msg = f"the stack has no process {name!r}"
            raise StackError(msg)
        return found

    def stop(self, *names: str) -> None:
        """End processes, by force after 10 s, and wait for it; they are not restarted."""
        self.begin_stop(*names)
        deadline = time.monotonic() + STOP_TIMEOUT
        while late := [p.name for p in self.processes() if p.name in names and p.running]:
            if time.monotonic() >= deadline:
                msg = f"{', '.join(late)} could not be stopped within {STOP_TIMEOUT:g} s"
                raise StackError(msg)
            time.sleep(POLL_INTERVAL)

    def begin_stop(self, *names: str) -> None:
        """Ask processes to end, and do not wait for it; see :meth:`stop`."""
        for name in names:
            self._ask("stop", name=name)

    def kill(self, name: str, signal: int, *, pid: int | None = None) -> int | None:
        """Send a signal to a process; with ``pid``, only if it still is that one.

        Returns the id of the process that gets it; None when it does not run.
        """
        hit: int | None = self._ask("kill", name=name, signal=int(signal), pid=pid)["pid"]
        return hit

    def status(self) -> SupervisorStatus:
        """Return the state of everything."""
        answer = self._ask("status")
        children = [_process_status(child) for child in answer.pop("children")]
        del answer["ok"]
        return SupervisorStatus(**answer, processes=children)

    def close(self) -> None:
        """Stop being a user; if there is no other, wait until everything has ended."""
        # Without an answer the supervisor is gone, or this is a forked child of its user.
        with contextlib.suppress(StackError):
            if self._ask("leave")["last"]:
                self._wait_for_end()
        self._disconnect()

    def _wait_for_end(self) -> None:
        self._socket.settimeout(END_TIMEOUT)
        with contextlib.suppress(OSError):
            self._answers.read()

    def _disconnect(self) -> None:
        self._answers.close()
        self._socket.close()

    def _ask(self, command: str, **fields: object) -> dict[str, Any]:
        if os.getpid() != self._owner:
            msg = "this process was forked from the one that started the stack: start its own"
            raise StackError(msg)
        request = json.dumps({"do": command, **fields}).encode() + b"\n"
        try:
            with self._lock:
                self._socket.sendall(request)
                line = self._answers.readline()
        except (OSError, ValueError) as error:
            msg = "the supervisor of the stack does not answer; start a new stack"
            raise StackError(msg) from error
        if not line:
            msg = "the stack has ended; start a new one"
            raise StackError(msg)
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            msg = f"{fields.get('name', 'the supervisor')}: {command}: {answer['error']}"
            raise StackError(msg)
        return answer


def _spawning(name: str, command: Command, stop_order: int, tries: int) -> dict[str, Any]:
    return {
        "name": name,
        "argv": list(command.argv),
        "env": dict(command.env),
        "cwd": os.fspath(command.cwd),
        "leftovers": [os.fspath(path) for path in command.leftovers],
        "stop_order": stop_order,
        "tries": tries,
    }


def _process_status(child: dict[str, Any]) -> ProcessStatus:
    return ProcessStatus(
        name=child["name"],
        pid=child["pid"],
        returncode=child["returncode"],
        stopped=child["stopped"],
        restarts=child["restarts"],
        restart_in=child["restart_in"],
        log=Path(child["log"]),
    )


def _runtime_directory() -> Path:
    """Make a directory (0700) whose path is short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix=RUNTIME_PREFIX))
    if len(os.fsencode(directory)) + len("/control.sock") <= MAX_SOCKET_PATH:
        return directory
    directory.rmdir()
    return Path(tempfile.mkdtemp(prefix=RUNTIME_PREFIX, dir="/tmp"))


def _run_detached(
    listener: int, log: Path, inherit: Sequence[int], directories: Sequence[Path]
) -> None:
    # -I and -S: fast, and no code of the user's environment runs in it.
    argv = [sys.executable, "-I", "-S", "-c", PROGRAM, os.fspath(Path(__file__).parent)]
    log.touch(0o600)
    with log.open("ab") as output:
        subprocess.run(  # noqa: S603 - our own script
            [*argv, str(listener), *map(os.fspath, directories)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=bare_environment(),
            start_new_session=True,
            pass_fds=(listener, *inherit),
            timeout=ANSWER_TIMEOUT,
            check=True,
        )
