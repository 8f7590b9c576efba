"""Fresh ids."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime

__all__ = ["new_batch_id", "new_canary_id", "new_job_id", "new_upload_id", "new_watcher"]


def new_upload_id() -> str:
    """Return a fresh name for the chunks of one object in the NATS Object Store."""
    return uuid.uuid4().hex


def new_job_id() -> str:
    """Return a fresh job id: 32 hexadecimal digits; it is also the ``request_id``."""
    return uuid.uuid4().hex


def new_batch_id() -> str:
    """Return a fresh batch id that sorts by time, for example ``20260131-094500-3f9a1c``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_canary_id() -> str:
    """Return a fresh id of a batch that is processed to tell how others will go."""
    return f"canary-{new_batch_id()}"


def new_watcher() -> str:
    """Return a fresh name for the short-lived consumer of one reader of a bucket."""
    return f"watch-{uuid.uuid4().hex}"
