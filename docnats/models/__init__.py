"""The records that travel: the control message, the state record, progress.

They are the public wire contract, JSON in UTF-8; workers in other languages may read and
write them. Unknown fields are ignored, so that a newer docnats can add some.
"""

from docnats.models.archive import ArchivedBatch, HashedObject, Receipt, Timings, Usage
from docnats.models.dead_letter import DeadLetter
from docnats.models.entries import KnownResult, Poison, SenderInfo, WorkerInfo
from docnats.models.health import Health, PartHealth
from docnats.models.job import ACTIVE, TERMINAL, JobRecord, JobState
from docnats.models.message import (
    SCHEMA_VERSION,
    SECRET_OPTIONS,
    DeadLetterKind,
    JobMessage,
    JobUrls,
)
from docnats.models.progress import (
    Outage,
    PageProgress,
    Progress,
    RunningJob,
    Unserved,
    WorkerActivity,
)
from docnats.models.record import utc_now
from docnats.models.stored import StoredObject, UnfinishedUpload

__all__ = [
    "ACTIVE",
    "SCHEMA_VERSION",
    "SECRET_OPTIONS",
    "TERMINAL",
    "ArchivedBatch",
    "DeadLetter",
    "DeadLetterKind",
    "HashedObject",
    "Health",
    "JobMessage",
    "JobRecord",
    "JobState",
    "JobUrls",
    "KnownResult",
    "Outage",
    "PageProgress",
    "PartHealth",
    "Poison",
    "Progress",
    "Receipt",
    "RunningJob",
    "SenderInfo",
    "StoredObject",
    "Timings",
    "UnfinishedUpload",
    "Unserved",
    "Usage",
    "WorkerActivity",
    "WorkerInfo",
    "utc_now",
]
