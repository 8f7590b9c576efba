"""What a notebook or script uses: blocking calls, the DataFrame accessor, the session."""

from docnats.notebook.accessor import JobsAccessor
from docnats.notebook.api import (
    allow_nested_asyncio,
    configure_nats,
    configure_s3_storage,
    create_document_service,
    health,
    process_pdf_with_s3_sync,
    sample_paths,
    serve_metrics,
    submit_many,
)
from docnats.notebook.archiving import archive, verify
from docnats.notebook.cleaning import gc
from docnats.notebook.estimating import estimate
from docnats.notebook.history import attach, batches, dataset, jobs
from docnats.notebook.letters import dead_letters, requeue
from docnats.notebook.session import close_session

__all__ = [
    "JobsAccessor",
    "allow_nested_asyncio",
    "archive",
    "attach",
    "batches",
    "close_session",
    "configure_nats",
    "configure_s3_storage",
    "create_document_service",
    "dataset",
    "dead_letters",
    "estimate",
    "gc",
    "health",
    "jobs",
    "process_pdf_with_s3_sync",
    "requeue",
    "sample_paths",
    "serve_metrics",
    "submit_many",
    "verify",
]
