"""Bytes on their way between here and a store: hashed once, never all in memory."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

from docnats.errors import StorageError

__all__ = ["BLOCK", "Bytes", "Content", "Hashed", "LocalFile", "Outgoing", "save"]

BLOCK = 1024 * 1024
"""Bytes read, hashed and sent at a time; larger bodies given whole stall aiohttp's loop."""


class Content(Protocol):
    """Something to upload whose bytes can be read more than once and in pieces."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, offset: int, length: int) -> bytes | memoryview:
        """Return some bytes; blocking."""


class Bytes:
    """Content that is in memory already."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.size = len(data)
        self._view = memoryview(data)

    def read(self, offset: int, length: int) -> memoryview:
        """Return some bytes, uncopied."""
        return self._view[offset : offset + length]


class LocalFile:
    """A file that must stay as it is while it is read.

    It is opened for each read, so that a cancelled upload leaves no handle behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path.stat())
        self.size = self._stamp[0]

    def read(self, offset: int, length: int) -> bytes:
        """Return some bytes.

        Raises
        ------
        StorageError
            The file is not the one it was when this object was made.
        """
        with self._path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
            stamp = _stamp(os.fstat(file.fileno()))
        if stamp != self._stamp or len(data) != min(length, self.size - offset):
            msg = f"{self._path} changed while it was uploaded; upload it again once it is complete"
            raise StorageError(msg)
        return data


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


class Hashed:
    """Content that is hashed as it is read, from its start to its end.

    Parameters
    ----------
    content : Content
        What to read.
    """

    def __init__(self, content: Content) -> None:
        self.size = content.size
        self._content = content
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what was read since the start was read last, hexadecimal."""
        return self._digest.hexdigest()

    def read(self, offset: int, length: int) -> bytes | memoryview:
        """Return the next bytes; at offset 0 the hash begins anew."""
        if offset == 0:
            self._digest = hashlib.sha256()
        data = self._content.read(offset, length)
        self._digest.update(data)
        return data


class Outgoing:
    """Content as the body of a request, read block by block as it is sent."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        for offset in range(0, self._content.size, BLOCK):
            try:
                block = await asyncio.to_thread(self._content.read, offset, BLOCK)
            except Exception as error:
                self._failure = error
                raise
            yield block

    def seek(self, _offset: int) -> None:
        """Allow another attempt, which botocore announces by rewinding the body."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Raise what was wrong with the content, not what the HTTP client makes of it."""
        try:
            yield
        except Exception:
            if self._failure is not None:
                raise self._failure from None
            raise


async def save(read: Callable[[int], Awaitable[bytes]], path: Path) -> tuple[int, str]:
    """Write a response's body to a file, whole or not at all.

    Parameters
    ----------
    read : callable
        Returns at most so many of the next bytes; empty only at the end.
    path : Path
        Replaced if it exists.

    Returns
    -------
    tuple of int and str
        Size in bytes and SHA-256 in hexadecimal.

    Raises
    ------
    StorageError
        The disk is full.
    """
    incoming = _Incoming(path)
    try:
        block = bytearray()
        while piece := await read(BLOCK - len(block)):
            block += piece
            if len(block) == BLOCK:
                await asyncio.to_thread(incoming.write, block)
                block = bytearray()
        await asyncio.to_thread(incoming.finish, block)
    except BaseException as error:
        incoming.discard()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            msg = f"no space left to write {path}: free some on that disk, or use another one"
            raise StorageError(msg, transient=True) from error
        raise
    return incoming.size, incoming.digest.hexdigest()


class _Incoming:
    """A file under a temporary name, next to where it belongs.

    The lock lets a cancelled download discard the file while a thread still writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._path = path
        self._part = path.with_name(f".docnats-{secrets.token_hex(8)}.part")
        self._file: FileIO | None = None
        self._discarded = False
        self._lock = threading.Lock()

    def write(self, block: bytearray) -> None:
        with self._lock:
            self._write(block)

    def finish(self, block: bytearray) -> None:
        with self._lock:
            if (file := self._write(block)) is not None:
                file.close()
                self._part.replace(self._path)

    def discard(self) -> None:
        with self._lock:
            self._discarded = True
            if self._file is not None:
                self._file.close()
                self._part.unlink(missing_ok=True)

    def _write(self, block: bytearray) -> FileIO | None:
        if self._discarded:
            return None
        if self._file is None:
            self._file = self._part.open("xb", buffering=0)
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.digest.update(block)
        self.size += len(block)
        return self._file
