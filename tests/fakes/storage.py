"""Object storage in memory, for tests of what stands on the port."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pyarrow._fs import _MockFileSystem
from pyarrow.fs import FileSystem

from docnats.errors import ObjectMissing, StorageError, UrlRefused
from docnats.storage import StoredObject, UnfinishedUpload


class FakeStorage:
    """A :class:`docnats.storage.Storage` that keeps its objects in a dictionary."""

    def __init__(self, bucket: str = "documents", *, credentials: bool = True) -> None:
        self.bucket = bucket
        self.readable: tuple[str, ...] = (bucket,)
        self.outage: float | None = None
        self.buckets: dict[str, dict[str, tuple[bytes, datetime]]] = {}
        self.uploads: list[UnfinishedUpload] = []
        self._credentials = credentials

    def patient(self) -> FakeStorage:
        return self

    async def ensure_bucket(self) -> None:
        self.buckets.setdefault(self.bucket, {})

    async def has_credentials(self) -> bool:
        return self._credentials

    async def filesystem(self) -> FileSystem:
        files = _MockFileSystem()
        for bucket, objects in self.buckets.items():
            for key, (data, _) in objects.items():
                path = PurePosixPath(bucket, key)
                files.create_dir(str(path.parent))
                with files.open_output_stream(str(path)) as stream:
                    stream.write(data)
        return files

    async def put_file(self, key: str, path: Path) -> StoredObject:
        return await self.put_bytes(key, path.read_bytes())

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        self._objects(None)[key] = (data, datetime.now(UTC))
        return StoredObject(key, len(data), hashlib.sha256(data).hexdigest())

    async def get_file(self, key: str, path: Path, *, bucket: str | None = None) -> StoredObject:
        data, modified = self._find(key, bucket)
        path.write_bytes(data)
        return StoredObject(key, len(data), hashlib.sha256(data).hexdigest(), modified)

    async def get_bytes(self, key: str, *, bucket: str | None = None) -> bytes:
        return self._find(key, bucket)[0]

    async def presign_get(self, key: str, *, bucket: str | None = None) -> str:
        return f"http://memory/{bucket or self.bucket}/{quote(key)}?allows=GET"

    async def presign_put(self, key: str) -> str:
        return f"http://memory/{self.bucket}/{quote(key)}?allows=PUT"

    async def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._objects(None).pop(key, None)

    async def list(self, prefix: str, *, bucket: str | None = None) -> AsyncIterator[StoredObject]:
        for key, (data, modified) in sorted(self._objects(bucket).items()):
            if key.startswith(prefix):
                yield StoredObject(key, len(data), modified=modified)

    async def unfinished(self) -> AsyncIterator[UnfinishedUpload]:
        for upload in tuple(self.uploads):
            yield upload

    async def abort(self, uploads: Iterable[UnfinishedUpload]) -> None:
        ended = set(uploads)
        self.uploads = [upload for upload in self.uploads if upload not in ended]

    def _objects(self, bucket: str | None) -> dict[str, tuple[bytes, datetime]]:
        name = bucket or self.bucket
        if name not in self.buckets:
            raise StorageError(f"there is no bucket {name}")
        return self.buckets[name]

    def _find(self, key: str, bucket: str | None) -> tuple[bytes, datetime]:
        objects = self._objects(bucket)
        if key not in objects:
            raise ObjectMissing(f"there is no object {bucket or self.bucket}/{key}")
        return objects[key]


class FakePresignedHttp:
    """A :class:`docnats.storage.PresignedHttp` for the URLs of a :class:`FakeStorage`."""

    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def get_file(self, url: str, path: Path) -> StoredObject:
        bucket, key = self._allowed("GET", url)
        return await self._storage.get_file(key, path, bucket=bucket)

    async def put(self, url: str, content: Path | bytes) -> None:
        _, key = self._allowed("PUT", url)
        data = content if isinstance(content, bytes) else content.read_bytes()
        await self._storage.put_bytes(key, data)

    @staticmethod
    def _allowed(method: str, url: str) -> tuple[str, str]:
        parts = urlsplit(url)
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        if parse_qs(parts.query).get("allows") != [method]:
            raise UrlRefused(f"cannot {method} {parts.path}: the presigned URL does not allow it")
        return bucket, key
