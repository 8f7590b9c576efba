"""The embedded servers: private, durable, and plain about what goes wrong."""

from __future__ import annotations

import logging
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from docnats.config import NatsConfig, S3Config, StackConfig
from docnats.errors import StackError
from docnats.stack import LocalStack, servers
from docnats.stack.binaries import S3Backend, S3Binary, find_s3_server
from docnats.stack.home import Home
from docnats.storage import S3Storage
from tests.waiting import eventually

ELSEWHERE_S3 = S3Config(endpoint_url="http://127.0.0.1:9")
ELSEWHERE_NATS = NatsConfig(servers="nats://127.0.0.1:9")

Start = Callable[..., LocalStack]


@pytest.fixture
def start(local_stack: Start, s3_binary: S3Binary) -> Start:
    """Return a function that starts a stack without workers on each kind of S3 server."""

    def start(**options: object) -> LocalStack:
        config = StackConfig(s3_server=s3_binary.path)
        return local_stack(workers=0, config=config, **options)

    return start


def programs(stack: LocalStack) -> list[psutil.Process]:
    return [psutil.Process(process.pid) for process in stack.processes()]


def http_status(url: str, method: str = "GET") -> int:
    request = urllib.request.Request(url, method=method, data=b"" if method == "PUT" else None)  # noqa: S310 - http
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - http
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def write(s3: S3Config, key: str, data: bytes) -> None:
    async with S3Storage(s3) as storage:
        await storage.put_bytes(key, data)


async def read(s3: S3Config, key: str) -> bytes:
    async with S3Storage(s3) as storage:
        return await storage.get_bytes(key)


class TestPrivacy:
    def test_nothing_listens_beyond_this_machine(self, start: Start) -> None:
        stack = start()
        listening = [
            connection.laddr
            for program in programs(stack)
            for connection in program.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 2
        assert all(ip_address(address.ip).is_loopback for address in listening), listening

    def test_no_secret_is_on_a_command_line(self, start: Start) -> None:
        stack = start()
        secrets = set(Home(stack.home).secrets().values()) - {"docnats"}
        shown = " ".join(" ".join(program.cmdline()) for program in programs(stack))
        assert not [secret for secret in secrets if secret in shown]

    def test_no_secret_is_in_a_log(self, start: Start) -> None:
        stack = start()
        secrets = set(Home(stack.home).secrets().values()) - {"docnats"}
        logged = "".join(log.read_text(errors="replace") for log in stack.home.glob("logs/*"))
        assert not [secret for secret in secrets if secret in logged]

    def test_what_holds_secrets_is_readable_by_its_owner_only(self, start: Start) -> None:
        home = start().home
        for directory in (home, home / "logs", home / "nats", home / "s3"):
            assert directory.stat().st_mode & 0o777 == 0o700, directory
        files = [path for path in home.rglob("*") if path.is_file() and "data" not in path.parts]
        assert {"secrets.json", "stack.json", "nats.conf"} <= {path.name for path in files}
        assert not [path for path in files if path.stat().st_mode & 0o077]

    async def test_an_object_cannot_be_read_or_written_anonymously(self, start: Start) -> None:
        """Through none of the ports, those of SeaweedFS's inner services included."""
        stack = start()
        await write(stack.s3, "raw/a.pdf", b"private")
        bucket = stack.s3.bucket_name
        for port in Home(stack.home).ports(stack.home / "s3"):
            for path in (f"{bucket}/raw/a.pdf", f"buckets/{bucket}/raw/a.pdf", "dir/assign"):
                try:
                    answers = [
                        http_status(f"http://127.0.0.1:{port}/{path}", method)
                        for method in ("GET", "PUT", "DELETE")
                    ]
                except (OSError, ValueError):  # speaks gRPC only, or listens not at all
                    continue
                assert min(answers) >= 400, (port, path, answers)
        assert await read(stack.s3, "raw/a.pdf") == b"private"

    def test_nats_refuses_who_has_no_password(self, start: Start) -> None:
        stack = start()
        port = int(stack.nats.servers[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            stream = connection.makefile("rb")
            stream.readline()
            connection.sendall(b'CONNECT {"verbose": false}\r\nPING\r\n')
            assert b"Authorization Violation" in stream.readline()

    def test_nothing_of_the_users_environment_reaches_a_server_or_the_supervisor(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WEED_MASTER_PORT", "1")
        monkeypatch.setenv("MINIO_ROOT_USER", "somebody")
        monkeypatch.setenv("MY_TOKEN", "hush")
        servers = programs(start())
        supervisor = servers[0].parent()
        assert supervisor is not None
        for program in (supervisor, *servers):
            assert not {"MY_TOKEN", "WEED_MASTER_PORT"} & program.environ().keys()
            assert "somebody" not in program.environ().values()

    def test_on_a_small_machine_servers_are_told_to_use_less(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(servers, "memory", lambda: 1 << 30)
        monkeypatch.setattr(servers, "cores", lambda: 1)
        for program in programs(start()):
            told = program.environ()
            assert (told["GOMEMLIMIT"], told["GOMAXPROCS"]) == ("256MiB", "2")


class TestData:
    async def test_data_addresses_and_credentials_outlive_a_stack(
        self, start: Start, tmp_path: Path
    ) -> None:
        """Another shell may still have the variables of the first."""
        home = tmp_path / "home"
        first = start(home=home)
        environment = first.environment
        await write(first.s3, "raw/a.pdf", b"kept")
        first.stop()
        second = start(home=home)
        assert second.environment == environment
        assert await read(second.s3, "raw/a.pdf") == b"kept"

    async def test_data_is_found_again_on_other_ports(self, start: Start, tmp_path: Path) -> None:
        home = tmp_path / "home"
        first = start(home=home)
        before = first.s3.endpoint_url
        await write(first.s3, "raw/a.pdf", b"kept")
        first.stop()
        taken = [listening(port) for port in Home(home).ports(home / "s3")]
        try:
            second = start(home=home)
            assert second.s3.endpoint_url != before
            assert await read(second.s3, "raw/a.pdf") == b"kept"
        finally:
            for listener in taken:
                listener.close()

    async def test_a_killed_s3_server_has_lost_nothing(self, s3_server: Any) -> None:
        await write(s3_server.config, "raw/a.pdf", b"kept")
        s3_server.kill()
        s3_server.restart()
        assert await read(s3_server.config, "raw/a.pdf") == b"kept"
        await write(s3_server.config, "raw/b.pdf", b"new")
        assert await read(s3_server.config, "raw/a.pdf") == b"kept"

    @pytest.mark.parametrize(
        "name", ["with space", "ünï-日本", "{1...4},comma", "q\"uote's", "long-" * 50]
    )
    async def test_a_home_may_have_any_name(self, start: Start, tmp_path: Path, name: str) -> None:
        stack = start(home=tmp_path / name / "home")
        await write(stack.s3, "raw/a.pdf", b"x")
        assert (tmp_path / name / "home" / "s3" / "data").is_dir()
        assert list(tmp_path.iterdir()) == [tmp_path / name]

    def test_the_data_of_one_server_is_not_given_to_another(
        self, local_stack: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A newly installed MinIO is passed over; one that is demanded is refused."""
        home = tmp_path / "home"
        weed = StackConfig(s3_server=find_s3_server(StackConfig(), S3Backend.SEAWEEDFS).path)
        local_stack(home=home, workers=0, nats=ELSEWHERE_NATS, config=weed).stop()
        assert Home(home).backend() is S3Backend.SEAWEEDFS
        minio = tmp_path / "bin" / "minio"
        failing_program(minio, "I must not run")
        monkeypatch.setenv("PATH", str(minio.parent), prepend=os.pathsep)
        local_stack(home=home, workers=0, nats=ELSEWHERE_NATS).stop()
        with pytest.raises(StackError, match="data is of seaweedfs"):
            local_stack(home=home, nats=ELSEWHERE_NATS, config=StackConfig(s3_server=minio))


class TestStart:
    def test_a_port_taken_in_the_last_moment_is_replaced(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Free when looked at, taken when the server wants it."""
        listeners: list[socket.socket] = []
        really_free = servers._is_free

        def free_but_then_taken(port: int) -> bool:
            free = really_free(port)
            if free and len(listeners) < 2:
                listeners.append(listening(port))
            return free

        monkeypatch.setattr(servers, "_is_free", free_but_then_taken)
        caplog.set_level(logging.WARNING, "docnats.stack")
        try:
            start().check()
        finally:
            for listener in listeners:
                listener.close()
        assert "a port was taken meanwhile" in caplog.text

    def test_a_server_that_ends_at_once_is_quoted(self, local_stack: Start, tmp_path: Path) -> None:
        broken = failing_program(tmp_path / "bin" / "minio", "the moon is in the wrong phase")
        home = tmp_path / "home"
        with pytest.raises(StackError, match=r"s3 ended with code 3.*s3\.log.*\n.*wrong phase"):
            local_stack(home=home, config=StackConfig(s3_server=broken))
        eventually(lambda: is_free(home))

    def test_a_server_that_never_answers_is_given_up(
        self, local_stack: Start, tmp_path: Path
    ) -> None:
        mute = tmp_path / "bin" / "minio"
        mute.parent.mkdir()
        mute.write_text("#!/bin/sh\necho thinking\nexec sleep 1000\n")
        mute.chmod(0o755)
        home = tmp_path / "home"
        config = StackConfig(s3_server=mute, start_timeout=0.5)
        with pytest.raises(StackError, match=r"not ready within 0\.5 s.*\nthinking"):
            local_stack(home=home, config=config)
        eventually(lambda: is_free(home))

    def test_a_failed_start_leaves_no_temporary_files(
        self, local_stack: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = failing_program(tmp_path / "bin" / "minio", "no")
        temporary = tmp_path / "tmp"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        with pytest.raises(StackError):
            local_stack(config=StackConfig(s3_server=broken))
        assert list(temporary.iterdir()) == []

    def test_a_home_that_is_no_directory_is_an_error_at_once(
        self, local_stack: Start, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StackError, match="DOCNATS_HOME"):
            local_stack(home=tmp_path / "file")


class TestEnvironment:
    def test_servers_that_the_environment_names_are_not_started(
        self, local_stack: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NATS_URL", "nats://ann:pw@127.0.0.1:9")
        monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")
        stack = local_stack(workers=0)
        assert stack.processes() == []
        assert stack.s3.endpoint_url == "http://127.0.0.1:9"
        assert stack.environment["NATS_URL"] == "nats://ann:pw@127.0.0.1:9"

    def test_only_the_server_that_is_missing_is_started(self, local_stack: Start) -> None:
        stack = local_stack(workers=0, s3=ELSEWHERE_S3)
        assert [process.name for process in stack.processes()] == ["nats"]
        assert stack.s3 == ELSEWHERE_S3

    def test_an_embedded_stack_takes_no_server_from_the_environment(
        self, local_stack: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:9")
        monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of something else")
        stack = local_stack(workers=0, embedded=True)
        assert {process.name for process in stack.processes()} == {"nats", "s3"}

    async def test_its_variables_are_all_that_another_process_needs(
        self, local_stack: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stack = local_stack(workers=0)
        for name, value in stack.environment.items():
            monkeypatch.setenv(name, value)
        await write(S3Config(), "raw/a.pdf", b"x")
        assert NatsConfig() == stack.nats


def listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def failing_program(path: Path, says: str) -> Path:
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\necho {says}\nexit 3\n")
    path.chmod(0o755)
    return path


def is_free(home: Path) -> bool:
    """Tell whether no process runs in a home, and nobody holds its lock."""
    processes = psutil.process_iter(["cmdline", "cwd"])
    if any(str(home) in f"{p.info['cwd']} {p.info['cmdline']}" for p in processes):
        return False
    place = Home(home)
    locked = place.lock() is not None
    place.unlock()
    return locked
