"""What a log line is about, and log lines as JSON, without secrets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

__all__ = ["JsonFormatter", "TextFormatter", "about_job", "without_secrets"]

_about: ContextVar[Mapping[str, str]] = ContextVar("docnats_about", default={})  # noqa: B039 - never changed

_SECRETS = (
    # What makes a presigned URL one.
    (
        re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s'\"]+", re.IGNORECASE),
        r"\1***",
    ),
    (re.compile(r"([?&](?:Signature|AWSAccessKeyId)=)[^&\s'\"]+"), r"\1***"),
    # The credentials in nats://user:password@host and https://token@host.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s'\"@]+@", re.IGNORECASE), r"\1***@"),
)


def without_secrets(text: str) -> str:
    """Return a text with the secrets of URLs blotted out.

    docnats writes none into its log; a library that it uses may put one into an error.

    Examples
    --------
    >>> without_secrets("lost nats://ann:pw@nats.example.org:4222")
    'lost nats://***@nats.example.org:4222'
    """
    for secret, shown in _SECRETS:
        text = secret.sub(shown, text)
    return text


@contextmanager
def about_job(batch: str, job_id: str, trace_id: str | None = None) -> Iterator[None]:
    """Say what the log lines of this task, and of those it starts, are about."""
    fields = {"batch": batch, "job_id": job_id}
    token = _about.set(fields if trace_id is None else {**fields, "trace_id": trace_id})
    try:
        yield
    finally:
        _about.reset(token)


def _visible(char: str) -> str:
    return char if char.isprintable() else repr(char)[1:-1]


class TextFormatter(logging.Formatter):
    """Log lines for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return without_secrets(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the first line: a file's name cannot add another, nor speak to the terminal."""
        record.message = "".join(map(_visible, record.message))
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """Log lines for programs: one JSON object a record.

    Its fields are ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``; where they are
    known ``batch``, ``job_id``, ``trace_id``; and ``exception``, a traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        at = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        # In ASCII: what stderr cannot encode, Python would write in a way that is no JSON.
        return json.dumps({name: without_secrets(value) for name, value in fields.items()})
