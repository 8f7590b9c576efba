"""What can stand as one part of a NATS subject, of a KV key and of an S3 key."""

from __future__ import annotations

import re

from docnats.errors import ConfigError

__all__ = ["TOKEN", "token", "valid_token"]

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def valid_token(text: str) -> bool:
    """Tell whether a text can stand as one part of a NATS subject and of a KV key."""
    return TOKEN.fullmatch(text) is not None


def token(text: str) -> str:
    """Return a text that is valid; ``ConfigError`` for another one."""
    if not valid_token(text):
        raise ConfigError(f"{text!r}: a name is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")
    return text
