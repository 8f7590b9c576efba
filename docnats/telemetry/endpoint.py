"""A small HTTP server for metrics and health, on the event loop that it tells of."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from docnats.errors import ConfigError
from docnats.models import Health

__all__ = ["Endpoint", "Page", "Response", "alive", "health_response"]

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
"""How long a request may take to arrive, and its answer to be taken."""

LONGEST_REQUEST = 16 * 1024
"""Bytes of a request with all its headers."""

CLOSE_SECONDS = 1.0
"""How long answers that are on their way get when the server is closed."""

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Response(NamedTuple):
    """An answer to a GET."""

    status: int
    content_type: str
    body: bytes


Page = Callable[[str], Awaitable[Response]]
"""Makes an answer; it is given the request's ``Accept`` header, or nothing."""


class Endpoint:
    """Serves some pages by HTTP; an async context manager.

    Whoever reaches the port may read them: bind it to an address that only monitoring reaches.

    Parameters
    ----------
    host : str
        The address to listen at.
    port : int
        0 takes any that is free.
    pages : mapping
        By their paths.

    Raises
    ------
    ConfigError
        On entering: it cannot listen there.

    Examples
    --------
    >>> async with Endpoint("127.0.0.1", 0, {"/healthz": alive}) as endpoint:  # doctest: +SKIP
    ...     print(endpoint.url)
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self._host = host
        self._port = port
        self._pages = dict(pages)
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        """The address that it listens at."""
        return self._host

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._port

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(
                self._connected, self._host, self._port, limit=LONGEST_REQUEST
            )
        except (OSError, UnicodeError) as error:
            raise ConfigError(_explain(error, self._host, self._port)) from error
        self._port = self._server.sockets[0].getsockname()[1]
        log.info("%s at %s", ", ".join(self._pages), self.url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        if self._answering:
            await asyncio.wait(self._answering, timeout=CLOSE_SECONDS)
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._answering.add(task)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            response = await self._respond(head)
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(response)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as e:
            log.debug("a request to %s came to nothing: %r", self.url, e)
        finally:
            self._answering.discard(task)
            writer.close()

    async def _respond(self, head: bytes) -> bytes:
        line, *headers = head.decode("latin-1").split("\r\n")
        method, _, rest = line.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            return _encode(Response(400, TEXT, b"not an HTTP/1 request\n"))
        page = self._pages.get(target.partition("?")[0])
        if page is None:
            response = Response(404, TEXT, f"here are {', '.join(self._pages)}\n".encode())
        elif method not in ("GET", "HEAD"):
            response = Response(405, TEXT, b"only GET and HEAD\n")
        else:
            response = await self._make(page, _header(headers, "accept"))
        return _encode(response, with_body=method != "HEAD")

    async def _make(self, page: Page, accept: str) -> Response:
        try:
            return await page(accept)
        except Exception:
            log.exception("a page of %s cannot be made", self.url)
            return Response(500, TEXT, b"it failed; the log says why\n")


async def alive(accept: str) -> Response:
    """Answer that the event loop turns, which the answer itself shows."""
    return Response(200, TEXT, b"ok\n")


def health_response(health: Health) -> Response:
    """Return a health check as JSON, with status 503 unless all is well."""
    status = 200 if health.healthy else 503
    return Response(status, JSON, json.dumps(health.to_dict()).encode() + b"\n")


def _header(lines: list[str], name: str) -> str:
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


def _encode(response: Response, *, with_body: bool = True) -> bytes:
    allow = "Allow: GET, HEAD\r\n" if response.status == 405 else ""
    head = (
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\n"
        f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n"
        f"{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (response.body if with_body else b"")


def _explain(error: OSError | UnicodeError, host: str, port: int) -> str:
    where = f"metrics_port={port} (environment: DOCNATS_METRICS_PORT)"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            f"{where}: another process listens at {host}:{port}; choose another port, or 0 for "
            "any that is free, and one of its own for each worker of a machine"
        )
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return f"{where}: this user may not listen at {host}:{port}; choose a port over 1023"
    return (
        f"{where}: cannot listen at {host}:{port}: {error}; metrics_host is an address of this "
        "machine (environment: DOCNATS_METRICS_HOST)"
    )
