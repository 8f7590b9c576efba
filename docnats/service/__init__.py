"""The client side: upload, publish, follow, fetch, clean up."""

from docnats.service.batch import Batch
from docnats.service.client import S3DocumentClient
from docnats.service.results import DocumentResult
from docnats.service.service import Health, PartHealth, S3DocumentService
from docnats.service.sources import Sources

__all__ = [
    "Batch",
    "DocumentResult",
    "Health",
    "PartHealth",
    "S3DocumentClient",
    "S3DocumentService",
    "Sources",
]
