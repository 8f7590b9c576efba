"""What docnats needs of an object store, whichever one it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from docnats.models import StoredObject, UnfinishedUpload

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["Storage"]


class Storage(Protocol):
    """An object store with one bucket of its own; others can be read.

    Every method raises :class:`~docnats.errors.StorageError` when the store does not do
    what is asked; its ``transient`` tells whether asking again later may help.
    """

    @property
    def bucket(self) -> str:
        """The bucket that is written to, and read from unless told otherwise."""

    @property
    def readable(self) -> tuple[str, ...]:
        """The buckets whose documents may be processed in place, that bucket among them."""

    @property
    def outage(self) -> float | None:
        """Seconds that calls have been waiting for the store to be back; None: none waits."""

    def patient(self) -> Storage:
        """Return the same store for what can wait while it is out of reach.

        Its calls are made again until they succeed, or until a limit that was set when the
        store was opened. pyarrow's file system is not patient.
        """

    async def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""

    async def has_credentials(self) -> bool:
        """Tell whether there are credentials to sign requests with."""

    async def filesystem(self) -> FileSystem:
        """Return the store for pyarrow: its paths are ``bucket/key``, its errors OSErrors.

        It has the credentials of this moment; temporary ones end some day.
        """

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """Store a file; one that changes meanwhile is refused, and nothing is stored."""

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        """Store bytes."""

    async def get_file(self, key: str, path: Path, *, bucket: str | None = None) -> StoredObject:
        """Write an object to ``path``, whole or not at all.

        Raises
        ------
        ObjectMissing
            There is no such object.
        """

    async def get_bytes(self, key: str, *, bucket: str | None = None) -> bytes:
        """Return an object's bytes.

        Raises
        ------
        ObjectMissing
            There is no such object.
        """

    async def presign_get(self, key: str, *, bucket: str | None = None) -> str:
        """Return a URL with which anybody can read the object until it expires."""

    async def presign_put(self, key: str) -> str:
        """Return a URL with which anybody can write the object until it expires."""

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys without one are fine."""

    def list(self, prefix: str, *, bucket: str | None = None) -> AsyncIterator[StoredObject]:
        """Iterate over the objects whose keys start with ``prefix``, in key order."""

    def unfinished(self) -> AsyncIterator[UnfinishedUpload]:
        """Iterate over the bucket's uploads in parts that are not finished, in any order."""

    async def abort(self, uploads: Iterable[UnfinishedUpload]) -> None:
        """Give up uploads and delete their parts; those that are finished by now are fine."""
