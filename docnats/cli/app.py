"""The commands; each imports what it needs only when it runs."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import threading
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from docnats.cli.logs import log_to_stderr
from docnats.cli.options import Options, Processor
from docnats.cli.output import (
    err,
    out,
    print_dead_letters,
    print_estimate,
    print_health,
    print_jobs,
    print_leftovers,
    print_receipt,
    print_taste,
    print_verification,
)
from docnats.config import LogFormat, ProcessingConfig, TelemetryConfig
from docnats.errors import BusError, DocnatsError, StackError, StorageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExitCode", "app", "main"]


class ExitCode(IntEnum):
    """What the exit status of a command says."""

    OK = 0
    FAILED_JOBS = 1
    """Some jobs failed or were cancelled; or something is not healthy, or an archive damaged."""
    USAGE = 2
    """An argument, a setting or a source is wrong; nothing was started."""
    SERVERS = 3
    """NATS, S3 or the embedded stack could not be used."""
    INTERRUPTED = 130


EPILOG = (
    "Exit status: 0 all well; 1 some jobs failed, not healthy, or an archive is damaged; 2 wrong "
    "usage or sources; 3 servers cannot be used; 130 interrupted."
)

app = typer.Typer(
    name="docnats",
    help="Turn piles of PDFs into DataFrames: a corpus in, a table out, nothing lost.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a job row; bars and logs on stderr.")
]
Password = Annotated[
    str | None,
    typer.Option(envvar="DOCNATS_PASSWORD", help="Opens encrypted PDFs.", show_envvar=True),
]
Parsers = Annotated[
    int | None, typer.Option(min=1, help="Parser processes a worker; by default one a core.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Serve metrics there, at DOCNATS_METRICS_HOST or 127.0.0.1; 0 is any free port.",
    ),
]


def _workers(given: str) -> int | Literal["auto"]:
    """Read a number of workers."""
    if given == "auto":
        return "auto"
    if not given.isdecimal():
        raise typer.BadParameter(f"{given!r}: it is a number, 0 or more, or auto")
    return int(given)


Workers = Annotated[
    Any,
    typer.Option(
        parser=_workers,
        metavar="N|auto",
        help="Workers to start; [bold]auto[/]: as many as the jobs need, of one parser each.",
    ),
]


def main() -> None:
    """Run the command line and exit with its status."""
    config: ProcessingConfig | None = None
    try:
        config = ProcessingConfig()
        log_to_stderr(TelemetryConfig().log_format, _level(config, logging.WARNING))
        app()
    except (BusError, StorageError, StackError) as error:
        _fail(error, ExitCode.SERVERS, config)
    except DocnatsError as error:
        _fail(error, ExitCode.USAGE, config)
    except KeyboardInterrupt:
        err.print("interrupted; what is on the queue stays there: docnats jobs")
        sys.exit(ExitCode.INTERRUPTED)


def _fail(error: DocnatsError, code: ExitCode, config: ProcessingConfig | None) -> None:
    if config is not None and config.debug:
        logging.getLogger(__name__).error("failed", exc_info=error)
    err.print("[red]error:[/] ", end="")
    err.print(str(error), markup=False)
    sys.exit(code)


def _level(config: ProcessingConfig, usual: int) -> int:
    return logging.DEBUG if config.debug else usual


def _log_what_is_done() -> None:
    if logging.getLogger("docnats").level > logging.INFO:
        logging.getLogger("docnats").setLevel(logging.INFO)


@app.command(epilog=EPILOG)
def demo(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="PDFs, folders or globs; by default the samples that come along."),
    ] = None,
    *,
    password: Password = None,
    as_json: Json = False,
) -> None:
    """See it work: start the servers, process some PDFs, show table and text, stop again.

    Needs no set-up: a real NATS server, a real S3 server and a worker are
    started on this machine, on 127.0.0.1 only, and stopped at the end.
    Results are kept.

      docnats demo
      docnats demo papers/ 'more/**/*.pdf'
    """
    import docnats
    from docnats.notebook.session import Session, replace_session

    session = Session(embedded=True)
    replace_session(session)
    jobs = docnats.submit_many(paths or docnats.sample_paths(), password=password, progress="text")
    print_jobs(jobs, as_json=as_json)
    done = jobs[jobs.state == "done"]
    if not as_json:
        out.print(f"\n{len(done)} of {len(jobs)} documents, {done.pages.sum():,} pages. A taste:")
        print_taste(done.iloc[:4].docnats.text())
        out.print(
            f"\nResults: processed/<job_id>/ in the bucket "
            f"[bold]{session.service().storage.bucket}[/]; data in {_short(session.home)}\n"
            f'In Python: [bold]docnats.attach("{jobs.batch[0]}").docnats.words()[/]'
        )
    _exit_by_jobs(jobs)


@app.command(epilog=EPILOG)
def up(
    *,
    workers: Workers = "1",
    parsers: Parsers = None,
) -> None:
    """Run the embedded servers and workers in the foreground, until Ctrl-C.

    Prints the `export` lines that another shell needs to use them, credentials included.
    """
    from docnats.stack import LocalStack

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with LocalStack.default(workers=workers, parsers=parsers) as stack:
        for name, value in stack.environment.items():
            out.print(f"export {name}={shlex.quote(value)}", markup=False)
        err.print(f"running; data and logs in {stack.home}; Ctrl-C stops it")
        stopped.wait()


@app.command(epilog=EPILOG)
def worker(
    *,
    parsers: Parsers = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running jobs get after SIGTERM.")
    ] = 25,
    no_s3_credentials: Annotated[
        bool,
        typer.Option(
            "--no-s3-credentials",
            help="Use presigned URLs only; the same as S3_USE_CREDENTIALS=false.",
        ),
    ] = False,
    metrics_port: MetricsPort = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(help="Of the log on stderr; by default text, or DOCNATS_LOG_FORMAT."),
    ] = None,
) -> None:
    """Process jobs until SIGTERM or Ctrl-C, then finish or hand back what is at work.

    Reads NATS_URL, S3_ENDPOINT_URL, S3_BUCKET and the AWS credential chain; or
    NATS_URL alone, where USE_S3_STORAGE is false for clients and workers.
    Without S3 credentials it works by the URLs in its jobs (DOCNATS_PRESIGN=true
    on the client), and by those that clients and `docnats signer` sign.
    """
    import asyncio

    from docnats.config import S3Config
    from docnats.worker import run_worker

    given = {"metrics_port": metrics_port, "log_format": log_format}
    telemetry = TelemetryConfig().but(**{k: v for k, v in given.items() if v is not None})
    log_to_stderr(telemetry.log_format, _level(ProcessingConfig(), logging.INFO))
    s3 = S3Config(use_credentials=False) if no_s3_credentials else S3Config()
    asyncio.run(run_worker(s3, telemetry=telemetry, parsers=parsers, grace=grace))


@app.command(epilog=EPILOG)
def signer() -> None:
    """Sign URLs for workers without S3 credentials, until SIGTERM or Ctrl-C.

    Such a worker asks on NATS when the URLs in a job have expired or there are
    none. Only the job's own document and results are signed for. Several
    signers share the work. Needs S3 credentials, see deploy/iam/signer.json.

      docnats signer
    """
    import asyncio

    from docnats.service.signing import run_signer

    _log_what_is_done()
    asyncio.run(run_signer())


@app.command(epilog=EPILOG)
def submit(  # noqa: PLR0913 - a command's options
    paths: Annotated[list[str], typer.Argument(help="PDFs, folders, globs or s3:// URIs.")],
    *,
    batch: Annotated[str | None, typer.Option(help="A name for this submission.")] = None,
    password: Password = None,
    processor: Processor = "docling-parse",
    options: Options = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="What a language model is asked about each document's text."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds one document may take.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Process documents anew, whatever is known of them.")
    ] = False,
    metrics_port: MetricsPort = None,
    as_json: Json = False,
) -> None:
    """Process PDFs and print the table of their jobs.

    docnats submit papers/ --json | jq -r 'select(.state == "failed") | .filename'
    """
    import docnats

    if metrics_port is not None:
        err.print(f"metrics at {docnats.serve_metrics(metrics_port)}", markup=False)
    jobs = docnats.submit_many(
        paths,
        batch=batch,
        password=password,
        processor=processor,
        options=dict(options or ()),
        custom_prompt=prompt,
        timeout=timeout,
        force=force,
        progress="text",
    )
    print_jobs(jobs, as_json=as_json)
    _exit_by_jobs(jobs)


@app.command(epilog=EPILOG)
def estimate(
    paths: Annotated[list[str], typer.Argument(help="As of `docnats submit`.")],
    *,
    sample: Annotated[
        float, typer.Option(help="What to process: a part below 1, or a number of documents.")
    ] = 0.01,
    password: Password = None,
    processor: Processor = "docling-parse",
    options: Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Process a few of many PDFs and tell how long all would take, before submitting them.

    Also how many pages there are, how many documents fail, and how large the
    results are: as ranges that hold nine times in ten.

      docnats estimate papers/
      docnats estimate papers/ --sample 0.05 --json
    """
    import docnats

    count = int(sample) if sample >= 1 and sample.is_integer() else sample
    expected = docnats.estimate(
        paths,
        sample=count,
        password=password,
        processor=processor,
        options=dict(options or ()),
        progress="text",
    )
    print_estimate(expected, as_json=as_json)


@app.command(epilog=EPILOG)
def jobs(
    batch: Annotated[str | None, typer.Argument(help="One batch; by default all.")] = None,
    *,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs and their states."""
    import docnats
    from docnats.models import JobState

    if state is not None and state not in list(JobState):
        raise typer.BadParameter(f"--state is one of {', '.join(JobState)}")
    table = docnats.jobs(batch)
    print_jobs(table if state is None else table[table.state == state], as_json=as_json)


@app.command("dead-letters", epilog=EPILOG)
def dead_letters(*, as_json: Json = False) -> None:
    """List the job messages that no worker could settle, and why."""
    import docnats

    print_dead_letters(docnats.dead_letters(), as_json=as_json)


@app.command(epilog=EPILOG)
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
    the exit status is 1 then.

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
    _exit_by_jobs(jobs)


@app.command(epilog=EPILOG)
def health(*, as_json: Json = False) -> None:
    """Check S3, NATS and the workers by really using them; status 1 when one is not well."""
    import docnats

    report = docnats.health()
    print_health(report, as_json=as_json)
    if not report.healthy:
        raise typer.Exit(ExitCode.FAILED_JOBS)


@app.command(epilog=EPILOG)
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


@app.command(epilog=EPILOG)
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


@app.command(epilog=EPILOG)
def verify(
    batch: Annotated[str, typer.Argument(help="An archived batch.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check an archived batch: status 1 if anything is gone or differs, and what it is."""
    import docnats

    outcome = docnats.verify(batch)
    print_verification(outcome, as_json=as_json)
    if not outcome.intact:
        raise typer.Exit(ExitCode.FAILED_JOBS)


@app.command()
def version() -> None:
    """Print the version."""
    import docnats

    out.print(docnats.__version__)


def _short(path: Path | None) -> str:
    """Return a path as a shell shows it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path and path.is_relative_to(home) else str(path)


def _exit_by_jobs(jobs: pd.DataFrame) -> None:
    if not (jobs.state == "done").all():
        raise typer.Exit(ExitCode.FAILED_JOBS)
