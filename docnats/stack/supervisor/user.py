"""One process that uses the supervisor, seen from there."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
from typing import Any

__all__ = ["User"]

logger = logging.getLogger("docnats.stack.supervisor")

_PEERCRED = struct.Struct("3i")


class User:
    """One connected process; ``pidfd`` becomes readable when the process ends (Linux)."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pidfd: int | None = None
        self.left = False
        self.workers = 0
        self.scales = False
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


def _pidfd(pid: int) -> int | None:
    """Return a handle on a process; None where the kernel or a sandbox has no pidfds."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError as error:
        logger.warning("only connections tell when users end: no pidfd: %s", error)
        return None
