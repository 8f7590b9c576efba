"""The worker side: pull a job, get its document, parse it, put the result, ack last."""

from docnats.worker.runtime import run_worker
from docnats.worker.worker import GRACE_SECONDS, Worker

__all__ = ["GRACE_SECONDS", "Worker", "run_worker"]
