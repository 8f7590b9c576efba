"""Turn piles of PDFs into DataFrames: S3 + NATS JetStream + docling-parse.

>>> import docnats
>>> jobs = docnats.submit_many("papers/**/*.pdf")  # doctest: +SKIP
>>> jobs.docnats.words()  # doctest: +SKIP

Names are loaded at their first use, so that ``import docnats`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from docnats import chaos as chaos
    from docnats.config import NatsConfig, ProcessingConfig, S3Config, StackConfig
    from docnats.errors import (
        BusError,
        ConfigError,
        DocnatsError,
        ErrorType,
        JobFailed,
        JobTimeout,
        ParseError,
        SourceError,
        StackError,
        StorageError,
    )
    from docnats.models import JobMessage, JobRecord, JobState, Receipt
    from docnats.notebook import (
        allow_nested_asyncio,
        archive,
        attach,
        batches,
        configure_nats,
        configure_s3_storage,
        create_document_service,
        dataset,
        dead_letters,
        estimate,
        gc,
        health,
        jobs,
        process_pdf_with_s3_sync,
        requeue,
        sample_paths,
        serve_metrics,
        submit_many,
        verify,
    )
    from docnats.service import (
        DocumentResult,
        Estimate,
        Health,
        S3DocumentClient,
        S3DocumentService,
        Verification,
    )
    from docnats.stack import LocalStack

_HOMES = {
    "docnats.config": ("NatsConfig", "ProcessingConfig", "S3Config", "StackConfig"),
    "docnats.errors": (
        "BusError",
        "ConfigError",
        "DocnatsError",
        "ErrorType",
        "JobFailed",
        "JobTimeout",
        "ParseError",
        "SourceError",
        "StackError",
        "StorageError",
    ),
    "docnats.models": ("JobMessage", "JobRecord", "JobState", "Receipt"),
    "docnats.notebook": (
        "allow_nested_asyncio",
        "archive",
        "attach",
        "batches",
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
    ),
    "docnats.service": (
        "DocumentResult",
        "Estimate",
        "Health",
        "S3DocumentClient",
        "S3DocumentService",
        "Verification",
    ),
    "docnats.stack": ("LocalStack",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BusError",
    "ConfigError",
    "DocnatsError",
    "DocumentResult",
    "ErrorType",
    "Estimate",
    "Health",
    "JobFailed",
    "JobMessage",
    "JobRecord",
    "JobState",
    "JobTimeout",
    "LocalStack",
    "NatsConfig",
    "ParseError",
    "ProcessingConfig",
    "Receipt",
    "S3Config",
    "S3DocumentClient",
    "S3DocumentService",
    "SourceError",
    "StackConfig",
    "StackError",
    "StorageError",
    "Verification",
    "allow_nested_asyncio",
    "archive",
    "attach",
    "batches",
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


def _give_frames_an_accessor(pandas: Any) -> None:
    """Register ``.docnats``, in the order of imports that the user happens to have."""
    register = pandas.api.extensions.register_dataframe_accessor("docnats")
    register(lambda frame: importlib.import_module("docnats.notebook").JobsAccessor(frame))


register_post_import_hook(_give_frames_an_accessor, "pandas")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("docnats")
    if name == "chaos":
        return importlib.import_module("docnats.chaos")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'docnats' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "chaos"])
