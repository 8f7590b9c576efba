"""The blocking functions people call in a notebook or script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from pydantic import JsonValue

from docnats.config import NatsConfig, ProcessingConfig, S3Config, TelemetryConfig
from docnats.errors import ConfigError
from docnats.notebook.following import Interrupted, OnInterrupt, follow
from docnats.notebook.session import (
    WORKER_START_SECONDS,
    Session,
    current_session,
    replace_session,
)
from docnats.panel import Kind, check_kind
from docnats.processors import DEFAULT
from docnats.service import DocumentResult, Health, S3DocumentService, Sources, with_password

__all__ = [
    "allow_nested_asyncio",
    "configure_nats",
    "configure_s3_storage",
    "create_document_service",
    "health",
    "process_pdf_with_s3_sync",
    "sample_paths",
    "serve_metrics",
    "submit_many",
]


def submit_many(  # noqa: PLR0913 - most calls give one or two
    sources: Sources,
    *,
    wait: bool = True,
    batch: str | None = None,
    password: str | None = None,
    processor: str = DEFAULT,
    options: Mapping[str, JsonValue] | None = None,
    timeout: float | None = None,
    custom_prompt: str | None = None,
    force: bool = False,
    on_interrupt: OnInterrupt = "continue",
    progress: Kind = "auto",
) -> pd.DataFrame:
    """Process many PDFs and return the table of their jobs.

    Without ``NATS_URL`` and ``S3_ENDPOINT_URL`` in the environment, docnats starts a NATS
    server, an S3 server and a worker on this machine, and keeps their data.

    Parameters
    ----------
    sources
        A path, a glob, a directory (its ``*.pdf`` at any depth), an ``s3://`` URI or prefix,
        ``(name, bytes)``, a mapping of names to bytes, or a list or Series of these.
    wait : bool
        Return when every job has ended; otherwise at once, and uploading goes on in the
        background for as long as this process lives.
    batch : str, optional
        A name for this submission; by default one made of the time.
    password : str, optional
        Opens encrypted PDFs; the others of the batch are not harmed.
    processor : str
        What to put the documents through: ``"docling-parse"`` (words with boxes),
        ``"pypdfium2"`` (plain text, about ten times as fast), or that of a plugin.
    options : mapping, optional
        The processor's options.
    timeout : float, optional
        Seconds one document may take on a worker; by default ``ProcessingConfig.timeout``.
    custom_prompt : str, optional
        What a language model is asked about each document's text: ``prompt_output`` of the
        result. Refused where no worker has one.
    force : bool
        Process documents anew whatever is known of them. Without it, a local file that was
        processed before, in the same way, is done at once with the earlier result and not
        uploaded; one that killed the parser fails at once, until docling-parse is updated.
    on_interrupt : {"continue", "cancel"}
        What becomes of the batch when the waiting is interrupted (the kernel's stop button,
        Ctrl-C): it goes on in the background, or its jobs are cancelled.
    progress : {"auto", "widget", "text", "none"}
        A live widget in notebooks, a bar on stderr elsewhere.

    Returns
    -------
    pandas.DataFrame
        One row a job in the order of the sources: ``job_id, batch, filename, state, pages,
        pages_failed, bytes, attempt, worker, error_type, error, submitted_at, started_at,
        finished_at, seconds, sha256, result_key, reused_from``. A document that cannot be
        processed is a row whose ``state`` is ``failed``, never an exception.

    Raises
    ------
    SourceError
        A file is missing, or there is nothing to submit; nothing was uploaded then.
    ConfigError
        There is no such processor or option; nothing was uploaded.
    StackError, StorageError, BusError
        The servers cannot be used; the message says what to do.
    KeyboardInterrupt
        The waiting was interrupted; the message says what goes on and how to get back to it.

    Examples
    --------
    >>> jobs = submit_many("papers/**/*.pdf")  # doctest: +SKIP
    >>> jobs[jobs.state == "done"].docnats.words()  # doctest: +SKIP
    """
    if on_interrupt not in get_args(OnInterrupt):
        raise ConfigError(f"on_interrupt={on_interrupt!r}: it is 'continue' or 'cancel'")
    check_kind(progress)
    session = current_session()
    try:
        submission = session.service().submit(
            sources,
            batch=batch,
            processor=processor,
            options=with_password(options, password),
            timeout=timeout,
            custom_prompt=custom_prompt,
            force=force,
        )
        submitted = session.run(submission)
    except KeyboardInterrupt:
        raise Interrupted("nothing was submitted") from None
    return follow(session, submitted, wait=wait, progress=progress, on_interrupt=on_interrupt)


def health() -> Health:
    """Check the storage, NATS and the workers, each by really using it.

    A server that cannot be used is told of, not raised.

    Raises
    ------
    StackError
        The embedded servers could not be started.

    Examples
    --------
    >>> health().healthy  # doctest: +SKIP
    True
    """
    session = current_session()
    service = S3DocumentService(*session.endpoints(), session.processing)
    wait = WORKER_START_SECONDS if session.home else 0
    return session.run(service.health_check(wait=wait))


def serve_metrics(port: int, *, host: str | None = None) -> str:
    """Count what this process submits from now on, and serve it to Prometheus.

    It goes on for as long as this process lives, also when other servers are configured.

    Parameters
    ----------
    port : int
        0 takes any that is free.
    host : str, optional
        The address to listen at; by default ``DOCNATS_METRICS_HOST``, else 127.0.0.1. Whoever
        reaches it may read the metrics.

    Returns
    -------
    str
        Where the metrics are.

    Raises
    ------
    ConfigError
        It cannot listen there, for example because another process does.

    Examples
    --------
    >>> serve_metrics(9465)  # doctest: +SKIP
    'http://127.0.0.1:9465/metrics'
    """
    return current_session().serve_metrics(host or TelemetryConfig().metrics_host, port)


def configure_s3_storage(
    endpoint_url: str | None = None,
    bucket_name: str = "documents",
    **settings: Any,
) -> S3Config:
    """Use this S3 server from now on in this process.

    Parameters
    ----------
    endpoint_url, bucket_name, **settings
        The fields of :class:`~docnats.S3Config`.

    Returns
    -------
    S3Config
        The settings in force.

    Raises
    ------
    ConfigError
        A setting is wrong, or ``USE_S3_STORAGE`` is false; the earlier ones stay in force.

    Examples
    --------
    >>> configure_s3_storage("http://127.0.0.1:9000", bucket_name="papers")  # doctest: +SKIP
    """
    config = S3Config(endpoint_url=endpoint_url, bucket_name=bucket_name, **settings)
    session = current_session()
    if not session.processing.use_s3_storage:
        raise ConfigError(
            "documents are kept in the NATS Object Store (USE_S3_STORAGE=false), so that no S3 "
            "server is used: unset USE_S3_STORAGE"
        )
    replace_session(session.but(s3=config))
    return config


def configure_nats(servers: str, **settings: Any) -> NatsConfig:
    """Use this NATS server or cluster from now on in this process.

    Parameters
    ----------
    servers, **settings
        The fields of :class:`~docnats.NatsConfig`.

    Returns
    -------
    NatsConfig
        The settings in force.

    Raises
    ------
    ConfigError
        A setting is wrong; the earlier ones stay in force.

    Examples
    --------
    >>> configure_nats("nats://10.0.0.1:4222,nats://10.0.0.2:4222")  # doctest: +SKIP
    """
    config = NatsConfig(servers=servers, **settings)
    replace_session(current_session().but(nats=config))
    return config


def create_document_service(
    use_s3: bool | None = None,
    *,
    s3_config: S3Config | None = None,
    nats_config: NatsConfig | None = None,
    processing_config: ProcessingConfig | None = None,
) -> S3DocumentService:
    """Return a service to be used with ``async with`` on the caller's own event loop.

    Parameters
    ----------
    use_s3 : bool, optional
        Documents and results are in S3; otherwise in the NATS Object Store. By default
        ``USE_S3_STORAGE``. The workers must be told the same.
    s3_config, nats_config, processing_config : optional
        Settings; by default those of this process's session, whose embedded servers are
        started when neither is configured.

    Raises
    ------
    ConfigError
        The embedded servers of this session run already, and keep documents elsewhere.

    Examples
    --------
    >>> async with create_document_service() as service:  # doctest: +SKIP
    ...     result = await service.process_document("report.pdf")
    """
    session = current_session()
    processing = processing_config or session.processing
    if use_s3 is not None:
        processing = processing.but(use_s3_storage=use_s3)
    use_s3 = processing.use_s3_storage
    if nats_config is None or (s3_config is None and use_s3):
        s3, nats = _session_using(session, use_s3=use_s3).endpoints()
        s3_config, nats_config = s3_config or s3, nats_config or nats
    return S3DocumentService(s3_config, nats_config, processing)


def _session_using(session: Session, *, use_s3: bool) -> Session:
    """Return the session, or one in its place that keeps documents where they are wanted."""
    if session.processing.use_s3_storage == use_s3:
        return session
    if session.stack is not None:
        raise ConfigError(
            f"use_s3={use_s3}: the embedded servers of this process run already, with workers that "
            "keep documents elsewhere. Set USE_S3_STORAGE before the first call, or start a "
            "LocalStack(use_s3=…) and give its .nats"
        )
    other = session.but(processing=session.processing.but(use_s3_storage=use_s3))
    replace_session(other)
    return other


def process_pdf_with_s3_sync(
    path: str | os.PathLike[str],
    config_override: ProcessingConfig | Mapping[str, Any] | None = None,
    custom_prompt: str | None = None,
    *,
    timeout: float | None = None,
    password: str | None = None,
    processor: str = DEFAULT,
    options: Mapping[str, JsonValue] | None = None,
    force: bool = False,
) -> DocumentResult:
    """Process one PDF and return its result; for scripts, cells and threads alike.

    Parameters
    ----------
    path : path
        A local PDF or an ``s3://`` URI.
    config_override : ProcessingConfig or mapping, optional
        Settings for this call, or those that differ from the session's.
    custom_prompt : str, optional
        What a language model is asked about each document's text: ``prompt_output`` of the
        result. Refused where no worker has one.
    timeout : float, optional
        Seconds to wait; by default ``ProcessingConfig.timeout``.
    password : str, optional
        Opens an encrypted PDF.
    processor, options
        As of :func:`submit_many`.
    force : bool
        Process it anew even if its result is known, or that it kills the parser.

    Returns
    -------
    DocumentResult
        ``.pages``, ``.words``, ``.text``, ``.to_dict()``.

    Raises
    ------
    SourceError, JobFailed, JobTimeout
        See :meth:`S3DocumentService.process_document`; ``JobTimeout`` is a ``TimeoutError``.

    Examples
    --------
    >>> process_pdf_with_s3_sync("report.pdf", {"timeout": 60}).text  # doctest: +SKIP
    """
    session = current_session()
    config = session.processing
    if isinstance(config_override, ProcessingConfig):
        config = config_override
    elif config_override is not None:
        config = config.but(**config_override)
    service = session.service().using(config)
    return session.run(
        service.process_document(
            path,
            timeout=timeout,
            password=password,
            processor=processor,
            options=options,
            custom_prompt=custom_prompt,
            force=force,
        )
    )


def sample_paths() -> list[Path]:
    """Return the PDFs that come with docnats, for trying it out.

    Examples
    --------
    >>> len(sample_paths()) >= 12
    True
    """
    return sorted(Path(str(files("docnats") / "samples")).glob("*.pdf"))


def allow_nested_asyncio() -> None:
    """Let code in this process call ``asyncio.run()`` under a running loop.

    docnats itself never needs it. It patches asyncio for the whole process, through
    nest-asyncio2, for user code that must call ``asyncio.run()`` in a notebook cell.

    Raises
    ------
    ConfigError
        The running loop cannot be patched (uvloop).
    """
    import nest_asyncio2

    try:
        nest_asyncio2.apply()
    except ValueError as error:
        raise ConfigError(f"the running event loop cannot be nested: {error}") from error
