"""Every door of a running stack, tried without a key and with a wrong one; and where keys lie."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import traceback
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

import docnats
from docnats.config import NatsConfig
from docnats.errors import BusError, StorageError
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from docnats.stack.binaries import S3Backend, S3Binary
from docnats.stack.certificates import new_certificates
from docnats.stack.home import Home
from docnats.storage import S3Storage
from tests.bad_pdfs import encrypted_pdf
from tests.pdfs import HTML_PAGE, text_pdf

HOST = "127.0.0.1"
SECONDS = 10.0

GRPC_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How HTTP/2 begins, and an empty frame of settings; a server answers with its own."""

HEALTH = {"/status", "/healthz", "/minio/health/live", "/minio/health/ready"}
"""What tells nothing but that the server is alive."""

ANONYMOUS = [
    ("GET", "/"),
    ("GET", "/{bucket}"),
    ("GET", "/{bucket}/raw/a.pdf"),
    ("HEAD", "/{bucket}/raw/a.pdf"),
    ("PUT", "/{bucket}/raw/b.pdf"),
    ("DELETE", "/{bucket}/raw/a.pdf"),
    ("PUT", "/another-bucket"),
    ("POST", "/{bucket}?delete"),
    ("GET", "/buckets/{bucket}/raw/a.pdf"),
    ("GET", "/minio/admin/v3/info"),
    ("GET", "/minio/v2/metrics/cluster"),
    ("GET", "/metrics"),
    ("GET", "/debug/pprof/"),
]


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    return {
        (connection.laddr.ip, connection.laddr.port)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def family(stack: LocalStack) -> dict[str, psutil.Process]:
    """Return all processes of a stack, by their name and id."""
    found = {}
    for status in stack.processes():
        process = psutil.Process(status.pid)
        for one in (process, *process.children(recursive=True)):
            found[f"{status.name} {one.pid}"] = one
    supervisor = psutil.Process(stack.processes()[0].pid).parent()
    assert supervisor is not None
    return {"supervisor": supervisor, **found}


def ports(stack: LocalStack, name: str) -> set[int]:
    pid = next(process.pid for process in stack.processes() if process.name == name)
    return {port for _, port in listening(psutil.Process(pid))}


def s3_port(stack: LocalStack) -> int:
    return int(str(stack.s3.endpoint_url).rpartition(":")[2])


def nats_port(stack: LocalStack) -> int:
    return int(stack.nats.servers[0].rpartition(":")[2])


class TestDoors:
    def test_they_are_known_and_on_this_machine_only(self, stack: LocalStack) -> None:
        """nats-server has no monitoring and no cluster port; workers and parsers have none."""
        opened = {name: listening(process) for name, process in family(stack).items()}
        assert all(ip_address(ip).is_loopback for places in opened.values() for ip, _ in places)
        assert {name.split()[0] for name, places in opened.items() if places} == {"nats", "s3"}
        assert ports(stack, "nats") == {nats_port(stack)}
        assert ports(stack, "s3") <= set(Home(stack.home).ports(stack.home / "s3"))

    @pytest.mark.parametrize(
        "login",
        [
            {},
            {"user": "docnats"},
            {"user": "docnats", "pass": "wrong"},
            {"user": "admin", "pass": "admin"},
            {"auth_token": "wrong"},
        ],
        ids=["nobody", "no password", "wrong password", "default", "token"],
    )
    def test_nats_lets_nobody_in_without_the_password(
        self, login: dict[str, str], stack: LocalStack
    ) -> None:
        with socket.create_connection((HOST, nats_port(stack)), SECONDS) as connection:
            stream = connection.makefile("rb")
            stream.readline()
            hello = json.dumps({"verbose": False, **login}).encode()
            connection.sendall(b"CONNECT " + hello + b"\r\nPING\r\n")
            assert b"Authorization Violation" in stream.readline()

    async def test_a_client_with_a_wrong_password_is_told_so(self, stack: LocalStack) -> None:
        wrong = stack.nats.but(password="wrong", connect_timeout=2)  # noqa: S106 - it is
        with pytest.raises(BusError):
            async with S3DocumentService(stack.s3, wrong):
                pass

    async def test_s3_does_nothing_for_nobody(self, stack: LocalStack) -> None:
        bucket = stack.s3.bucket_name
        async with S3Storage(stack.s3) as storage:
            await storage.put_bytes("raw/a.pdf", b"private")
            for method, path in ANONYMOUS:
                status, body = ask(s3_port(stack), method, path.format(bucket=bucket))
                assert status >= 400, (method, path, status)
                assert b"private" not in body
            assert await storage.get_bytes("raw/a.pdf") == b"private"

    def test_s3_says_to_nobody_that_it_is_alive_and_no_more(self, stack: LocalStack) -> None:
        answers = {path: ask(s3_port(stack), "GET", path) for path in HEALTH}
        assert {body for status, body in answers.values() if status < 400} == {b""}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"aws_secret_access_key": "wrong"},
            {"aws_access_key_id": "WRONG"},
            {"aws_access_key_id": "minioadmin", "aws_secret_access_key": "minioadmin"},
        ],
        ids=["secret", "key", "default"],
    )
    async def test_s3_does_nothing_for_a_wrong_key(
        self, wrong: dict[str, str], stack: LocalStack
    ) -> None:
        async with S3Storage(stack.s3.but(max_attempts=1, **wrong)) as storage:
            for attempt in (
                storage.put_bytes("raw/a.pdf", b"mine"),
                storage.get_bytes("raw/a.pdf"),
                storage.delete(["raw/a.pdf"]),
            ):
                with pytest.raises(StorageError):
                    await attempt

    def test_the_inner_services_of_seaweedfs_speak_to_themselves_only(
        self, stack: LocalStack, s3_binary: S3Binary, tmp_path: Path
    ) -> None:
        """Nine ports, over HTTP and gRPC: a certificate opens them, and no other one does."""
        if s3_binary.backend is not S3Backend.SEAWEEDFS:
            pytest.skip("MinIO has no inner services")
        inner = sorted(ports(stack, "s3") - {s3_port(stack)})
        assert len(inner) == 9
        stranger = pem_files(tmp_path)
        own = (stack.home / "s3" / "certificate.pem", stack.home / "s3" / "key.pem")
        for port in inner:
            assert not is_open(port, None), port
            assert not is_open(port, stranger), port
            assert is_open(port, own), port
            assert in_the_clear(port) in {b"", b"HTTP/1.0 400 Bad Request"}, port


def ask(port: int, method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
    try:
        connection.request(method, path, body=b"mine" if method in {"PUT", "POST"} else None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def pem_files(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of the same name, signed by somebody else."""
    made = new_certificates("seaweedfs", IPv4Address(HOST))
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(made.certificate)
    key.write_text(made.key)
    return certificate, key


def is_open(port: int, shown: tuple[Path, Path] | None) -> bool:
    """Tell whether a port answers who shows this certificate: gRPC's greeting, or a page."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if shown is not None:
        context.load_cert_chain(*shown)
    try:
        with (
            socket.create_connection((HOST, port), SECONDS) as plain,
            context.wrap_socket(plain) as connection,
        ):
            connection.sendall(GRPC_HELLO)
            return len(connection.recv(9)) > 0
    except (ssl.SSLError, ConnectionError):
        return False


def in_the_clear(port: int) -> bytes:
    """Return the first line of what a port answers without TLS."""
    with socket.create_connection((HOST, port), SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            return connection.makefile("rb").readline().strip()
        except ConnectionError:
            return b""


PASSWORD, WRONG_PASSWORD = "open-sesame-Tq8", "open-barley-Zx3"

CELLS = [
    "import docnats, os\n"
    "from pathlib import Path\n"
    "password, wrong = (Path(f).read_text() for f in ('right.txt', 'wrong.txt'))",
    "jobs = docnats.submit_many('*.pdf', password=password, batch='right')\njobs",
    "docnats.submit_many('locked.pdf', password=wrong, batch='wrong', force=True)",
    "jobs.docnats.explain()",
    "docnats.S3Config(), docnats.NatsConfig(), docnats.health()",
    "docnats.submit_many('nothing/*.pdf', password=password)",
    "docnats.attach('there-is-no-such-batch')",
]


@pytest.fixture
def secrets(stack: LocalStack) -> dict[str, str]:
    found = Home(stack.home).secrets()
    del found["nats_user"]  # a name that every stack has
    found["pem_key"] = "".join(_body(stack.home / "s3" / "key.pem"))
    return {**found, "password": PASSWORD, "wrong password": WRONG_PASSWORD}


def _body(pem: Path) -> list[str]:
    """Return what is between the first and the last line, as long as the server has one."""
    return pem.read_text().splitlines()[1:2] if pem.exists() else ["no such key"]


def leaks(text: str, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if secret in text]


@pytest.fixture(scope="module")
def saved_notebooks() -> dict[Path, str]:
    """The notebooks of the stacks on which one was run."""
    return {}


@pytest.fixture
def notebook(
    on_the_stack: None, saved_notebooks: dict[Path, str], stack: LocalStack, tmp_path: Path
) -> str:
    """A notebook with a batch of every kind of end, run in a real kernel and saved."""
    if stack.home not in saved_notebooks:
        saved_notebooks[stack.home] = run_notebook(tmp_path)
    return saved_notebooks[stack.home]


def run_notebook(folder: Path) -> str:
    (folder / "right.txt").write_text(PASSWORD)
    (folder / "wrong.txt").write_text(WRONG_PASSWORD)
    (folder / "locked.pdf").write_bytes(encrypted_pdf(PASSWORD))
    (folder / "plain.pdf").write_bytes(text_pdf(3))
    (folder / "page.pdf").write_bytes(HTML_PAGE)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    NotebookClient(
        notebook,
        timeout=120,
        allow_errors=True,
        store_widget_state=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return nbformat.writes(notebook)


@pytest.mark.usefixtures("on_the_stack")
class TestSecrets:
    def test_a_saved_notebook_and_its_panel_do_not_show_them(
        self, secrets: dict[str, str], notebook: str
    ) -> None:
        """With a password, a wrong one, documents that fail, and tracebacks."""
        assert "the password given does not open it" in notebook
        assert '"model_module": "anywidget"' in notebook
        assert notebook.count('"output_type": "error"') == 2
        assert leaks(notebook, secrets) == []

    def test_command_lines_and_logs_do_not_show_them(
        self, stack: LocalStack, secrets: dict[str, str], notebook: str
    ) -> None:
        everybody = psutil.process_iter(["cmdline"])
        shown = [" ".join(process.info["cmdline"] or ()) for process in everybody]
        assert any("nats.conf" in line for line in shown)
        assert leaks("\n".join(shown), secrets) == []
        logs = "".join(log.read_text(errors="replace") for log in stack.home.glob("logs/*"))
        assert "job" in logs
        assert leaks(logs, secrets) == []
        assert "X-Amz-Signature" not in logs

    def test_files_of_the_home_do_not_hold_them(
        self, stack: LocalStack, secrets: dict[str, str], notebook: str
    ) -> None:
        known = {"secrets.json", "stack.json", "nats.conf", "identities.json", "security.toml"}
        known.add("key.pem")
        for path in (path for path in stack.home.rglob("*") if path.is_file()):
            expected = set(secrets) if path.name in known else set()
            # A password goes with the job's message, which is on the queue until it is done.
            if path.is_relative_to(stack.home / "nats" / "data"):
                expected = {"password", "wrong password"}
            found = set(leaks(path.read_bytes().decode("latin-1"), secrets))
            assert found <= expected, (path, found)

    def test_results_and_rows_do_not_hold_them(
        self, stack: LocalStack, secrets: dict[str, str], notebook: str
    ) -> None:
        assert leaks(docnats.jobs().to_csv(), secrets) == []
        jobs = docnats.jobs("right")
        assert {"done", "failed"} == set(jobs.state)
        for job_id in jobs[jobs.state == "done"].job_id:
            document = jobs.docnats.document(job_id)
            assert leaks(f"{document!r} {json.dumps(document.document)}", secrets) == []

    def test_processes_have_only_those_they_need(
        self, stack: LocalStack, secrets: dict[str, str], s3_binary: S3Binary
    ) -> None:
        """Of the servers, MinIO takes its key from the environment; workers need both."""
        needs = {"worker": {"nats_password", "s3_access_key", "s3_secret_key"}}
        if s3_binary.backend is S3Backend.MINIO:
            needs["s3"] = {"s3_access_key", "s3_secret_key"}
        looked = 0
        for name, process in family(stack).items():
            main = next((p for p in stack.processes() if p.pid == process.pid), None)
            try:
                seen = "\n".join(process.environ().values())
            except psutil.AccessDenied:  # a parser, which is closed to all but root
                assert main is None
                continue
            looked += 1
            expected = needs.get(main.name.partition("-")[0], set()) if main else set()
            assert set(leaks(seen, secrets)) == expected, name
        assert looked >= 5, "supervisor, both servers, worker, fork server"

    async def test_reprs_and_tracebacks_do_not_show_them(
        self, stack: LocalStack, secrets: dict[str, str]
    ) -> None:
        shown = [stack.s3, stack.nats, stack, *stack.processes(), Home(stack.home).running()]
        shown.append(new_certificates("seaweedfs", IPv4Address(HOST)))
        assert leaks("\n".join(f"{thing!r} {thing}" for thing in shown), secrets) == []
        for failure in [failure async for failure in failures(stack)]:
            assert leaks("".join(traceback.format_exception(failure)), secrets) == []
            assert leaks(locals_of_ours(failure), secrets) == []


async def failures(stack: LocalStack) -> Any:
    """Yield errors of calls that had the keys in their hands."""
    gone = stack.s3.but(endpoint_url=f"http://{HOST}:9", max_attempts=1, connect_timeout=1)
    for s3 in (gone, stack.s3.but(bucket_name="there-is-none", max_attempts=1)):
        try:
            async with S3Storage(s3) as storage:
                await storage.get_bytes("raw/none")
        except StorageError as error:
            yield error
    away = stack.nats.but(servers=f"nats://{HOST}:9", connect_timeout=1)
    try:
        async with S3DocumentService(stack.s3, away):
            pass
    except BusError as error:
        yield error


def locals_of_ours(failure: BaseException) -> str:
    """Return what a verbose traceback shows of the variables in docnats' own functions."""
    frames: Iterator[Any] = traceback.walk_tb(failure.__traceback__)
    return "\n".join(
        repr(frame.f_locals) for frame, _ in frames if "docnats" in frame.f_code.co_filename
    )


def test_settings_hide_what_they_hold() -> None:
    config = NatsConfig(servers="nats://ann:hush-hush@host:4222")
    assert "hush-hush" not in f"{config!r} {config} {config.model_dump()}"
