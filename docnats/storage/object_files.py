"""The NATS Object Store as a file system for pyarrow, which reads from threads of its own."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSystem, FileSystemHandler, FileType, PyFileSystem

from docnats.errors import DocnatsError, ObjectMissing

if TYPE_CHECKING:
    from docnats.models import StoredObject
    from docnats.storage.objects import ObjectBucket

__all__ = ["object_filesystem"]

T = TypeVar("T")

IN_MEMORY = 1 << 20
"""Bytes up to which an object is held in memory while it is open; a larger one is a file."""


def object_filesystem(connect: Callable[[], ObjectBucket]) -> FileSystem:
    """Return a bucket as a read-only file system whose paths are ``bucket/key``.

    Parameters
    ----------
    connect : callable
        Returns the bucket, to be entered. pyarrow waits for an answer in the very thread that
        an event loop may run in, so that the bucket needs a loop, and a connection, of its own.
    """
    return PyFileSystem(_Handler(_Background(connect)))


class _Background:
    """A bucket on an event loop in a thread, from the first call on until nobody refers to it."""

    def __init__(self, connect: Callable[[], ObjectBucket]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bucket: ObjectBucket | None = None

    def run(self, call: Callable[[ObjectBucket], Coroutine[Any, Any, T]]) -> T:
        """Return what a coroutine makes of the bucket; errors are OSErrors, as pyarrow wants."""
        try:
            with self._lock:
                loop, bucket = self._started()
            return asyncio.run_coroutine_threadsafe(call(bucket), loop).result()
        except ObjectMissing as error:
            raise FileNotFoundError(str(error)) from error
        except DocnatsError as error:
            raise OSError(str(error)) from error

    def _started(self) -> tuple[asyncio.AbstractEventLoop, ObjectBucket]:
        if self._loop is None or self._bucket is None:
            loop, exits = asyncio.new_event_loop(), AsyncExitStack()
            thread = threading.Thread(
                target=_run, args=(loop, exits), name="docnats-files", daemon=True
            )
            thread.start()
            stop = weakref.finalize(self, loop.call_soon_threadsafe, loop.stop)
            entering = exits.enter_async_context(self._connect())
            try:
                self._bucket = asyncio.run_coroutine_threadsafe(entering, loop).result()
            except BaseException:
                stop()
                raise
            self._loop = loop
        return self._loop, self._bucket


def _run(loop: asyncio.AbstractEventLoop, exits: AsyncExitStack) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(exits.aclose())
    finally:
        loop.close()


class _Handler(FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """What pyarrow asks of a file system that is only read."""

    def __init__(self, background: _Background) -> None:
        self._background = background

    def get_type_name(self) -> str:
        """Return the file system's name."""
        return "nats-object-store"

    def normalize_path(self, path: str) -> str:
        """Return a path as it is: keys are not paths."""
        return path

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Return an object for reading anywhere in it."""
        bucket, _, key = path.partition("/")
        opened = self._background.run(lambda objects: objects.read(key, _opened, bucket))
        return pa.BufferReader(opened) if isinstance(opened, bytes) else pa.PythonFile(opened, "r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Return an object for reading from its start."""
        return self.open_input_file(path)

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        """Return what there is at some paths."""
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> FileInfo:
        bucket, _, key = path.partition("/")
        try:
            size, modified = self._background.run(lambda objects: objects.read(key, _about, bucket))
        except FileNotFoundError:
            return FileInfo(path, FileType.NotFound)
        return FileInfo(path, FileType.File, size=size, mtime=modified)

    def get_file_info_selector(self, selector: Any) -> list[FileInfo]:
        """Raise: docnats names every file it reads."""
        raise NotImplementedError("the files of the NATS Object Store are not listed here")

    def _refuse(self, *_given: object, **_named: object) -> NoReturn:
        raise OSError("the NATS Object Store is read here, not written")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse


async def _opened(found: StoredObject, chunks: AsyncIterator[bytes]) -> bytes | IO[bytes]:
    """Return an object's bytes, or a file that vanishes when it is closed."""
    if found.size <= IN_MEMORY:
        return b"".join([chunk async for chunk in chunks])
    file = tempfile.TemporaryFile(prefix="docnats-")  # noqa: SIM115 - pyarrow closes it
    try:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def _about(found: StoredObject, _: AsyncIterator[bytes]) -> tuple[int, datetime | None]:
    return found.size, found.modified
