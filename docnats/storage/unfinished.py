"""Uploads in parts that nobody finished: their parts are stored, but no listing shows them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from docnats.models import UnfinishedUpload
from docnats.storage.connection import Connection
from docnats.storage.failures import code_of

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import (
        ListMultipartUploadsRequestTypeDef,
        ListPartsRequestTypeDef,
        MultipartUploadTypeDef,
    )

__all__ = ["abort_upload", "expire_uploads", "unfinished_uploads"]

log = logging.getLogger(__name__)

DAYS_UNFINISHED = 7
"""Days after which the server drops an unfinished upload by itself."""

_PAGE = 1000
"""Uploads listed at a time, the most that S3 gives."""

_ENDED = "NoSuchUpload"


async def unfinished_uploads(
    connection: Connection, bucket: str
) -> AsyncIterator[UnfinishedUpload]:
    """Iterate over a bucket's uploads in parts that are not finished.

    Notes
    -----
    All are listed, without a prefix: MinIO takes a prefix for a whole key. MinIO may
    list none after a restart; its documentation says that it drops old ones by itself.
    """
    request: ListMultipartUploadsRequestTypeDef = {"Bucket": bucket, "MaxUploads": _PAGE}
    seen: set[str] = set()
    while True:
        async with connection.request(f"list the unfinished uploads of {bucket}") as client:
            page = await client.list_multipart_uploads(**request)
        fresh = [found for found in page.get("Uploads", []) if found["UploadId"] not in seen]
        for found in fresh:
            seen.add(found["UploadId"])
            if (size := await _size(connection, bucket, found)) is not None:
                begun = found["Initiated"].astimezone(UTC)
                yield UnfinishedUpload(found["Key"], found["UploadId"], size, begun)
        # SeaweedFS says of the last page too that there is more.
        if not page.get("IsTruncated") or not fresh:
            return
        request["KeyMarker"] = page.get("NextKeyMarker", "")
        request["UploadIdMarker"] = page.get("NextUploadIdMarker", "")


async def _size(connection: Connection, bucket: str, upload: MultipartUploadTypeDef) -> int | None:
    """Return the bytes that have arrived; None for an upload that has ended."""
    key, upload_id = upload["Key"], upload["UploadId"]
    request: ListPartsRequestTypeDef = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
    size = 0
    while True:
        async with connection.request(f"list the parts of s3://{bucket}/{key}") as client:
            try:
                page = await client.list_parts(**request)
            except ClientError as error:
                if code_of(error) == _ENDED:
                    return None
                raise
        size += sum(part["Size"] for part in page.get("Parts", []))
        if not page.get("IsTruncated"):
            return size
        request["PartNumberMarker"] = page["NextPartNumberMarker"]


async def abort_upload(connection: Connection, bucket: str, upload: UnfinishedUpload) -> None:
    """Give up an upload and delete its parts; one that has ended by now is fine."""
    attempt = f"abort the upload of s3://{bucket}/{upload.key}"
    async with connection.request(attempt) as client:
        try:
            await client.abort_multipart_upload(
                Bucket=bucket, Key=upload.key, UploadId=upload.upload_id
            )
        except ClientError as error:
            if code_of(error) != _ENDED:
                raise


async def expire_uploads(client: S3Client, bucket: str) -> None:
    """Let the server drop a new bucket's unfinished uploads after some days, if it can."""
    try:
        await client.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": "docnats-unfinished-uploads",
                        "Status": "Enabled",
                        "Filter": {"Prefix": ""},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": DAYS_UNFINISHED},
                    }
                ]
            },
        )
    except ClientError as error:
        log.info(
            "the server does not drop unfinished uploads of %s by itself (%s); `docnats gc` does",
            bucket,
            code_of(error),
        )
