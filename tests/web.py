"""Asks HTTP servers of the machine itself."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen

__all__ = ["get"]


def get(url: str, timeout: float = 30) -> tuple[int, bytes]:
    """Return the status and the body of a page, whatever the status is."""
    try:
        with urlopen(url, timeout=timeout) as answer:  # noqa: S310 - of a test's own server
            return answer.status, answer.read()
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()
