"""S3 by aioboto3: AWS, MinIO, SeaweedFS and everything else that speaks its protocol."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, cast

from botocore.exceptions import ClientError

from docnats.config import OUTAGE_LIMIT, S3Config
from docnats.models import StoredObject, UnfinishedUpload
from docnats.storage.connection import ANY_REGION, Connection
from docnats.storage.content import BLOCK, Bytes, Content, Hashed, LocalFile, Outgoing, save
from docnats.storage.failures import code_of, refusal
from docnats.storage.multipart import MultipartUpload
from docnats.storage.patient import PatientStorage
from docnats.storage.unfinished import abort_upload, expire_uploads, unfinished_uploads

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from pyarrow.fs import S3FileSystem
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import (
        CreateBucketRequestTypeDef,
        ErrorTypeDef,
        ListObjectsV2RequestTypeDef,
    )

__all__ = ["S3Storage"]

_MOST_DELETED = 1000
"""Keys in one DeleteObjects request, from the S3 API reference."""


class S3Storage:
    """A bucket on S3; an async context manager whose requests share one pooled client.

    Implements :class:`~docnats.storage.Storage`; see there for what each method does.

    Parameters
    ----------
    config : S3Config
        The server, the bucket and the limits.
    outage_limit : float
        Seconds that the server may be out of reach for the calls of :meth:`patient`.

    Notes
    -----
    Files up to 1 MiB are sent in one piece, larger ones block by block, and those above
    ``multipart_threshold`` in parts. So an upload needs a few MiB of memory, and all
    multipart uploads together ``max_concurrency`` parts.

    Examples
    --------
    >>> async with S3Storage(S3Config(bucket_name="papers")) as storage:  # doctest: +SKIP
    ...     await storage.ensure_bucket()
    ...     stored = await storage.put_file("raw/1.pdf", Path("paper.pdf"))
    """

    def __init__(self, config: S3Config, *, outage_limit: float = OUTAGE_LIMIT) -> None:
        self._config = config
        self._connection = Connection(config)
        self._patient = PatientStorage(self, outage_limit)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    @property
    def bucket(self) -> str:
        """The configured bucket."""
        return self._config.bucket_name

    @property
    def readable(self) -> tuple[str, ...]:
        """The configured bucket and ``read_buckets``."""
        return (self.bucket, *self._config.read_buckets)

    @property
    def outage(self) -> float | None:
        """Seconds that patient calls have been waiting for S3; None: none waits."""
        return self._patient.outage

    def patient(self) -> PatientStorage:
        """Return the same bucket for what can wait while S3 is out of reach."""
        return self._patient

    async def has_credentials(self) -> bool:
        """Tell whether the configuration or the AWS credential chain gives any to be used."""
        return self._config.use_credentials and await self._connection.has_credentials()

    async def ensure_bucket(self) -> None:
        """Create the bucket, in the configured region, unless it exists.

        Where the server can do it, a bucket made here drops unfinished uploads by itself.
        """
        async with self._connection.request(f"use the bucket {self.bucket}") as client:
            try:
                # HeadBucket needs the same permission, but its answer names no reason.
                await client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
            except ClientError as error:
                if code_of(error) != "NoSuchBucket":
                    raise
                await self._create_bucket(client)

    async def _create_bucket(self, client: S3Client) -> None:
        request: CreateBucketRequestTypeDef = {"Bucket": self.bucket}
        region = client.meta.region_name
        if region != ANY_REGION:
            # The default region is the one that must not be named.
            request["CreateBucketConfiguration"] = {"LocationConstraint": region}  # type: ignore[typeddict-item] # any region
        try:
            await client.create_bucket(**request)
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise
        else:
            await expire_uploads(client, self.bucket)

    async def filesystem(self) -> S3FileSystem:
        """Return S3 as a pyarrow file system whose paths are ``bucket/key``."""
        return await self._connection.filesystem()

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """Store a file, streamed from disk; OSError if it cannot be read."""
        content = await asyncio.to_thread(_open, path)
        if isinstance(content, bytes):
            return await self.put_bytes(key, content)
        return await self._put_stream(key, content)

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        """Store bytes."""
        if len(data) > BLOCK:
            return await self._put_stream(key, Bytes(data))
        sha256 = hashlib.sha256(data).hexdigest()
        async with self._connection.request(self._at("write", key), size=len(data)) as client:
            if not await self._connection.write(self.bucket, key, data):
                await client.put_object(Bucket=self.bucket, Key=key, Body=data)
        return StoredObject(key, len(data), sha256)

    async def _put_stream(self, key: str, content: Content) -> StoredObject:
        if content.size > self._config.multipart_threshold:
            upload = MultipartUpload(self._connection, self.bucket, key, content)
            return StoredObject(key, content.size, await upload.run())
        hashed = Hashed(content)
        body = Outgoing(hashed)
        async with self._connection.request(self._at("write", key), size=content.size) as client:
            with body.blamed():
                await client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=cast("IO[bytes]", body),
                    ContentLength=content.size,
                )
        return StoredObject(key, content.size, hashed.sha256)

    async def get_file(self, key: str, path: Path, *, bucket: str | None = None) -> StoredObject:
        """Write an object to ``path``, streamed to disk, whole or not at all."""
        attempt = self._at("read", key, bucket)
        async with self._connection.request(attempt, size=None) as client:

            async def take(response: ClientResponse) -> StoredObject:
                size, sha256 = await save(response.content.read, path)
                modified = parsedate_to_datetime(response.headers["Last-Modified"])
                return StoredObject(key, size, sha256, modified.astimezone(UTC))

            stored = await self._connection.read(bucket or self.bucket, key, take)
            if stored is not None:
                return stored
            answer = await client.get_object(Bucket=bucket or self.bucket, Key=key)
            async with answer["Body"]:
                size, sha256 = await save(answer["Body"].read, path)
        return StoredObject(key, size, sha256, answer["LastModified"].astimezone(UTC))

    async def get_bytes(self, key: str, *, bucket: str | None = None) -> bytes:
        """Return an object's bytes."""
        attempt = self._at("read", key, bucket)
        async with self._connection.request(attempt, size=None) as client:
            data = await self._connection.read(bucket or self.bucket, key, _body)
            if data is not None:
                return data
            answer = await client.get_object(Bucket=bucket or self.bucket, Key=key)
            async with answer["Body"]:
                return await answer["Body"].read()

    async def presign_get(self, key: str, *, bucket: str | None = None) -> str:
        """Return a URL to read an object with, valid for ``presign_expiry`` seconds."""
        return await self._presign("get_object", key, bucket)

    async def presign_put(self, key: str) -> str:
        """Return a URL to write an object with, valid for ``presign_expiry`` seconds."""
        return await self._presign("put_object", key)

    async def _presign(self, method: str, key: str, bucket: str | None = None) -> str:
        async with self._connection.request(self._at("presign", key, bucket)) as client:
            return await client.generate_presigned_url(
                method,
                Params={"Bucket": bucket or self.bucket, "Key": key},
                ExpiresIn=self._config.presign_expiry,
            )

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; all are tried before an error is raised."""
        every = list(keys)
        failed: list[ErrorTypeDef] = []
        for start in range(0, len(every), _MOST_DELETED):
            failed += await self._delete_some(every[start : start + _MOST_DELETED])
        if failed:
            attempt = f"delete {len(failed)} of {len(every)} objects in {self.bucket}"
            first = failed[0]
            attempt += f", one of them {first.get('Key', '')}"
            raise refusal(0, first.get("Code", ""), attempt, self._connection.endpoint)

    async def _delete_some(self, keys: list[str]) -> list[ErrorTypeDef]:
        attempt = f"delete {len(keys)} objects in {self.bucket}"
        async with self._connection.request(attempt) as client:
            answer = await client.delete_objects(
                Bucket=self.bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
        return [error for error in answer.get("Errors", []) if error.get("Code") != "NoSuchKey"]

    async def list(self, prefix: str, *, bucket: str | None = None) -> AsyncIterator[StoredObject]:
        """Iterate over the objects whose keys start with ``prefix``, in key order."""
        request: ListObjectsV2RequestTypeDef = {"Bucket": bucket or self.bucket, "Prefix": prefix}
        while True:
            async with self._connection.request(self._at("list", prefix, bucket)) as client:
                page = await client.list_objects_v2(**request)
            for found in page.get("Contents", []):
                modified = found["LastModified"].astimezone(UTC)
                yield StoredObject(found["Key"], found["Size"], modified=modified)
            if not page["IsTruncated"]:
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def unfinished(self) -> AsyncIterator[UnfinishedUpload]:
        """Iterate over the bucket's uploads in parts that are not finished."""
        return unfinished_uploads(self._connection, self.bucket)

    async def abort(self, uploads: Iterable[UnfinishedUpload]) -> None:
        """Give up uploads and delete their parts."""
        for upload in uploads:
            await abort_upload(self._connection, self.bucket, upload)

    def _at(self, verb: str, key: str, bucket: str | None = None) -> str:
        return f"{verb} s3://{bucket or self.bucket}/{key}"


def _open(path: Path) -> bytes | LocalFile:
    """Return a small file's bytes, so that it costs no more than one turn of a thread."""
    file = LocalFile(path)
    return file.read(0, file.size) if file.size <= BLOCK else file


async def _body(response: ClientResponse) -> bytes:
    return await response.read()
