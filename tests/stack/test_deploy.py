"""What ``deploy/`` says works, without docker: same commands, environment and files.

Only addresses, ports and directories are others, because all run on this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from docnats.bus import NatsBus
from docnats.config import NatsConfig, S3Config, StackConfig
from docnats.errors import BusError, StorageError
from docnats.names import new_job_id, raw_key
from docnats.service import S3DocumentService
from docnats.stack.binaries import S3Backend, find_nats_server, find_s3_server
from docnats.stack.client import Command, Supervisor
from docnats.stack.home import Home
from docnats.stack.servers import GRPC_OFFSET, HOST, _choose_ports
from docnats.storage import S3Storage
from tests.deployment import (
    DEPLOY,
    compose,
    health_check,
    manifests,
    of_the_image,
)
from tests.pdfs import text_pdf
from tests.waiting import eventually

NATS, MONITORING, S3, MASTER, VOLUME, FILER = range(6)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The services of the compose file, run by a supervisor instead of docker."""

    services: Mapping[str, Any]
    folder: Path
    ports: list[int]
    supervisor: Supervisor

    def moved(self, text: str) -> str:
        """Return an address of the compose file as it is on this machine."""
        here = {
            "//nats:4222": self.ports[NATS],
            "//s3:8333": self.ports[S3],
            "//127.0.0.1:8222": self.ports[MONITORING],
            "//127.0.0.1:8333": self.ports[S3],
        }
        for there, port in here.items():
            text = text.replace(there, f"//{HOST}:{port}")
        return text

    def start_nats(self) -> None:
        """Start nats-server as the service says, with the configuration of ``deploy/``."""
        service = self.services["nats"]
        program, *arguments = service["command"]
        assert program == "nats-server"
        (config,) = service["configs"]
        mounted = DEPLOY / compose()["configs"][config["source"]]["file"]
        here = {
            config["target"]: os.fspath(mounted),
            "/data": os.fspath(self.folder / "nats" / "data"),
        }
        assert here.keys() <= set(arguments)
        argv = [
            os.fspath(find_nats_server(StackConfig())),
            *(here.get(argument, argument) for argument in arguments),
            f"--addr={HOST}",
            f"--port={self.ports[NATS]}",
            f"--http_port={self.ports[MONITORING]}",
        ]
        self._spawn("nats", argv, service["environment"])

    def start_s3(self) -> None:
        """Start SeaweedFS as the service says."""
        service = self.services["s3"]
        here = {
            "-dir=/data": f"-dir={self.folder / 's3' / 'data'}",
            "-s3.ip.bind=0.0.0.0": f"-s3.ip.bind={HOST}",
            "-s3.port=8333": f"-s3.port={self.ports[S3]}",
        }
        assert here.keys() <= set(service["command"])
        (self.folder / "s3" / "data").mkdir()
        argv = [
            os.fspath(find_s3_server(StackConfig(), S3Backend.SEAWEEDFS).path),
            *(here.get(flag, flag) for flag in service["command"]),
            f"-master.port={self.ports[MASTER]}",
            f"-volume.port={self.ports[VOLUME]}",
            f"-filer.port={self.ports[FILER]}",
            f"-s3.localSocket={self.supervisor.runtime / 's3.sock'}",
            f"-filer.localSocket={self.supervisor.runtime / 'filer.sock'}",
        ]
        self._spawn("s3", argv, service["environment"])

    def start_worker(self) -> None:
        """Start a worker by the image's entry point and the service's command."""
        (entry_point,) = of_the_image("ENTRYPOINT")
        command = self.services["worker"]["command"]
        self._spawn("worker", [*entry_point.command, *command], self.environment)

    def is_healthy(self, name: str) -> bool:
        """Ask what the health check of a server asks."""
        kind, program, *options, url = self.services[name]["healthcheck"]["test"]
        assert (kind, program, options) == ("CMD", "wget", ["-q", "--spider"])
        try:
            return get(self.moved(url))[0] == HTTPStatus.OK
        except OSError:
            return False

    @property
    def environment(self) -> dict[str, str]:
        """What the service gives a worker."""
        given = self.services["worker"]["environment"]
        return {name: self.moved(value) for name, value in given.items()}

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of the image, as a health check or ``docker compose exec`` does."""
        environment = self._whole(self.environment)
        return subprocess.run(
            [self._program(command[0]), *command[1:]],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def lag(self) -> int:
        """Return what KEDA reads for the trigger in ``deploy/kubernetes``."""
        (trigger,) = manifests()["ScaledObject"]["spec"]["triggers"]
        asked = trigger["metadata"]
        query = f"jsz?acc={asked['account']}&consumers=true&config=true"
        _, answer = get(f"http://{HOST}:{self.ports[MONITORING]}/{query}")
        told = json.loads(answer)
        (account,) = (a for a in told["account_details"] if a["name"] == asked["account"])
        (stream,) = (s for s in account["stream_detail"] if s["name"] == asked["stream"])
        (consumer,) = (c for c in stream["consumer_detail"] if c["name"] == asked["consumer"])
        return int(consumer["num_pending"] + consumer["num_ack_pending"])

    def _spawn(self, name: str, argv: list[str], environment: Mapping[str, str]) -> None:
        argv = [self._program(argv[0]), *argv[1:]]
        self.supervisor.spawn(name, Command(argv, self._whole(environment), self.folder))

    def _program(self, name: str) -> str:
        return os.fspath(Path(sys.executable).parent / name) if name == "docnats" else name

    def _whole(self, given: Mapping[str, str]) -> dict[str, str]:
        """Add what an image has by itself, and where the code under test is."""
        path = os.pathsep.join(filter(None, sys.path))
        return {"PATH": os.defpath, "HOME": os.fspath(self.folder), "PYTHONPATH": path, **given}


def get(url: str) -> tuple[int, bytes]:
    """Ask for a URL without any credentials."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The servers of the compose file, once their health checks say that they are well."""
    folder = tmp_path_factory.mktemp("deployment")
    home = Home(folder)
    seaweed = (S3, MASTER, VOLUME, FILER)
    offsets = (*range(FILER + 1), *(GRPC_OFFSET + service for service in seaweed))
    ports = _choose_ports(home, home.s3, offsets, fresh=True)
    supervisor = Supervisor.launch(home.logs)
    try:
        found = Deployment(compose()["services"], folder, ports, supervisor)
        found.start_nats()
        found.start_s3()
        for name in ("nats", "s3"):
            eventually(lambda name=name: found.is_healthy(name), within=60, what=name)
        yield found
        found.supervisor.kill("s3", signal.SIGKILL)  # it takes 15 s to end by itself
    finally:
        supervisor.close()


@pytest.fixture
def servers(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> tuple[S3Config, NatsConfig]:
    """How to reach the servers, as a notebook with the worker's environment does."""
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    return S3Config(), NatsConfig()


async def self_check(deployment: Deployment) -> subprocess.CompletedProcess[str]:
    """Run the health check of the image."""
    return await asyncio.to_thread(deployment.run, health_check())


async def test_a_document_goes_through_and_a_stopped_worker_leaves_in_time(
    deployment: Deployment, servers: tuple[S3Config, NatsConfig]
) -> None:
    async with S3DocumentService(*servers) as service:
        batch = await service.submit([("one.pdf", text_pdf(1))])
        await asyncio.to_thread(eventually, lambda: deployment.lag() == 1)
        assert (await self_check(deployment)).returncode == 1  # there is no worker

        deployment.start_worker()
        table = await batch.follow(timeout=60)
        assert [(job.state, job.pages) for job in table.records()] == [("done", 1)]
        await asyncio.to_thread(eventually, lambda: deployment.lag() == 0)
        well = await self_check(deployment)
        assert well.returncode == 0, well.stdout + well.stderr

    deployment.supervisor.stop("worker")
    assert deployment.supervisor.process("worker").returncode == 0


async def test_nats_lets_nobody_in_without_the_password(
    servers: tuple[S3Config, NatsConfig],
) -> None:
    _, nats = servers
    for stranger in ({"user": None, "password": None}, {"password": "a guess"}):
        with pytest.raises(BusError, match=r"(?i)authorization"):
            await NatsBus(nats.but(**stranger)).__aenter__()


async def test_s3_lets_nobody_in_without_the_key(servers: tuple[S3Config, NatsConfig]) -> None:
    s3, _ = servers
    key = raw_key(new_job_id())
    async with S3Storage(s3) as storage:
        await storage.ensure_bucket()
        await storage.put_bytes(key, b"secret")
    url = f"{s3.endpoint_url}/{s3.bucket_name}/{key}"
    assert (await asyncio.to_thread(get, url))[0] == HTTPStatus.FORBIDDEN
    stranger = {"aws_secret_access_key": "a guess"}
    async with S3Storage(s3.but(**stranger)) as storage:
        with pytest.raises(StorageError):
            await storage.get_bytes(key)
