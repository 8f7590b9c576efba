"""The storage port, on S3 or the NATS Object Store.

Documents and results are streamed, with bounded memory and clear errors.
"""

from docnats.models import StoredObject, UnfinishedUpload
from docnats.storage.allowlist import Allowlist
from docnats.storage.objects import ObjectBucket, ObjectStorage
from docnats.storage.patient import PatientStorage
from docnats.storage.port import Storage
from docnats.storage.presigned import PresignedHttp, expired
from docnats.storage.s3 import S3Storage

__all__ = [
    "Allowlist",
    "ObjectBucket",
    "ObjectStorage",
    "PatientStorage",
    "PresignedHttp",
    "S3Storage",
    "Storage",
    "StoredObject",
    "UnfinishedUpload",
    "expired",
]
