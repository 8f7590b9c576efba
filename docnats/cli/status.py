"""Exit statuses."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EPILOG", "ExitCode", "exit_by_jobs"]


class ExitCode(IntEnum):
    """What the exit status of a command says."""

    OK = 0
    FAILED_JOBS = 1
    """Some jobs failed or were cancelled; or something is not healthy, or an archive damaged.

    Also when the output cannot be written.
    """
    USAGE = 2
    """An argument, a setting or a source is wrong; nothing was started."""
    SERVERS = 3
    """NATS, S3 or the embedded stack could not be used."""
    INTERRUPTED = 130


EPILOG = (
    "Exit status: 0 all well; 1 some jobs failed, not healthy, or an archive is damaged; 2 wrong "
    "usage or sources; 3 servers cannot be used; 130 interrupted."
)


def exit_by_jobs(jobs: pd.DataFrame) -> None:
    """End with the status that says whether all jobs are done."""
    if not (jobs.state == "done").all():
        raise typer.Exit(ExitCode.FAILED_JOBS)
