"""Every way to show a real nats-server who one is, and to have it show the same."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nkeys
import pytest
import trustme

from docnats.bus import NatsBus, login
from docnats.config import NatsConfig
from tests.ports.test_bus_faults import connecting, nats_server_with

LIMIT = 60


class Key:
    """A nkey of some kind, with what nats-server and clients are told of it."""

    def __init__(self, prefix: int = nkeys.PREFIX_BYTE_USER) -> None:
        self.seed: str = nkeys.encode_seed(secrets.token_bytes(32), prefix).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public: str = self._pair.public_key.decode()

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a JWT of these claims, as ``nsc`` makes it."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": secrets.token_hex(8), "iat": int(time.time()), "iss": self.public, **claims}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
        return f"{text}.{_base64(self._pair.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def works(config: NatsConfig) -> None:
    """Use JetStream with these settings."""
    async with asyncio.timeout(LIMIT), NatsBus(config) as bus:
        await bus.ensure()
        assert await bus.round_trip() > 0


def jetstream(folder: Path) -> str:
    return f'jetstream {{ store_dir: "{folder / "js"}" }}\n'


async def test_user_and_password(tmp_path: Path) -> None:
    settings = jetstream(tmp_path) + 'authorization { user: "ann", password: "s3cret" }'
    with nats_server_with(tmp_path, settings) as server:
        config = NatsConfig(servers=server, user="ann", password="s3cret")  # noqa: S106
        await works(config)
        error = await connecting(config.but(password="wr0ng"))  # noqa: S106
        assert "NATS_PASSWORD" in error
        assert "wr0ng" not in error


async def test_a_token_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nats_server_with(tmp_path, jetstream(tmp_path) + "authorization { token: t0k }") as server:
        monkeypatch.setenv("NATS_URL", f"nats://{server}")
        monkeypatch.setenv("NATS_TOKEN", "t0k")
        await works(NatsConfig())
        monkeypatch.setenv("NATS_TOKEN", "wr0ng")
        assert "NATS_TOKEN" in await connecting(NatsConfig())


async def test_an_nkey_in_a_seed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, eve = Key(), Key()
    settings = jetstream(tmp_path) + f"authorization {{ users: [{{ nkey: {ann.public} }}] }}"
    seed = tmp_path / "ann.nk"
    seed.write_text(f"{ann.seed}\n")
    with nats_server_with(tmp_path, settings) as server:
        monkeypatch.setenv("NATS_URL", f"nats://{server}")
        monkeypatch.setenv("NATS_NKEY", str(seed))
        await works(NatsConfig())
        seed.write_text(eve.seed)
        error = await connecting(NatsConfig())
    assert "NATS_NKEY" in error
    assert eve.seed not in error


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[tuple[str, str, Key]]:
    """Run a server that trusts an operator; yield it, a user's JWT and the user's key."""
    operator, system = Key(nkeys.PREFIX_BYTE_OPERATOR), Key(nkeys.PREFIX_BYTE_ACCOUNT)
    account, user = Key(nkeys.PREFIX_BYTE_ACCOUNT), Key()
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    stores = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)

    def account_jwt(key: Key, limits: dict[str, Any]) -> str:
        nats = {"type": "account", "version": 2, "limits": limits}
        return operator.sign({"sub": key.public, "name": "a", "nats": nats})

    claims = {"sub": operator.public, "name": "o", "nats": {"type": "operator", "version": 2}}
    settings = f"""
        operator: {operator.sign(claims)}
        system_account: {system.public}
        resolver: MEMORY
        resolver_preload: {{
            {system.public}: {account_jwt(system, unlimited)}
            {account.public}: {account_jwt(account, unlimited | stores)}
        }}
    """
    nats = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
    jwt = account.sign({"sub": user.public, "name": "ann", "nats": nats})
    with nats_server_with(tmp_path, jetstream(tmp_path) + settings) as server:
        yield server, jwt, user


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_a_credentials_file(
    operated: tuple[str, str, Key], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    server, jwt, user = operated

    def creds(jwt: str, seed: str) -> bytes:
        lines = (
            "-----BEGIN NATS USER JWT-----",
            jwt,
            "------END NATS USER JWT------",
            "",
            "-----BEGIN USER NKEY SEED-----",
            seed,
            "------END USER NKEY SEED------",
            "",
        )
        return end.join(lines).encode()

    path = tmp_path / "ann.creds"
    path.write_bytes(creds(jwt, user.seed))
    monkeypatch.setenv("NATS_URL", f"nats://{server}")
    monkeypatch.setenv("NATS_CREDS", str(path))
    await works(NatsConfig())
    path.write_bytes(creds(jwt, Key().seed))
    error = await connecting(NatsConfig())
    assert "NATS_CREDS" in error
    assert jwt not in error


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("nkey_file", "", "holds no seed"),
        ("nkey_file", Key(nkeys.PREFIX_BYTE_ACCOUNT).seed, "holds no seed"),
        ("credentials_file", Key().seed, "holds no user JWT"),
        ("credentials_file", "-----BEGIN NATS USER JWT-----\nx.y.z\n", "holds no seed"),
        ("ca_file", "not PEM", "PEM"),
        ("cert_file", "not PEM", "PEM"),
    ],
)
async def test_a_file_that_is_no_key_is_an_error_that_names_it(
    tmp_path: Path, nats_config: NatsConfig, field: str, text: str, said: str
) -> None:
    """nats-py itself reads on and on in a credentials file without a JWT."""
    path = tmp_path / "key"
    path.write_text(text)
    async with asyncio.timeout(LIMIT):
        error = await connecting(nats_config.but(**{field: path}))
    assert said in error
    assert (str(path) in error) or ("NATS_C" in error)


async def test_without_the_library_for_keys_it_is_said_how_to_get_it(
    tmp_path: Path, nats_config: NatsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ann.nk").write_text(Key().seed)
    monkeypatch.setattr(login, "find_spec", lambda _name: None)
    error = await connecting(nats_config.but(nkey_file=tmp_path / "ann.nk"))
    assert "docnats[nkeys]" in error


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def written(folder: Path, name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """Write a certificate and its key, and return where they are."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    return cert, key


async def test_mutual_tls(
    tmp_path: Path,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    cert, key = written(tmp_path, "server", authority.issue_cert("127.0.0.1"))
    mine, my_key = written(tmp_path, "worker", authority.issue_cert("worker@docnats.example"))
    theirs, their_key = written(tmp_path, "eve", trustme.CA().issue_cert("worker@docnats.example"))
    settings = f"""
        tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{ca}", verify_and_map: true }}
        authorization {{ users: [{{ user: "worker@docnats.example" }}] }}
    """
    with nats_server_with(tmp_path, jetstream(tmp_path) + settings) as server:
        for name, value in (
            ("URL", f"nats://{server}"),
            ("CA", ca),
            ("CERT", mine),
            ("KEY", my_key),
        ):
            monkeypatch.setenv(f"NATS_{name}", str(value))
        await works(NatsConfig())
        assert caplog.messages == [], "asyncio warns of what nats-py does at the end"
        assert "NATS_CERT" in await connecting(NatsConfig(cert_file=theirs, key_file=their_key))
        monkeypatch.delenv("NATS_CERT")
        monkeypatch.delenv("NATS_KEY")
        assert "NATS_CERT" in await connecting(NatsConfig())
        assert "TLS failed" in await connecting(NatsConfig(ca_file=theirs))


async def test_a_server_of_another_name_is_not_trusted(
    tmp_path: Path, authority: trustme.CA
) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    cert, key = written(tmp_path, "server", authority.issue_cert("nats.example.org"))
    settings = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}'
    with nats_server_with(tmp_path, settings) as server:
        error = await connecting(NatsConfig(servers=f"tls://{server}", ca_file=ca))
    assert "TLS failed" in error


class Eavesdropper:
    """Says that it is a nats-server without TLS, and listens to what it is told."""

    def __init__(self) -> None:
        self.heard = b""

    async def __aenter__(self) -> Eavesdropper:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self._server.sockets[0].getsockname()[1]  # noqa: UP031
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","auth_required":true,"max_payload":1048576}\r\n')
        self.heard += await reader.read(1 << 16)
        writer.close()


async def test_nothing_is_told_to_who_says_that_there_is_no_tls(
    tmp_path: Path, authority: trustme.CA
) -> None:
    """nats-py sends the password in the clear where a server, or somebody between, says so."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    for scheme, trusted in (("tls", None), ("tls", ca), ("nats", ca)):
        async with Eavesdropper() as eve:
            config = NatsConfig(
                servers=f"{scheme}://ann:s3cret@{eve.address}", ca_file=trusted, connect_timeout=5
            )
            error = await connecting(config)
            assert "does not speak TLS" in error
        assert eve.heard == b""
