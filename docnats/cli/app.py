"""The commands; each imports what it needs only when it runs."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from docnats.cli.logs import log_to_stderr
from docnats.cli.operations import operations
from docnats.cli.options import (
    Json,
    JsonObject,
    MetricsPort,
    Options,
    Parsers,
    Password,
    Processor,
    Workers,
)
from docnats.cli.output import err, out, print_estimate, print_jobs, print_taste
from docnats.cli.status import EPILOG, ExitCode, exit_by_jobs
from docnats.config import LogFormat, ProcessingConfig, TelemetryConfig
from docnats.errors import BusError, DocnatsError, StackError, StorageError

if TYPE_CHECKING:
    from docnats.stack import LocalStack

__all__ = ["app", "main"]

app = typer.Typer(
    name="docnats",
    help="Turn piles of PDFs into DataFrames: a corpus in, a table out, nothing lost.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # What is still in its buffer would fail again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(error, ExitCode.FAILED_JOBS, config)
    except SystemExit as end:
        if end.code == ExitCode.INTERRUPTED:
            _close_interrupted_session()
        raise


def _fail(error: Exception, code: ExitCode, config: ProcessingConfig | None) -> None:
    if config is not None and config.debug:
        logging.getLogger(__name__).error("failed", exc_info=error)
    err.print(f"[red]error:[/] {escape(str(error))}")
    sys.exit(code)


def _close_interrupted_session() -> None:
    """Close it now: at the interpreter's end the threads are gone that what goes on needs."""
    from docnats.notebook.session import close_session

    with suppress(KeyboardInterrupt):  # again: the stack ends with this process all the same
        close_session()
    err.print("interrupted; what is on the queue stays there: docnats jobs")


def _level(config: ProcessingConfig, usual: int) -> int:
    return logging.DEBUG if config.debug else usual


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
    exit_by_jobs(jobs)


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

    asyncio.run(_keep_up(LocalStack.default(workers=workers, parsers=parsers)))


async def _keep_up(stack: LocalStack) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # By the loop: a handler of signal.signal may run while what it calls holds its lock.
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with stack:
        for name, value in stack.environment.items():
            out.print(f"export {name}={shlex.quote(value)}", markup=False, soft_wrap=True)
        err.print(f"running; data and logs in {stack.home}; Ctrl-C stops it")
        await stopped.wait()


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
            help="Use presigned URLs only, as with S3_USE_CREDENTIALS off.",
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
    from docnats.service.signing import run_signer

    log_to_stderr(TelemetryConfig().log_format, _level(ProcessingConfig(), logging.INFO))
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
    exit_by_jobs(jobs)


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
    as_json: JsonObject = False,
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


app.add_typer(operations)


@app.command()
def version() -> None:
    """Print the version."""
    import docnats

    out.print(docnats.__version__)


def _version_instead(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_version_instead
        ),
    ] = False,
) -> None:
    pass


def _short(path: Path | None) -> str:
    """Return a path as a shell shows it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path and path.is_relative_to(home) else str(path)
