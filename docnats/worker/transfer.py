"""How a worker moves documents and results: with its own credentials or by presigned URL."""

from __future__ import annotations

import logging
from pathlib import Path

from docnats.errors import ErrorType, ParseError, StorageError
from docnats.models import JobMessage
from docnats.names import DOCUMENT, result_part
from docnats.storage import PresignedHttp, Storage

__all__ = ["Transfer"]

log = logging.getLogger(__name__)


class Transfer:
    """Gets a job's document and puts its result objects.

    Parameters
    ----------
    storage : Storage
        Used when it has credentials.
    http : PresignedHttp
        Used otherwise, with the URLs in the control message.
    own_credentials : bool
        Whether ``storage`` has some.
    """

    def __init__(self, storage: Storage, http: PresignedHttp, *, own_credentials: bool) -> None:
        self._storage = storage
        self._http = http
        self._own = own_credentials

    async def fetch(self, message: JobMessage, path: Path) -> str:
        """Download a job's document to ``path`` and return its SHA-256.

        Raises
        ------
        ParseError
            ``storage``: the bytes are not the ones that were submitted.
        StorageError
            The document could not be read.
        """
        if self._own:
            stored = await self._storage.get_file(message.s3_key, path, bucket=message.s3_bucket)
        elif message.s3_url:
            stored = await self._http.get_file(message.s3_url, path)
        else:
            raise StorageError(_NO_WAY.format("read the document"))
        sha256 = stored.sha256 or ""
        if message.sha256 and sha256 != message.sha256:
            msg = (
                f"the object {message.s3_key} is not what was submitted (its SHA-256 differs); "
                "submit the file again"
            )
            raise ParseError(ErrorType.STORAGE, msg)
        return sha256

    async def store(self, message: JobMessage, part: str, content: Path | bytes) -> None:
        """Upload one result object."""
        if self._own:
            await self._put(result_part(message.request_id, part), content)
            return
        url = message.result_url if part == DOCUMENT else message.part_urls.get(part)
        if not url:
            raise StorageError(_NO_WAY.format(f"write {part}"))
        await self._http.put(url, content)

    async def _put(self, key: str, content: Path | bytes) -> None:
        if isinstance(content, bytes):
            await self._storage.put_bytes(key, content)
        else:
            await self._storage.put_file(key, content)


_NO_WAY = (
    "this worker has no S3 credentials and the job carries no presigned URL to {}: give the "
    "worker AWS credentials, or submit with presign=True"
)
