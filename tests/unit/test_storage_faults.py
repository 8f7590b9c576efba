"""What the S3 port makes of servers, networks, disks and settings that will not do."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import traceback
from pathlib import Path

import pytest

from docnats.config import S3Config
from docnats.errors import PlaceForbidden, StorageError, UrlRefused
from docnats.storage import PresignedHttp, S3Storage, connection, content
from docnats.storage.multipart import MAX_PARTS, MultipartUpload

MIB = 1024 * 1024


def nowhere(endpoint_url: str) -> S3Config:
    """Return settings for a server that will not do."""
    return S3Config(
        endpoint_url=endpoint_url,
        bucket_name="papers",
        aws_access_key_id="KEY",
        aws_secret_access_key="secret",  # noqa: S106 - of nobody
        connect_timeout=0.5,
        read_timeout=0.5,
        max_attempts=1,
    )


class ScriptedServer:
    """Takes one request a connection and gives the next answer; an empty one is none at all."""

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._over = asyncio.Event()

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._over.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(head)
        if answer:
            length = re.search(rb"(?i)content-length: (\d+)", head)
            self.requests[-1] += await reader.readexactly(int(length[1]) if length else 0)
            writer.write(answer)
        else:
            await self._over.wait()
        writer.close()


def answer(body: str, status: str = "200 OK", *, size: int | None = None) -> bytes:
    """Return an answer of S3, cut short if the size it tells is more than the body's."""
    head = (
        f"HTTP/1.1 {status}",
        "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
        f"Content-Length: {len(body) if size is None else size}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", body]).encode()


def refusal(code: str, status: str) -> bytes:
    return answer(f"<Error><Code>{code}</Code></Error>", status)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_an_endpoint_where_nothing_listens_is_named(tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    async with S3Storage(nowhere(endpoint).but(max_attempts=2)) as storage:
        with pytest.raises(StorageError, match=f"{endpoint}: is it running.*S3_ENDPOINT_URL") as no:
            await storage.ensure_bucket()
        assert no.value.transient
        url = await storage.presign_get("k")
    async with PresignedHttp(nowhere(endpoint)) as http:
        with pytest.raises(StorageError, match=f"{endpoint}: is it running") as no:
            await http.get_file(url, tmp_path / "out")
        assert no.value.transient
        assert "Signature" not in "".join(traceback.format_exception(no.value))


async def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither waiting for an answer nor sending to one who does not read may last for ever."""
    monkeypatch.setattr(connection, "_BACKOFF", 0.0)
    monkeypatch.setattr(connection, "_SLOWEST", 100 * MIB)
    async with (
        asyncio.timeout(30),
        ScriptedServer(b"") as server,
        S3Storage(nowhere(server.url)) as storage,
        PresignedHttp(nowhere(server.url)) as http,
    ):
        put, get = await storage.presign_put("k"), await storage.presign_get("k")
        for hanging in (
            storage.get_bytes("k"),
            storage.put_bytes("k", bytes(16 * MIB)),
            http.get_file(get, tmp_path / "out"),
            http.put(put, bytes(16 * MIB)),
        ):
            with pytest.raises(StorageError, match="did not answer in time") as caught:
                await hanging
            assert caught.value.transient


async def test_a_download_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    async with (
        ScriptedServer(answer("x" * 3 * MIB, size=5 * MIB)) as server,
        S3Storage(nowhere(server.url)) as storage,
        PresignedHttp(nowhere(server.url)) as http,
    ):
        for broken in (
            storage.get_file("k", tmp_path / "out"),
            storage.get_bytes("k"),
            http.get_file(await storage.presign_get("k"), tmp_path / "out"),
        ):
            with pytest.raises(StorageError, match="broke off") as caught:
                await broken
            assert caught.value.transient
    assert list(tmp_path.iterdir()) == []


async def test_a_passing_refusal_is_tried_again(tmp_path: Path) -> None:
    script = (refusal("SlowDown", "503 Slow Down"), answer("hi"))
    async with ScriptedServer(*script) as server:
        config = nowhere(server.url).but(max_attempts=2)
        async with S3Storage(config) as storage:
            assert await storage.get_bytes("k") == b"hi"
            url = await storage.presign_get("k")
    async with (
        ScriptedServer(*script) as server,
        PresignedHttp(config.but(endpoint_url=server.url)) as http,
    ):
        await http.get_file(url.replace(config.endpoint_url or "", server.url), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "hi"


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_a_presigned_url_that_is_redirected_is_not_followed(
    tmp_path: Path, status: str
) -> None:
    async with ScriptedServer(answer("secrets")) as inside:
        moved = answer("", status).replace(
            b"\r\n\r\n", f"\r\nLocation: {inside.url}\r\n\r\n".encode()
        )
        async with ScriptedServer(moved) as server, PresignedHttp(nowhere(server.url)) as http:
            url = f"{server.url}/papers/raw/j.pdf?X-Amz-Signature=5ecr3t"
            for attempt in (http.get_file(url, tmp_path / "out"), http.put(url, b"x")):
                with pytest.raises(PlaceForbidden, match="not followed") as caught:
                    await attempt
                assert "5ecr3t" not in "".join(traceback.format_exception(caught.value))
    assert inside.requests == []
    assert list(tmp_path.iterdir()) == []


async def test_a_presigned_url_that_leads_elsewhere_is_not_asked(tmp_path: Path) -> None:
    async with (
        ScriptedServer(answer("secrets")) as elsewhere,
        PresignedHttp(nowhere("http://127.0.0.1:9")) as http,
    ):
        url = f"{elsewhere.url}/papers/raw/j.pdf"
        with pytest.raises(PlaceForbidden):
            await http.get_file(url, tmp_path / "out")
        with pytest.raises(PlaceForbidden):
            await http.put(url, b"results")
    assert elsewhere.requests == []


async def test_a_token_that_has_expired_is_a_url_that_has(tmp_path: Path) -> None:
    refused = refusal("ExpiredToken", "400 Bad Request")
    async with ScriptedServer(refused) as server, PresignedHttp(nowhere(server.url)) as http:
        with pytest.raises(UrlRefused, match="ExpiredToken"):
            await http.get_file(f"{server.url}/papers/raw/j.pdf", tmp_path / "out")


async def test_a_server_that_is_not_s3_is_an_error() -> None:
    for odd in (b"SSH-2.0-OpenSSH_9.2\r\n", answer("hi")):
        async with ScriptedServer(odd) as server, S3Storage(nowhere(server.url)) as storage:
            with pytest.raises(StorageError, match=server.url):
                await storage.ensure_bucket()


async def test_a_bucket_is_created_in_the_configured_region() -> None:
    """Somebody else may create it at the same moment."""
    script = (
        refusal("NoSuchBucket", "404 Not Found"),
        refusal("BucketAlreadyOwnedByYou", "409 Conflict"),
    )
    async with ScriptedServer(*script) as server:
        config = nowhere(server.url).but(region_name="eu-central-1")
        async with S3Storage(config) as storage:
            await storage.ensure_bucket()
        assert b"<LocationConstraint>eu-central-1</LocationConstraint>" in server.requests[1]
    async with ScriptedServer(*script) as server, S3Storage(nowhere(server.url)) as storage:
        await storage.ensure_bucket()
        assert b"LocationConstraint" not in server.requests[1]


@pytest.mark.parametrize("code", ["AccessDenied", "BucketAlreadyExists"])
async def test_a_bucket_that_may_not_be_used_is_named(code: str) -> None:
    async with (
        ScriptedServer(refusal(code, "403 Forbidden")) as server,
        S3Storage(nowhere(server.url)) as storage,
    ):
        with pytest.raises(StorageError, match=f"use the bucket papers: .* says {code}: ") as no:
            await storage.ensure_bucket()
        assert not no.value.transient


async def test_objects_that_could_not_be_deleted_are_an_error() -> None:
    result = "<DeleteResult>{}</DeleteResult>".format(
        "<Error><Key>a</Key><Code>NoSuchKey</Code></Error>"
        "<Error><Key>b</Key><Code>AccessDenied</Code></Error>"
    )
    async with ScriptedServer(answer(result)) as server, S3Storage(nowhere(server.url)) as storage:
        with pytest.raises(StorageError, match="delete 1 of 3 objects in papers, one of them b"):
            await storage.delete(["a", "b", "c"])


async def test_a_proxy_is_asked_for_hosts_that_only_it_can_reach(tmp_path: Path) -> None:
    async with ScriptedServer(answer("hi")) as proxy:
        config = nowhere("http://s3.example.invalid").but(proxy=proxy.url)
        async with S3Storage(config) as storage, PresignedHttp(config) as http:
            assert await storage.get_bytes("k") == b"hi"
            await http.get_file(await storage.presign_get("k"), tmp_path / "out")
    assert all(b"GET http://s3.example.invalid/papers/k" in seen for seen in proxy.requests)


async def test_a_full_disk_is_named_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: content._Incoming, _block: bytearray) -> None:
        self._file = self._part.open("xb", buffering=0)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(content._Incoming, "_write", full)
    async with ScriptedServer(answer("hi")) as server, S3Storage(nowhere(server.url)) as storage:
        with pytest.raises(StorageError, match=f"no space left.*{tmp_path}/out") as caught:
            await storage.get_file("k", tmp_path / "out")
    assert caught.value.transient
    assert list(tmp_path.iterdir()) == []


async def test_without_credentials_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    config = S3Config(endpoint_url=f"http://127.0.0.1:{free_port()}", max_attempts=1)
    async with S3Storage(config) as storage:
        assert not await storage.has_credentials()
        with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID") as caught:
            await storage.put_bytes("k", b"x")
        assert not caught.value.transient

    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"
    )
    async with S3Storage(config) as storage:
        assert await storage.has_credentials()


async def test_a_storage_that_is_not_open_says_so() -> None:
    storage = S3Storage(nowhere("http://127.0.0.1:9"))
    for early in (storage.get_bytes("k"), storage.has_credentials()):
        with pytest.raises(StorageError, match="async with"):
            await early
    with pytest.raises(StorageError, match="async with"):
        await PresignedHttp(nowhere("http://127.0.0.1:9")).put("http://127.0.0.1:9/papers/k", b"x")


@pytest.mark.parametrize("size", [6 * MIB, 80_000 * MIB, 5 * 1024**4])
def test_parts_grow_with_the_file_and_stay_within_s3s_count(size: int) -> None:
    class Huge:
        def __init__(self) -> None:
            self.size = size

        def read(self, offset: int, length: int) -> bytes:
            raise AssertionError

    config = nowhere("http://127.0.0.1:9")
    upload = MultipartUpload(connection.Connection(config), "papers", "k", Huge())
    assert upload._part_size >= config.multipart_chunksize
    assert -(-size // upload._part_size) <= MAX_PARTS


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://localhost:9000", True),
        ("http://[::1]:9000", True),
        ("https://s3.example.org", False),
        (None, False),
    ],
)
def test_no_proxy_is_used_to_reach_this_machine(url: str | None, local: bool) -> None:
    assert connection.is_local(url) is local
