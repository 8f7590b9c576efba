"""Every S3 key, NATS subject, stream, consumer and bucket name docnats uses.

No other module spells one out. A *namespace* separates independent installations on
one NATS cluster; a *batch* is one submission; a *job* is one document.
"""

from docnats.names.ids import (
    new_batch_id,
    new_canary_id,
    new_job_id,
    new_upload_id,
    new_watcher,
)
from docnats.names.keys import (
    ARCHIVE_PREFIX,
    ARCHIVE_TABLE,
    DOCUMENT,
    PAGES,
    PROBE_PREFIX,
    RAW_PREFIX,
    RESULT_PARTS,
    RESULT_PREFIX,
    WORDS,
    archived_batch,
    kept_in_nats,
    known_key,
    owner,
    part_key,
    poison_key,
    probe_key,
    raw_key,
    result_key,
    result_part,
    where,
)
from docnats.names.namespace import (
    PRIORITY,
    SIGNERS,
    Names,
)
from docnats.names.objects import (
    ObjectNames,
    valid_bucket,
)
from docnats.names.tokens import (
    valid_token,
)

__all__ = [
    "ARCHIVE_PREFIX",
    "ARCHIVE_TABLE",
    "DOCUMENT",
    "PAGES",
    "PRIORITY",
    "PROBE_PREFIX",
    "RAW_PREFIX",
    "RESULT_PARTS",
    "RESULT_PREFIX",
    "SIGNERS",
    "WORDS",
    "Names",
    "ObjectNames",
    "archived_batch",
    "kept_in_nats",
    "known_key",
    "new_batch_id",
    "new_canary_id",
    "new_job_id",
    "new_upload_id",
    "new_watcher",
    "owner",
    "part_key",
    "poison_key",
    "probe_key",
    "raw_key",
    "result_key",
    "result_part",
    "valid_bucket",
    "valid_token",
    "where",
]
