"""Where the command line's log goes: stderr, for people or for programs."""

from __future__ import annotations

import logging
import sys

from docnats.config import LogFormat
from docnats.telemetry import JsonFormatter, TextFormatter

__all__ = ["log_to_stderr"]

_NOISY = ("aiobotocore", "asyncio", "boto3", "botocore", "httpcore2", "httpx2", "openai", "urllib3")


def log_to_stderr(log_format: LogFormat, level: int) -> None:
    """Log on stderr from now on, what docnats says from a level on.

    Parameters
    ----------
    level : int
        Of docnats; other libraries are heard from ``WARNING`` on, with ``DEBUG`` from there.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    others = logging.DEBUG if level == logging.DEBUG else logging.WARNING
    logging.basicConfig(level=others, handlers=[handler], force=True)
    logging.getLogger("docnats").setLevel(level)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
