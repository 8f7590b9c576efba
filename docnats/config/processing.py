"""Settings of how documents are processed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from docnats.config.settings import GIB, MIB, Settings

__all__ = ["OUTAGE_LIMIT", "ProcessingConfig"]

OUTAGE_LIMIT = 300.0
"""Seconds: a server that is restarted, or a machine, is back by then."""


class ProcessingConfig(Settings):
    """How documents are processed.

    Parameters
    ----------
    timeout : float
        Seconds one document may take from submission to result when waited for alone,
        and the limit of its time on a worker; environment ``DOCNATS_TIMEOUT``.
    use_s3_storage : bool
        Documents and results are in S3; otherwise in the NATS Object Store, and there need be
        no S3. Clients and workers must agree. Environment ``USE_S3_STORAGE``.
    cleanup_on_error : bool
        A document that was waited for alone and failed leaves nothing in S3.
    presign : bool
        Put presigned URLs into the control message, for workers without credentials.
    max_file_size : int
        Bytes; larger files become failed rows of type ``too_large``.
    max_pages : int
        Documents with more pages become failed rows of type ``too_large``.
    pages_per_range : int
        Long documents are parsed in ranges of this many pages, on all local cores.
    memory_limit : int
        Bytes of address space of one parser process; more for processors that ask for it.
    max_uploads : int
        Files uploaded at a time.
    outage_limit : float
        Seconds that NATS or S3 may be out of reach before what a client has under way (a
        submission, a batch that is followed, results that are read) ends with an error;
        environment ``DOCNATS_OUTAGE_LIMIT``.
    reuse_results : bool
        Answer documents that were processed before from the earlier result.
    sandbox : {"auto", "require", "off"}
        Whether parser processes give up their rights to the network and to files; with
        ``require`` a worker does not start where the kernel lacks something; environment
        ``DOCNATS_SANDBOX``.
    sandbox_read : tuple of Path
        Files and folders that parser processes may read besides Python's and their own, for
        example a model's; environment ``DOCNATS_SANDBOX_READ``, separated as in ``PATH``.
    debug : bool
        Log more; environment ``DEBUG``.

    Examples
    --------
    >>> ProcessingConfig(timeout=60).cleanup_on_error
    True
    """

    timeout: float = Field(
        600, gt=0, le=7 * 24 * 3600, validation_alias=AliasChoices("DOCNATS_TIMEOUT")
    )
    use_s3_storage: bool = Field(True, validation_alias=AliasChoices("USE_S3_STORAGE"))
    cleanup_on_error: bool = True
    presign: bool = Field(False, validation_alias=AliasChoices("DOCNATS_PRESIGN"))
    max_file_size: int = Field(
        2 * GIB, ge=1, le=5 * 1024 * GIB, validation_alias=AliasChoices("DOCNATS_MAX_FILE_SIZE")
    )
    max_pages: int = Field(
        20_000, ge=1, le=10_000_000, validation_alias=AliasChoices("DOCNATS_MAX_PAGES")
    )
    pages_per_range: int = Field(
        48, ge=1, le=10_000, validation_alias=AliasChoices("DOCNATS_PAGES_PER_RANGE")
    )
    memory_limit: int = Field(
        2 * GIB, ge=512 * MIB, le=1024 * GIB, validation_alias=AliasChoices("DOCNATS_MEMORY_LIMIT")
    )
    max_uploads: int = Field(8, ge=1, le=256)
    outage_limit: float = Field(
        OUTAGE_LIMIT, gt=0, le=7 * 24 * 3600, validation_alias=AliasChoices("DOCNATS_OUTAGE_LIMIT")
    )
    reuse_results: bool = Field(True, validation_alias=AliasChoices("DOCNATS_REUSE_RESULTS"))
    sandbox: Literal["auto", "require", "off"] = Field(
        "auto", validation_alias=AliasChoices("DOCNATS_SANDBOX")
    )
    sandbox_read: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), validation_alias=AliasChoices("DOCNATS_SANDBOX_READ")
    )
    debug: bool = Field(False, validation_alias=AliasChoices("DEBUG"))

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.presign and not self.use_s3_storage:
            raise ValueError(
                "presign needs S3: the NATS Object Store has no presigned URLs; drop presign "
                "(DOCNATS_PRESIGN), or use_s3_storage=False (USE_S3_STORAGE)"
            )
        return self

    @field_validator("sandbox_read", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return list(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("sandbox_read")
    @classmethod
    def _check_paths(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        paths = tuple(path.expanduser() for path in value)
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise ValueError(f"must be files and folders that exist; not so: {', '.join(missing)}")
        return paths
