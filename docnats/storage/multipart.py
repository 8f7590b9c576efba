"""Uploads of big files in parts."""

from __future__ import annotations

import asyncio
import logging
from typing import IO, TYPE_CHECKING, cast

from docnats.errors import StorageError
from docnats.storage.connection import Connection
from docnats.storage.content import Bytes, Content, Hashed, Outgoing

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

__all__ = ["MultipartUpload"]

log = logging.getLogger(__name__)

MAX_PARTS = 10_000
"""The most parts one upload may have, from the S3 user guide."""

_ABORT_SECONDS = 10.0
"""How long a failed or cancelled upload may take to clean up after itself."""


class MultipartUpload:
    """One object on its way to S3 in parts, several of them in flight.

    Parts are read from disk one after the other, which is what lets the whole file be
    hashed in the same pass, and only when there is room for one more in flight.

    Parameters
    ----------
    connection : Connection
        Open; its ``max_concurrency`` bounds the parts in memory.
    bucket, key : str
        Where the object goes.
    content : Content
        Its bytes.
    """

    def __init__(self, connection: Connection, bucket: str, key: str, content: Content) -> None:
        config = connection.config
        self._connection = connection
        self._bucket = bucket
        self._key = key
        self._content = Hashed(content)
        self._part_size = max(config.multipart_chunksize, -(-content.size // MAX_PARTS))
        self._lanes = min(config.max_concurrency, -(-content.size // self._part_size))
        self._attempt = f"upload s3://{bucket}/{key} in parts"
        self._turn = asyncio.Lock()
        self._read = 0
        self._sent: list[CompletedPartTypeDef] = []

    async def run(self) -> str:
        """Upload the object and return its SHA-256.

        Whatever goes wrong, cancellation included, no part is left on the server.
        """
        # Shielded, because an upload whose id never arrived could not be aborted.
        created = asyncio.create_task(self._create())
        try:
            upload_id = await asyncio.shield(created)
            await self._send_all(upload_id)
            await self._complete(upload_id)
        except BaseException:
            await self._abort(created)
            raise
        return self._content.sha256

    async def _create(self) -> str:
        async with self._connection.request(self._attempt) as client:
            answer = await client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
        return answer["UploadId"]

    async def _send_all(self, upload_id: str) -> None:
        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(self._lanes):
                    lanes.create_task(self._send_some(upload_id))
        except ExceptionGroup as group:
            first = group.exceptions[0]
            raise first from first.__cause__

    async def _send_some(self, upload_id: str) -> None:
        while await self._send_one(upload_id):
            pass

    async def _send_one(self, upload_id: str) -> bool:
        """Send the next part; False when there is none left."""
        async with self._connection.request(self._attempt, size=self._part_size) as client:
            async with self._turn:
                if self._read >= self._content.size:
                    return False
                number = self._read // self._part_size + 1
                data = await asyncio.to_thread(self._content.read, self._read, self._part_size)
                self._read += len(data)
            answer = await client.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=upload_id,
                PartNumber=number,
                Body=cast("IO[bytes]", Outgoing(Bytes(data))),
                ContentLength=len(data),
            )
        self._sent.append({"PartNumber": number, "ETag": answer["ETag"]})
        return True

    async def _complete(self, upload_id: str) -> None:
        parts = sorted(self._sent, key=lambda part: part["PartNumber"])
        async with self._connection.request(self._attempt) as client:
            await client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )

    async def _abort(self, created: asyncio.Task[str]) -> None:
        if created.done() and (created.cancelled() or created.exception()):
            return
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                upload_id = await created
                async with self._connection.request(self._attempt) as client:
                    await client.abort_multipart_upload(
                        Bucket=self._bucket, Key=self._key, UploadId=upload_id
                    )
        except (StorageError, TimeoutError) as error:
            log.warning("s3://%s/%s: parts may be left behind: %r", self._bucket, self._key, error)
