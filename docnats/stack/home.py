"""The directory of one stack: data, logs, credentials, and who may use it.

::

    home/
    ├── lock               held by the supervisor as long as the stack runs
    ├── stack.json         how to join the running stack; holds credentials, mode 0600
    ├── secrets.json       passwords and keys of the servers, made once, mode 0600
    ├── logs/              one file a process, the previous start's as *.log.old
    ├── nats/              configuration, port and JetStream's files
    └── s3/                the same of the S3 server; ``backend`` names whose format it is
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from docnats.errors import StackError
from docnats.stack.binaries import S3Backend
from docnats.stack.client import RUNTIME_PREFIX

__all__ = ["Home", "RunningStack"]

MIN_FREE = 256 * 1024 * 1024
MIN_FREE_SHARE = 0.01
"""Both S3 servers refuse writes when less than 1 % of the disk is free."""

_SECRETS: dict[str, Callable[[], str]] = {
    "nats_user": lambda: "docnats",
    "nats_password": lambda: secrets.token_hex(24),
    "s3_access_key": lambda: secrets.token_hex(10).upper(),
    "s3_secret_key": lambda: secrets.token_hex(20),
    "weed_signing": lambda: secrets.token_hex(32),
    "weed_signing.read": lambda: secrets.token_hex(32),
    "weed_filer_signing": lambda: secrets.token_hex(32),
    "weed_filer_signing.read": lambda: secrets.token_hex(32),
}


@dataclass(frozen=True, slots=True)
class RunningStack:
    """How to join a running stack.

    Attributes
    ----------
    host : str
        The machine it runs on: a home may be on a network file system.
    socket : str
        The supervisor's.
    embedded : list of str
        Which servers are its own: ``s3``, ``nats``.
    s3, nats : dict
        How to reach the servers, as environment variables; they hold credentials.
    use_s3 : bool
        Whether documents are in S3; otherwise they are in the NATS Object Store.
    """

    host: str
    socket: str
    embedded: list[str]
    s3: dict[str, str] = field(repr=False)
    nats: dict[str, str] = field(repr=False)
    use_s3: bool = True


class Home:
    """Paths and small files of a stack's directory.

    Parameters
    ----------
    path : Path
        Made, with mode 0700, if it does not exist.

    Raises
    ------
    StackError
        When it cannot be written to, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.logs = self.path / "logs"
        self.nats = self.path / "nats"
        self.s3 = self.path / "s3"
        self._lock: int | None = None
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (self.logs, self.nats, self.s3):
                directory.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"docnats")
            usage = shutil.disk_usage(self.path)
        except OSError as error:
            raise self.unusable(error) from error
        if usage.free < max(MIN_FREE, usage.total * MIN_FREE_SHARE):
            msg = (
                f"the disk of {self.path} is full ({usage.free // 2**20} MiB are free): make "
                "room, or set DOCNATS_HOME to a directory on another disk"
            )
            raise StackError(msg)

    def unusable(self, error: OSError) -> StackError:
        """Return the error that says that the directory cannot be used, and why."""
        return StackError(
            f"{error.filename or self.path} cannot be used: {error.strerror or error}; set "
            "DOCNATS_HOME to a directory of yours, on a disk with space"
        )

    def lock(self) -> int | None:
        """Return a file descriptor that holds the home's lock; None if another holds it."""
        if self._lock is not None:
            return self._lock
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise self.unusable(error) from error
        self._lock = descriptor
        return descriptor

    def unlock(self) -> None:
        """Let go of the lock; a supervisor that inherited it goes on holding it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def secrets(self) -> dict[str, str]:
        """Return the servers' credentials, made at the first call; under the lock only."""
        path = self.path / "secrets.json"
        known = self.read(path) or {}
        found = {name: known.get(name) or make() for name, make in _SECRETS.items()}
        if found != known:
            self.write(path, json.dumps(found))
        return found

    def backend(self) -> S3Backend | None:
        """Return the kind of S3 server whose data is here; None if there is no data."""
        data = self.s3 / "data"
        if not data.is_dir() or not any(data.iterdir()):
            return None
        try:
            return S3Backend((self.s3 / "backend").read_text().strip())
        except FileNotFoundError:
            return None
        except ValueError as error:
            msg = f"{self.s3} holds data of an unknown S3 server: {error}; set DOCNATS_HOME"
            raise StackError(msg) from error

    def set_backend(self, backend: S3Backend) -> None:
        """Note the kind of S3 server whose data is here, before it writes any."""
        self.write(self.s3 / "backend", backend)

    def ports(self, directory: Path) -> list[int]:
        """Return the ports a server used last; clients may still have its URL."""
        return self.read(directory / "ports.json") or []

    def set_ports(self, directory: Path, ports: list[int]) -> None:
        """Note the ports a server uses."""
        self.write(directory / "ports.json", json.dumps(ports))

    def running(self) -> RunningStack | None:
        """Return how to join the last stack that started here; it may have ended."""
        try:
            return RunningStack(**(self.read(self.path / "stack.json") or {}))
        except TypeError:  # missing, damaged, or of another version
            return None

    def set_running(self, stack: RunningStack) -> None:
        """Say how to join the stack that runs here."""
        self.write(self.path / "stack.json", json.dumps(asdict(stack)))

    def clear_away(self) -> None:
        """Remove what a killed stack left behind; under the lock only."""
        last = self.running()
        if last is not None and Path(last.socket).parent.name.startswith(RUNTIME_PREFIX):
            shutil.rmtree(Path(last.socket).parent, ignore_errors=True)
        (self.path / "stack.json").unlink(missing_ok=True)

    def read(self, path: Path) -> Any | None:
        """Return what is in a JSON file; None if it is missing or damaged."""
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise self.unusable(error) from error

    def write(self, path: Path, text: str) -> None:
        """Write a file that only its owner can read, whole or not at all."""
        try:
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)
        except OSError as error:
            raise self.unusable(error) from error
