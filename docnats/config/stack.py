"""Settings of the embedded stack."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import AliasChoices, Field, field_validator

from docnats.config.settings import Settings, existing_file

__all__ = ["StackConfig"]


class StackConfig(Settings):
    """The embedded stack: where it lives and which server binaries it uses.

    Parameters
    ----------
    home : Path, optional
        Data and logs of the default stack, by default below the user's data directory;
        environment ``DOCNATS_HOME``.
    nats_server, s3_server : Path, optional
        Binaries to use, by default those found; environment ``DOCNATS_NATS_SERVER``
        and ``DOCNATS_S3_SERVER``.
    start_timeout : float
        Seconds to wait for the servers to answer.
    """

    home: Path | None = Field(None, validation_alias=AliasChoices("DOCNATS_HOME"))
    nats_server: Path | None = Field(None, validation_alias=AliasChoices("DOCNATS_NATS_SERVER"))
    s3_server: Path | None = Field(None, validation_alias=AliasChoices("DOCNATS_S3_SERVER"))
    start_timeout: float = Field(60, gt=0, le=600)

    @field_validator("home")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else None

    @field_validator("nats_server", "s3_server")
    @classmethod
    def _check_binary(cls, value: Path | None) -> Path | None:
        checked = existing_file(value)
        if checked is not None and not os.access(checked, os.X_OK):
            raise ValueError("must be an executable file")
        return checked
