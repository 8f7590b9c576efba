"""The commands about what is there: job tables, dead letters, health, archives."""

from __future__ import annotations

from typing import Annotated

import typer

from docnats.cli.options import Json, JsonObject
from docnats.cli.output import (
    err,
    print_batches,
    print_dead_letters,
    print_health,
    print_jobs,
    print_leftovers,
    print_receipt,
    print_verification,
)
from docnats.cli.status import EPILOG, ExitCode, exit_by_jobs
from docnats.models import JobState

__all__ = ["operations"]

operations = typer.Typer()


@operations.command(epilog=EPILOG)
def batches(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a batch.")] = False,
) -> None:
    """List the batches that there are, archived ones too, the newest first."""
    import docnats

    print_batches(docnats.batches(), as_json=as_json)


@operations.command(epilog=EPILOG)
def jobs(
    batch: Annotated[
        str | None, typer.Argument(help="One of `docnats batches`; by default all.")
    ] = None,
    *,
    state: Annotated[
        JobState | None,
        typer.Option(metavar="STATE", help=f"Only jobs in one state: {', '.join(JobState)}."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List jobs and their states."""
    import docnats

    table = docnats.jobs(batch)
    if batch is not None and table.empty:
        raise typer.BadParameter(f"there is no batch {batch!r}; `docnats batches` lists them")
    print_jobs(table if state is None else table[table.state == state], as_json=as_json)


@operations.command("dead-letters", epilog=EPILOG)
def dead_letters(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a dead letter.")
    ] = False,
) -> None:
    """List the job messages that no worker could settle, and why."""
    import docnats

    print_dead_letters(docnats.dead_letters(), as_json=as_json)


@operations.command(epilog=EPILOG)
def requeue(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="ID...", help="As `docnats dead-letters` lists.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
    as_json: Json = False,
) -> None:
    """Run dead letters again, as new jobs on the same documents.

    One that cannot run again stays among the dead letters, and the others go on;
    the exit status is 1 then, and 2 when none can.

      docnats requeue 7 8
      docnats requeue --all
    """
    import docnats
    from docnats.notebook.letters import run_again

    if bool(ids) == every:
        raise typer.BadParameter("give the ids of dead letters, or --all")
    letters = docnats.dead_letters()["id"].tolist() if every else ids or []
    if not letters:
        err.print("there are no dead letters")
        return
    refused: list[str] = []

    def refuse(refusal: str) -> None:
        refused.append(refusal)
        err.print(f"warning: {refusal}", markup=False)

    jobs = run_again(letters, on_refusal=refuse, wait=True, progress="text")
    print_jobs(jobs, as_json=as_json)
    if refused:
        raise typer.Exit(ExitCode.FAILED_JOBS)
    exit_by_jobs(jobs)


@operations.command(epilog=EPILOG)
def health(*, as_json: JsonObject = False) -> None:
    """Check S3, NATS and the workers by really using them; status 1 when one is not well."""
    import docnats

    report = docnats.health()
    print_health(report, as_json=as_json)
    if not report.healthy:
        raise typer.Exit(ExitCode.FAILED_JOBS)


@operations.command(epilog=EPILOG)
def gc(
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is found.")] = False,
    older_than: Annotated[
        str, typer.Option(help="Only what was last written longer ago, for example '7 days'.")
    ] = "24h",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a leftover.")
    ] = False,
) -> None:
    """Find what is in S3 and no job needs; delete it with --delete.

    Documents whose job was never sent or is not known, results of jobs that did
    not end well, uploads in parts that were never finished.

      docnats gc
      docnats gc --delete --older-than '7 days'
    """
    import docnats

    found = docnats.gc(delete=delete, older_than=older_than)
    print_leftovers(found, deleted=delete, as_json=as_json)


@operations.command(epilog=EPILOG)
def archive(
    batch: Annotated[str, typer.Argument(help="All its jobs must have ended.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt.")] = False,
) -> None:
    """Move a batch's job table out of NATS into S3, with a receipt of everything.

    `docnats jobs` and all else find it as before. Doing it again changes nothing.
    """
    import docnats

    print_receipt(docnats.archive(batch), as_json=as_json)


@operations.command(epilog=EPILOG)
def verify(
    batch: Annotated[str, typer.Argument(help="An archived batch.")],
    *,
    as_json: JsonObject = False,
) -> None:
    """Check an archived batch: status 1 if anything is gone or differs, and what it is."""
    import docnats

    outcome = docnats.verify(batch)
    print_verification(outcome, as_json=as_json)
    if not outcome.intact:
        raise typer.Exit(ExitCode.FAILED_JOBS)
