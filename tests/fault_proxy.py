"""A TCP proxy in front of a real server that does to connections what bad networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Fault", "FaultProxy"]

CHUNK = 64 * 1024

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


class Fault(Enum):
    """What happens to connections."""

    REFUSE = auto()
    """Each request is answered with 503 SlowDown, as an overloaded S3 does."""
    TRICKLE = auto()
    """What the server says arrives slowly."""
    RESET = auto()
    """The connection is reset in the middle of what the server says."""
    BLACK_HOLE = auto()
    """Requests are taken, and nothing ever comes back."""


@dataclass(eq=False)
class FaultProxy:
    """Hands connections on to ``target`` and spoils them; an async context manager.

    Attributes
    ----------
    trickle : int
        Bytes a second.
    reset_after : int
        Bytes of the server's after which a connection is reset.
    hits : int
        Connections that met the fault.
    """

    target: str
    trickle: int = 20_000
    reset_after: int = 50_000

    async def __aenter__(self) -> Self:
        self.hits = 0
        self._fault: Fault | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        parts = urlsplit(self.target)
        self._address = (parts.hostname, parts.port)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"{parts.scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        self.set(None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for what was aborted to be closed

    def set(self, fault: Fault | None) -> None:
        """Spoil connections in this way from now on; those that are open are reset."""
        self._fault = fault
        for writer in self._open:
            _reset(writer)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        fault = self._fault
        self.hits += fault is not None
        try:
            with suppress(OSError, EOFError):
                if fault is Fault.REFUSE:
                    await _refuse(reader, writer)
                elif fault is Fault.BLACK_HOLE:
                    while await reader.read(CHUNK):
                        pass
                else:
                    await self._hand_on(reader, writer, fault)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
    ) -> None:
        answers, server = await asyncio.open_connection(*self._address)
        try:
            ways = [
                asyncio.ensure_future(_pump(reader, server)),
                asyncio.ensure_future(self._pump_answers(answers, writer, fault)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            server.transport.abort()  # what the server did not take would keep it open

    async def _pump_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
    ) -> None:
        if fault is Fault.TRICKLE:
            while data := await reader.read(self.trickle // 10):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / self.trickle)
        elif fault is Fault.RESET:
            left = self.reset_after
            while left > 0 and (data := await reader.read(min(CHUNK, left))):
                writer.write(data)
                await writer.drain()
                left -= len(data)
            _reset(writer)
        else:
            await _pump(reader, writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request; its body is read on, or the answer would be lost to a reset."""
    await reader.readuntil(b"\r\n\r\n")
    head = (
        f"HTTP/1.1 503 Slow Down\r\nContent-Length: {len(SLOW_DOWN)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + SLOW_DOWN)
    await writer.drain()
    writer.write_eof()
    while await reader.read(CHUNK):
        pass


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST, as a router or a killed process does."""
    raw = writer.get_extra_info("socket")
    with suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
