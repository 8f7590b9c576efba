"""What a notebook or script uses: blocking calls, the DataFrame accessor, the session."""

from docnats.notebook import accessor as _accessor  # noqa: F401 - registers `.docnats`
from docnats.notebook.api import (
    allow_nested_asyncio,
    attach,
    configure_s3_storage,
    create_document_service,
    health,
    jobs,
    process_pdf_with_s3_sync,
    sample_paths,
    submit_many,
)
from docnats.notebook.session import close_session

__all__ = [
    "allow_nested_asyncio",
    "attach",
    "close_session",
    "configure_s3_storage",
    "create_document_service",
    "health",
    "jobs",
    "process_pdf_with_s3_sync",
    "sample_paths",
    "submit_many",
]
