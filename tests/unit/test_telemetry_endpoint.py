"""The HTTP server for metrics and health, by a real client."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from http.client import HTTPConnection, HTTPResponse

import pytest
import pytest_asyncio

from docnats.errors import ConfigError
from docnats.models import Health, PartHealth
from docnats.telemetry import Endpoint, Response, alive, endpoint, health_response
from docnats.telemetry.cached import Cached
from tests.waiting import until


async def show_accept(accept: str) -> Response:
    return Response(200, "text/plain", accept.encode())


async def broken(accept: str) -> Response:
    raise ZeroDivisionError


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Endpoint]:
    pages = {"/healthz": alive, "/accept": show_accept, "/broken": broken}
    async with Endpoint("127.0.0.1", 0, pages) as server:
        yield server


async def request(
    server: Endpoint, path: str, method: str = "GET", **headers: str
) -> tuple[HTTPResponse, bytes]:
    def ask() -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(server.host, server.port, timeout=20)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def send(server: Endpoint, data: bytes) -> bytes:
    """Return what comes back for some bytes until the server closes the connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(data)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_answers_and_says_what_it_has(server: Endpoint) -> None:
    answer, body = await request(server, "/healthz?verbose=1")
    assert (answer.status, body) == (200, b"ok\n")
    answer, body = await request(server, "/nothing")
    assert (answer.status, body) == (404, b"here are /healthz, /accept, /broken\n")


async def test_a_page_sees_what_the_client_accepts(server: Endpoint) -> None:
    assert (await request(server, "/accept", ACCEPT="text/x"))[1] == b"text/x"


async def test_head_has_the_length_and_no_body(server: Endpoint) -> None:
    answer, body = await request(server, "/healthz", "HEAD")
    assert (answer.getheader("Content-Length"), body) == ("3", b"")


async def test_nothing_can_be_written(server: Endpoint) -> None:
    answer, _ = await request(server, "/healthz", "POST")
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")


async def test_what_is_no_http_is_refused(server: Endpoint) -> None:
    assert (await send(server, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert (await send(server, b"GET /healthz HTTP/2.0\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_request_without_end_is_dropped(server: Endpoint) -> None:
    assert await send(server, b"GET / HTTP/1.1\r\nX: " + bytes(endpoint.LONGEST_REQUEST)) == b""


async def test_a_client_that_says_nothing_is_left(
    server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.05)
    assert await send(server, b"GET /healthz HTTP/1.1\r\n") == b""


async def test_a_page_that_fails_is_a_500_and_in_the_log(
    server: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    answer, _ = await request(server, "/broken")
    assert answer.status == 500
    assert "ZeroDivisionError" in caplog.text
    assert (await request(server, "/healthz"))[0].status == 200


async def test_a_port_that_is_taken_is_named_with_what_to_do(server: Endpoint) -> None:
    with pytest.raises(ConfigError, match=rf"DOCNATS_METRICS_PORT.*127\.0\.0\.1:{server.port}"):
        async with Endpoint("127.0.0.1", server.port, {}):
            raise AssertionError("never reached")


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "é" * 300])
async def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="DOCNATS_METRICS_HOST"):
        async with Endpoint(host, 0, {}):
            raise AssertionError("never reached")


async def test_closing_answers_what_was_asked_and_frees_the_port() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(accept: str) -> Response:
        asked.set()
        await go_on.wait()
        return Response(200, "text/plain", b"late")

    server = Endpoint("127.0.0.1", 0, {"/slow": slow})
    await server.__aenter__()
    answering = asyncio.create_task(request(server, "/slow"))
    await asked.wait()
    closing = asyncio.create_task(server.__aexit__(None, None, None))
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert (await answering)[1] == b"late"
    with socket.create_server(("127.0.0.1", server.port)):
        pass


async def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "CLOSE_SECONDS", 0.05)
    async with Endpoint("127.0.0.1", 0, {}) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET ")
        await writer.drain()
        await until(lambda: server._answering)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()


def test_a_part_that_is_not_well_makes_a_503() -> None:
    good, bad = PartHealth("s3", True, 0.1, "fine"), PartHealth("nats", False, 0.2, "gone")
    assert health_response(Health((good,))).status == 200
    response = health_response(Health((good, bad)))
    assert response.status == 503
    assert json.loads(response.body)["parts"][1] == {
        "name": "nats",
        "healthy": False,
        "seconds": 0.2,
        "detail": "gone",
    }


async def test_one_question_answers_all_who_ask_meanwhile() -> None:
    asked: list[asyncio.Future[int]] = []

    async def ask() -> int:
        asked.append(asyncio.get_running_loop().create_future())
        return await asked[-1]

    cached = Cached(ask, 3600)
    waiting = [asyncio.create_task(cached.get()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    asked[0].set_result(7)
    assert await asyncio.gather(*waiting[1:]) == [7, 7]
    assert await cached.get() == 7
    assert len(asked) == 1


async def test_an_old_answer_is_asked_for_again() -> None:
    answers = iter([1, 2])

    async def ask() -> int:
        return next(answers)

    cached = Cached(ask, 0)
    assert [await cached.get(), await cached.get()] == [1, 2]
