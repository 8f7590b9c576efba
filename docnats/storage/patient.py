"""A store whose calls wait while it is out of reach, so that a restart of it costs only time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from secrets import SystemRandom
from typing import TYPE_CHECKING, TypeVar

from docnats.errors import StorageError
from docnats.models import StoredObject, UnfinishedUpload, utc_now
from docnats.storage.port import Storage

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["PatientStorage"]

log = logging.getLogger(__name__)

_dice = SystemRandom()
"""Not the module random: that is the user's, who may have seeded it."""

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds between attempts; each of them already is several of the S3 client's."""

GIVEN_UP_SECONDS = 10.0
"""After an outage over the limit, calls of this time fail without an attempt of their own: the
many files of a submission would each wait for the S3 client's time-outs."""


class PatientStorage:
    """Implements :class:`~docnats.storage.Storage` on another one, patiently.

    Passing faults (no connection, time-outs, HTTP 5xx and 429) are waited out; all others are
    raised at once. An outage is what all calls meet: it begins when one fails and ends when
    one succeeds, and its limit holds for all of them together.

    Parameters
    ----------
    storage : Storage
        Does the work.
    limit : float
        Seconds that an outage may last.
    """

    def __init__(self, storage: Storage, limit: float) -> None:
        self._storage = storage
        self._limit = limit
        self._waiting = 0
        self._since: float | None = None
        self._given_up: tuple[float, StorageError] | None = None

    @property
    def bucket(self) -> str:
        """The bucket that is written to."""
        return self._storage.bucket

    @property
    def readable(self) -> tuple[str, ...]:
        """The buckets whose documents may be processed in place."""
        return self._storage.readable

    @property
    def outage(self) -> float | None:
        """Seconds that calls have been waiting for the store to be back; None: none waits."""
        return _clock() - self._since if self._waiting and self._since is not None else None

    def patient(self) -> PatientStorage:
        """Return itself."""
        return self

    async def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""
        await self._outlast(self._storage.ensure_bucket)

    async def has_credentials(self) -> bool:
        """Tell whether there are credentials to sign requests with."""
        return await self._storage.has_credentials()

    async def filesystem(self) -> FileSystem:
        """Return the store for pyarrow, which has a patience of its own."""
        return await self._storage.filesystem()

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """Store a file."""
        return await self._outlast(lambda: self._storage.put_file(key, path))

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        """Store bytes."""
        return await self._outlast(lambda: self._storage.put_bytes(key, data))

    async def get_file(self, key: str, path: Path, *, bucket: str | None = None) -> StoredObject:
        """Write an object to ``path``, whole or not at all."""
        return await self._outlast(
            lambda: self._storage.get_file(key, path, bucket=bucket), tell=logging.WARNING
        )

    async def get_bytes(self, key: str, *, bucket: str | None = None) -> bytes:
        """Return an object's bytes."""
        return await self._outlast(
            lambda: self._storage.get_bytes(key, bucket=bucket), tell=logging.WARNING
        )

    async def presign_get(self, key: str, *, bucket: str | None = None) -> str:
        """Return a URL with which anybody can read the object until it expires."""
        return await self._storage.presign_get(key, bucket=bucket)

    async def presign_put(self, key: str) -> str:
        """Return a URL with which anybody can write the object until it expires."""
        return await self._storage.presign_put(key)

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys without one are fine."""
        if every := list(keys):
            await self._outlast(lambda: self._storage.delete(every))

    async def list(self, prefix: str, *, bucket: str | None = None) -> AsyncIterator[StoredObject]:
        """Iterate over the objects whose keys start with ``prefix``, in key order."""
        found = aiter(self._storage.list(prefix, bucket=bucket))
        last = ""

        async def following() -> StoredObject | None:
            """Return the next object; an iterator that failed is at its end, so begin anew."""
            nonlocal found
            try:
                while (stored := await anext(found, None)) is not None and stored.key <= last:
                    pass
            except StorageError:
                found = aiter(self._storage.list(prefix, bucket=bucket))
                raise
            return stored

        while (stored := await self._outlast(following)) is not None:
            last = stored.key
            yield stored

    async def unfinished(self) -> AsyncIterator[UnfinishedUpload]:
        """Iterate over the bucket's uploads in parts that are not finished; not patient."""
        async for upload in self._storage.unfinished():
            yield upload

    async def abort(self, uploads: Iterable[UnfinishedUpload]) -> None:
        """Give up uploads and delete their parts."""
        every = tuple(uploads)
        await self._outlast(lambda: self._storage.abort(every))

    async def _outlast(self, attempt: Callable[[], Awaitable[T]], *, tell: int = logging.INFO) -> T:
        """Make an attempt until it succeeds, fails for good, or the limit is over.

        A panel shows that an upload waits; of a read only the log can ``tell``.
        """
        self._refuse_what_was_given_up()
        failing_since: float | None = None
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    result = await attempt()
                except StorageError as error:
                    if not error.transient:
                        raise
                    if failing_since is None:
                        failing_since = _clock()
                        self._begin_to_wait(failing_since, error, tell)
                    left = self._time_left(failing_since, error)
                else:
                    self._is_back()
                    return result
                spread = _dice.uniform(0.5, 1)  # so that a herd does not come back at once
                await asyncio.sleep(min(pause * spread, left))
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            if failing_since is not None:
                self._end_to_wait()

    def _begin_to_wait(self, now: float, error: StorageError, tell: int) -> None:
        self._waiting += 1
        if self._since is None:
            self._since = now
            log.log(tell, "%s; waiting for up to %g s", error, self._limit)

    def _end_to_wait(self) -> None:
        self._waiting -= 1
        if not self._waiting and self._given_up is None:
            self._since = None

    def _time_left(self, failing_since: float, error: StorageError) -> float:
        """Return for how long to try again; raise when there is no more time.

        A call that alone keeps failing, while others succeed, has the limit for itself.
        """
        since = failing_since if self._since is None else min(failing_since, self._since)
        left = since + self._limit - _clock()
        if left > 0:
            return left
        over = _over(error, self._limit - left)
        if self._since == since:
            self._given_up = (_clock(), over)
        raise over from error

    def _refuse_what_was_given_up(self) -> None:
        if self._given_up is None:
            return
        when, error = self._given_up
        if _clock() - when < GIVEN_UP_SECONDS:
            raise StorageError(f"not tried any more: {error}", transient=True) from error
        self._since = self._given_up = None

    def _is_back(self) -> None:
        if self._since is not None:
            log.info("the storage is back after %.0f s", _clock() - self._since)
        self._since = self._given_up = None


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _over(error: StorageError, seconds: float) -> StorageError:
    since = utc_now() - timedelta(seconds=seconds)
    return StorageError(
        f"{error}. It has been so since {since:%H:%M:%S} UTC, for longer than outage_limit allows",
        transient=True,
    )
