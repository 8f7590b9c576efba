"""The S3 port: documents and results, streamed, with bounded memory and clear errors."""

from docnats.storage.allowlist import Allowlist
from docnats.storage.patient import PatientStorage
from docnats.storage.port import Storage, StoredObject, UnfinishedUpload
from docnats.storage.presigned import PresignedHttp, expired
from docnats.storage.s3 import S3Storage

__all__ = [
    "Allowlist",
    "PatientStorage",
    "PresignedHttp",
    "S3Storage",
    "Storage",
    "StoredObject",
    "UnfinishedUpload",
    "expired",
]
