"""How long a corpus would take, before it is submitted."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from docnats.notebook.following import Interrupted, follow
from docnats.notebook.session import WORKER_START_SECONDS, current_session
from docnats.panel import Kind, check_kind
from docnats.processors import DEFAULT
from docnats.service import Estimate, Sources, with_password

__all__ = ["estimate"]

APPEAR_SECONDS = 10.0
"""How long any worker may: it announces itself every 5 s."""


def estimate(
    sources: Sources,
    *,
    sample: float = 0.01,
    seed: int = 0,
    password: str | None = None,
    processor: str = DEFAULT,
    options: Mapping[str, JsonValue] | None = None,
    timeout: float | None = None,
    progress: Kind = "auto",
) -> Estimate:
    """Process a few of many PDFs, and tell how all of them would go.

    The few are chosen from all sizes, more from those that weigh most. They are processed as a
    batch of their own, by the workers that live now; its results stay, and
    ``estimate.jobs.docnats.cleanup()`` deletes them. Nothing of the other documents is read or
    uploaded.

    Parameters
    ----------
    sources
        As of :func:`submit_many`.
    sample : float or int
        A part of the documents, at least 24 and three a parser; or a number of them. Where
        there are not so many, all are processed, and what is told is what happened.
    seed : int
        Another one chooses other documents; the same one the same.
    password, processor, options, timeout
        As of :func:`submit_many`.
    progress : {"auto", "widget", "text", "none"}
        A live widget in notebooks, a bar on stderr elsewhere.

    Returns
    -------
    Estimate
        ``seconds``, ``pages``, ``failure_rate`` and ``result_bytes`` of all documents, each
        with ``low``, ``likely`` and ``high``: in nine of ten cases it is between the outer
        ones. ``jobs`` is the table of those processed; ``to_dict()`` for JSON.

    Raises
    ------
    SourceError, ConfigError
        The sources or an argument cannot be used; nothing was uploaded.
    StackError
        There is no live worker; nothing was uploaded.
    DocnatsError
        None of the documents came to a worker.
    KeyboardInterrupt
        It was interrupted; the jobs are cancelled.

    Examples
    --------
    >>> expected = estimate("papers/**/*.pdf")  # doctest: +SKIP
    >>> expected.seconds.high / 3600, expected.failure_rate.likely  # doctest: +SKIP
    """
    check_kind(progress)
    session = current_session()
    service = session.service()
    how = with_password(options, password)
    wait = WORKER_START_SECONDS if session.home else APPEAR_SECONDS
    try:
        canary = session.run(
            service.canary(
                sources,
                sample=sample,
                seed=seed,
                processor=processor,
                options=how,
                timeout=timeout,
                wait=wait,
            )
        )
    except KeyboardInterrupt:
        raise Interrupted("nothing was submitted") from None
    follow(session, canary.batch, wait=True, progress=progress, on_interrupt="cancel")
    return session.run(service.judge(canary))
