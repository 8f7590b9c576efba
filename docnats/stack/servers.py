"""The servers of a stack: their configuration, command line, and when they are ready."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from docnats import names
from docnats.config import NatsConfig, S3Config, StackConfig
from docnats.config.machine import cores, memory
from docnats.errors import StackError, StorageError
from docnats.stack.binaries import S3Backend, S3Binary, find_nats_server, find_s3_server
from docnats.stack.client import Command
from docnats.stack.home import Home
from docnats.stack.named import NamedServers
from docnats.stack.security import security_files

if TYPE_CHECKING:
    from docnats.storage import S3Storage

__all__ = ["MinioServer", "NatsServer", "SeaweedServer", "Server", "embedded_servers", "s3_server"]

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"

GRPC_OFFSET = 10_000
"""SeaweedFS's own workers take it for granted: a gRPC port is its HTTP port + 10,000."""

PORTS = range(12_000, 22_000)
"""Below the ports of outgoing connections (from 32,768 on), even with the gRPC offset."""

PORT_TRIES = 100

MIB = 1 << 20

S3_HEAP = 384 * MIB
"""Soft limit of the S3 server's memory: keeps ``weed mini`` near 255 MB."""

NATS_HEAP = 1024 * MIB
"""The same for nats-server, which holds the state of 100,000 jobs in less."""

LEAST_HEAP = 256 * MIB
"""Less has Go collect garbage all the time: with 256 instead of 384 MiB ``weed mini`` takes 2.3
times the CPU to save 35 MB, with 128 MiB it saves no more."""

HEAP_SHARE = 5
"""Of little memory a server gets a fifth; 2 GB, as in a Binder, are not yet little."""

SEAWEED_FLAGS = (
    f"-ip={HOST}",
    f"-ip.bind={HOST}",
    # Only S3 speaks HTTP: the master would obey anybody, a page in a browser included.
    "-disableHttp",
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    # A resumed master may not lead yet when the volumes announce themselves: 5 to 15 s lost.
    "-master.resumeState=false",
    # As AWS and MinIO do: a wrong bucket name is an error.
    "-s3.autoCreateBucket=false",
    # Each bucket has volumes of its own, and few would be allowed.
    "-volume.max=10000",
    # Stop faster.
    "-volume.preStopSeconds=0",
    "-idleTimeout=3",
)

PROBE_TIMEOUT = 5.0

ACK_WAIT = 10.0
"""Seconds a dead worker's jobs wait, unless ``DOCNATS_ACK_WAIT`` says how long.

Fewer than on a cluster: no network and no other machine can keep a live worker silent.
"""

AWS_REGION = "us-east-1"
"""What MinIO and SeaweedFS say they are in; clients need some region to sign requests."""


class Server(Protocol):
    """A server that a stack can run."""

    name: str
    stop_order: int

    def command(self, runtime: Path) -> Command:
        """Write the configuration for the current ports and return what to run."""

    def choose_ports(self, *, fresh: bool) -> None:
        """Choose ports: those used last if they are free, unless told to take others."""

    def is_ready(self) -> bool:
        """Tell whether it does its work for our credentials."""


class NatsServer:
    """A nats-server with JetStream.

    Parameters
    ----------
    home : Home
    binary : Path
    base : NatsConfig
        Everything about the connection but where the server is.
    """

    name = "nats"
    stop_order = 2

    def __init__(self, home: Home, binary: Path, base: NatsConfig) -> None:
        self._home = home
        self._binary = binary
        self._secrets = home.secrets()
        self._base = base if "ack_wait" in base.model_fields_set else base.but(ack_wait=ACK_WAIT)
        self._port = 0

    @property
    def config(self) -> NatsConfig:
        """How to reach the server."""
        return self._base.but(
            servers=f"nats://{HOST}:{self._port}",
            user=self._secrets["nats_user"],
            password=self._secrets["nats_password"],
            token=None,
            nkey_file=None,
            credentials_file=None,
            ca_file=None,
            cert_file=None,
            key_file=None,
            replicas=1,
        )

    def choose_ports(self, *, fresh: bool) -> None:
        """Choose the client port."""
        (self._port,) = _choose_ports(self._home, self._home.nats, (0,), fresh=fresh)

    def command(self, runtime: Path) -> Command:
        """Write ``nats.conf`` and return what to run."""
        directory = self._home.nats
        configuration = {
            "host": HOST,
            "port": self._port,
            "server_name": "docnats",
            "authorization": {
                "user": self._secrets["nats_user"],
                "password": self._secrets["nats_password"],
            },
            "jetstream": {"store_dir": os.fspath(directory / "data")},
        }
        # The syntax of nats.conf is a superset of JSON.
        self._home.write(directory / "nats.conf", json.dumps(configuration, ensure_ascii=False))
        return Command(
            argv=(os.fspath(self._binary), "--config", "nats.conf"),
            env=_environment(directory, runtime, heap=NATS_HEAP),
            cwd=directory,
        )

    def is_ready(self) -> bool:
        """Tell whether the server lets us in and answers a ping."""
        hello = {
            "user": self._secrets["nats_user"],
            "pass": self._secrets["nats_password"],
            "verbose": False,
            "pedantic": False,
            "lang": "python",
            "version": "0",
            "protocol": 1,
        }
        try:
            with socket.create_connection((HOST, self._port), PROBE_TIMEOUT) as connection:
                stream = connection.makefile("rb")
                stream.readline()  # INFO
                connection.sendall(b"CONNECT " + json.dumps(hello).encode() + b"\r\nPING\r\n")
                return stream.readline().strip() == b"PONG"
        except OSError:
            return False


class _S3Server:
    """What MinIO and SeaweedFS have in common."""

    name = "s3"
    stop_order = 1

    port_offsets: Sequence[int]

    def __init__(self, home: Home, binary: Path, base: S3Config) -> None:
        self._home = home
        self._binary = binary
        self._secrets = home.secrets()
        self._base = base
        self._ports: list[int] = []

    @property
    def config(self) -> S3Config:
        """How to reach the server."""
        return self._base.but(
            endpoint_url=f"http://{HOST}:{self._ports[0]}",
            region_name=AWS_REGION,
            aws_access_key_id=self._secrets["s3_access_key"],
            aws_secret_access_key=self._secrets["s3_secret_key"],
            aws_session_token=None,
            addressing_style="path",
            use_accelerate_endpoint=False,
            ca_bundle=None,
            proxy=None,
        )

    def choose_ports(self, *, fresh: bool) -> None:
        """Choose all ports of the server."""
        self._ports = _choose_ports(self._home, self._home.s3, self.port_offsets, fresh=fresh)

    def is_ready(self) -> bool:
        """Tell whether an object can be written, into a bucket made for it if need be."""
        # The import takes a while: it happens while the server starts.
        from docnats.storage import S3Storage

        try:
            socket.create_connection((HOST, self._ports[0]), PROBE_TIMEOUT).close()
            asyncio.run(_write_something(S3Storage(self._probe_config())))
        except (OSError, StorageError) as error:
            logger.debug("the S3 server is not ready yet: %s", error)
            return False
        return True

    def _probe_config(self) -> S3Config:
        return self.config.but(
            max_attempts=1, connect_timeout=PROBE_TIMEOUT, read_timeout=PROBE_TIMEOUT
        )


class MinioServer(_S3Server):
    """MinIO, or its maintained fork Silo."""

    port_offsets = (0, 1)

    def command(self, runtime: Path) -> Command:
        """Return what to run; everything is in its environment."""
        port, console_port = self._ports
        directory = self._home.s3
        return Command(
            argv=(
                os.fspath(self._binary),
                "server",
                "--quiet",
                f"--address={HOST}:{port}",
                f"--console-address={HOST}:{console_port}",
                f"--certs-dir={runtime / 'certs'}",
                # Relative: MinIO would expand "{1...4}" in a path.
                "data",
            ),
            env={
                **_environment(directory, runtime, heap=S3_HEAP),
                "MINIO_ROOT_USER": self._secrets["s3_access_key"],
                "MINIO_ROOT_PASSWORD": self._secrets["s3_secret_key"],
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
                "MINIO_CALLHOME_ENABLE": "off",
            },
            cwd=directory,
        )


class SeaweedServer(_S3Server):
    """``weed mini``: master, volume server, filer and S3 gateway in one process."""

    services = ("s3", "master", "volume", "filer", "admin")
    port_offsets = (*range(5), *(GRPC_OFFSET + i for i in range(5)))

    def command(self, runtime: Path) -> Command:
        """Write identities and signing keys, and return what to run."""
        directory = self._home.s3
        self._home.write(directory / "identities.json", json.dumps(self._identities()))
        for name, text in security_files(self._secrets, self.services, HOST).items():
            self._home.write(directory / name, text)
        (directory / "data").mkdir(mode=0o700, exist_ok=True)
        http = dict(zip(self.services, self._ports[:5], strict=True))
        grpc = dict(zip(self.services, self._ports[5:], strict=True))
        return Command(
            argv=(
                os.fspath(self._binary),
                "-logtostderr",
                "-config_dir=.",
                "mini",
                # Relative: weed would split the path at commas.
                "-dir=data",
                *(f"-{service}.port={port}" for service, port in http.items()),
                *(f"-{service}.port.grpc={port}" for service, port in grpc.items()),
                "-s3.config=identities.json",
                f"-s3.localSocket={runtime / 's3.sock'}",
                f"-filer.localSocket={runtime / 'filer.sock'}",
                *SEAWEED_FLAGS,
            ),
            env=_environment(directory, runtime, heap=S3_HEAP),
            cwd=directory,
            # Fixed names in its code, left behind when it is killed.
            leftovers=[
                Path(f"/tmp/seaweedfs-{service}-grpc-{port}.sock")  # noqa: S108 - not our choice
                for service, port in grpc.items()
            ],
        )

    def _identities(self) -> dict[str, object]:
        key = {
            "accessKey": self._secrets["s3_access_key"],
            "secretKey": self._secrets["s3_secret_key"],
        }
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        return {"identities": [{"name": "docnats", "credentials": [key], "actions": actions}]}


def s3_server(home: Home, binary: S3Binary, base: S3Config) -> MinioServer | SeaweedServer:
    """Return the server for a binary; claims the home's S3 directory for its format."""
    home.set_backend(binary.backend)
    kind = MinioServer if binary.backend is S3Backend.MINIO else SeaweedServer
    return kind(home, binary.path, base)


def embedded_servers(
    home: Home, config: StackConfig, named: NamedServers, *, use_s3: bool
) -> tuple[NatsServer | None, MinioServer | SeaweedServer | None]:
    """Return the servers that a stack is to run: those that are needed and not named."""
    nats: NatsServer | None = None
    s3: MinioServer | SeaweedServer | None = None
    if named.nats is None:
        nats = NatsServer(home, find_nats_server(config), NatsConfig())
    if use_s3 and named.s3 is None:
        s3 = s3_server(home, find_s3_server(config, home.backend()), S3Config())
    return nats, s3


async def _write_something(storage: S3Storage) -> None:
    key = names.probe_key()
    async with storage:
        await storage.ensure_bucket()
        await storage.put_bytes(key, b"ready?")
        await storage.delete([key])


def _environment(directory: Path, runtime: Path, *, heap: int) -> dict[str, str]:
    """Return a server's environment: nothing of the user's gets in."""
    heap = max(LEAST_HEAP, min(heap, memory() // HEAP_SHARE))
    return {
        "GOMEMLIMIT": f"{heap // MIB}MiB",
        # Go sees a container's quota of time since 1.25 only, and then uses 2 threads at least.
        "GOMAXPROCS": str(max(2, cores())),
        "HOME": os.fspath(directory),
        "TMPDIR": os.fspath(runtime),
        "PATH": os.defpath,
    }


def _choose_ports(home: Home, directory: Path, offsets: Sequence[int], *, fresh: bool) -> list[int]:
    """Return free ports at these offsets from a random one, or those of the last time."""
    last = home.ports(directory)
    if not fresh and len(last) == len(offsets) and all(map(_is_free, last)):
        return last
    for _ in range(PORT_TRIES):
        first = secrets.choice(PORTS)  # a seeded generator would choose what others choose
        ports = [first + offset for offset in offsets]
        if all(map(_is_free, ports)):
            home.set_ports(directory, ports)
            return ports
    msg = f"no free ports on {HOST} between {PORTS.start} and {PORTS.stop + GRPC_OFFSET}"
    raise StackError(msg)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Closed connections of the last start do not count, and do not bother the servers.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
