"""The plain HTTP client, for requests that need nothing of an S3 client."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from docnats.config import S3Config

if TYPE_CHECKING:
    import aiohttp

__all__ = ["is_local", "open_session"]


async def open_session(config: S3Config) -> aiohttp.ClientSession:
    """Return an HTTP session with the limits and certificates of the S3 settings."""
    import aiohttp

    trusted = await asyncio.to_thread(ssl.create_default_context, cafile=config.ca_bundle)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=config.max_concurrency, ssl=trusted),
        timeout=aiohttp.ClientTimeout(
            sock_connect=config.connect_timeout, sock_read=config.read_timeout
        ),
        trust_env=not is_local(config.endpoint_url),
    )


def is_local(url: str | None) -> bool:
    """Tell whether a URL leads to this machine, where no proxy can be on the way."""
    host = urlsplit(url).hostname if url else None
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
