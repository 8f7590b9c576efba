"""The storage that a configuration means."""

from __future__ import annotations

from docnats.bus import NatsObjects
from docnats.config import NatsConfig, ProcessingConfig, S3Config
from docnats.storage import ObjectStorage, S3Storage

__all__ = ["storage_for"]


def storage_for(
    s3: S3Config, nats: NatsConfig, processing: ProcessingConfig
) -> S3Storage | ObjectStorage:
    """Return S3, or the NATS Object Store where ``use_s3_storage`` is off; not yet open."""
    limit = processing.outage_limit
    if processing.use_s3_storage:
        return S3Storage(s3, outage_limit=limit)
    objects = NatsObjects(nats)
    return ObjectStorage(objects, read_buckets=s3.read_buckets, outage_limit=limit)
