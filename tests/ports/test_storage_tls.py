"""S3 over TLS with a private certificate authority: a real server behind a real TLS endpoint."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import trustme

from docnats.config import S3Config
from docnats.errors import StorageError
from docnats.storage import PresignedHttp, S3Storage
from tests.roles import without_credentials


class TlsEndpoint:
    """Speaks TLS to clients and hands on what they say to a server that does not."""

    def __init__(self, behind: str, certificate: trustme.LeafCert) -> None:
        self._behind = urlsplit(behind)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(self._context)

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._behind.hostname, self._behind.port
        inside, outside = await asyncio.open_connection(host, port)
        await asyncio.gather(_copy(reader, outside), _copy(inside, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # either side may break off
    finally:
        writer.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest_asyncio.fixture
async def over_tls(
    s3_config: S3Config, authority: trustme.CA, trusted: Path
) -> AsyncIterator[S3Config]:
    """Yield how to reach the server by TLS, and whom to trust."""
    async with TlsEndpoint(s3_config.endpoint_url or "", authority.issue_cert("127.0.0.1")) as url:
        yield s3_config.but(endpoint_url=url, ca_bundle=trusted, max_attempts=1)


async def test_everything_goes_by_tls_with_the_configured_authority(
    over_tls: S3Config, tmp_path: Path
) -> None:
    async with S3Storage(over_tls) as storage:
        await storage.ensure_bucket()
        await storage.put_bytes("small", b"s")
        (tmp_path / "big").write_bytes(bytes(3 << 20))
        await storage.put_file("big", tmp_path / "big")
        assert await storage.get_bytes("small") == b"s"
        assert [found.key async for found in storage.list("")] == ["big", "small"]
        files = await storage.filesystem()
        place = f"{storage.bucket}/small"
        size = await asyncio.to_thread(lambda: files.get_file_info(place).size)
        assert size == 1
        async with PresignedHttp(without_credentials(over_tls)) as http:
            await http.put(await storage.presign_put("put"), b"p")
            stored = await http.get_file(await storage.presign_get("put"), tmp_path / "got")
            assert stored.size == 1


@pytest.mark.parametrize("other", [True, False], ids=["another authority", "the system's"])
async def test_a_server_that_the_authority_does_not_vouch_for_is_told_nothing(
    over_tls: S3Config, tmp_path: Path, other: bool
) -> None:
    bundle = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    config = over_tls.but(ca_bundle=bundle if other else None)
    async with S3Storage(config) as storage:
        with pytest.raises(StorageError, match="AWS_CA_BUNDLE"):
            await storage.ensure_bucket()
        url = await storage.presign_get("k")
    async with PresignedHttp(without_credentials(config)) as http:
        with pytest.raises(StorageError, match="AWS_CA_BUNDLE"):
            await http.get_file(url, tmp_path / "out")


class Proxy:
    """An HTTP proxy that hands on what is said to the place it is asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        inside, outside = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_copy(reader, outside), _copy(inside, writer))


@pytest.mark.parametrize("trust", [True, False])
async def test_a_proxy_on_the_way_changes_nothing_about_that(
    over_tls: S3Config, tmp_path: Path, trust: bool
) -> None:
    """By itself, aiobotocore looks at no certificate then."""
    if not trust:
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
        over_tls = over_tls.but(ca_bundle=tmp_path / "other.pem")
    proxy = Proxy()
    async with proxy as url, S3Storage(over_tls.but(proxy=url)) as storage:
        if trust:
            await storage.ensure_bucket()
            await storage.put_bytes("k", b"x")
        else:
            with pytest.raises(StorageError, match="AWS_CA_BUNDLE"):
                await storage.ensure_bucket()
    assert proxy.asked
    assert proxy.asked[0].startswith(b"CONNECT ")


async def test_a_certificate_for_another_host_is_not_taken(
    s3_config: S3Config, authority: trustme.CA, trusted: Path
) -> None:
    certificate = authority.issue_cert("s3.example.org")
    async with TlsEndpoint(s3_config.endpoint_url or "", certificate) as url:
        config = s3_config.but(endpoint_url=url, ca_bundle=trusted, max_attempts=1)
        async with S3Storage(config) as storage:
            with pytest.raises(StorageError, match="no secure connection"):
                await storage.ensure_bucket()
