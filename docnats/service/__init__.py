"""The client side: upload, publish, follow, fetch, clean up."""

from docnats.models import Health, PartHealth
from docnats.service.batch import Batch
from docnats.service.canary import Canary
from docnats.service.choice import with_password
from docnats.service.client import S3DocumentClient
from docnats.service.dataset import Part
from docnats.service.estimate import Estimate, Range
from docnats.service.explain import Explanation, failure_of
from docnats.service.history import BatchSummary, JobKey, key_of
from docnats.service.leftovers import Leftover, LeftoverKind
from docnats.service.requeue import Requeued
from docnats.service.results import DocumentResult
from docnats.service.retry import retryable
from docnats.service.service import S3DocumentService
from docnats.service.sources import Sources
from docnats.service.verify import Mismatch, Verification

__all__ = [
    "Batch",
    "BatchSummary",
    "Canary",
    "DocumentResult",
    "Estimate",
    "Explanation",
    "Health",
    "JobKey",
    "Leftover",
    "LeftoverKind",
    "Mismatch",
    "Part",
    "PartHealth",
    "Range",
    "Requeued",
    "S3DocumentClient",
    "S3DocumentService",
    "Sources",
    "Verification",
    "failure_of",
    "key_of",
    "retryable",
    "with_password",
]
