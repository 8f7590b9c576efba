"""The command line as a user runs it: real processes, real servers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import docnats
from docnats.stack import LocalStack
from docnats.table import COLUMNS
from tests.pdfs import HTML_PAGE, text_pdf

DOCNATS = [sys.executable, "-m", "docnats"]


def run(
    *arguments: str | os.PathLike[str], timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DOCNATS, *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


def processes_in(home: Path) -> list[psutil.Process]:
    """Return the processes that name a stack's home in their command or work in it."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(home) in word for word in process.info["cmdline"] or ())
    ]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("DOCNATS_HOME", str(home))
    return home


def test_demo_shows_a_table_and_text_and_leaves_nothing_running(home: Path) -> None:
    done = run("demo")
    assert done.returncode == 0, done.stderr
    for path in docnats.sample_paths():
        assert path.name in done.stdout
    assert "docnats.attach(" in done.stdout
    assert processes_in(home) == []


def test_submit_prints_json_lines_of_all_columns(home: Path, tmp_path: Path) -> None:
    (tmp_path / "good.pdf").write_bytes(text_pdf(2))
    (tmp_path / "bad.pdf").write_bytes(HTML_PAGE)
    done = run("submit", tmp_path / "good.pdf", tmp_path / "bad.pdf", "--json", "--force")
    good, bad = (json.loads(line) for line in done.stdout.splitlines())
    assert list(good) == list(COLUMNS)
    assert (good["filename"], good["state"], good["pages"]) == ("good.pdf", "done", 2)
    assert (bad["state"], bad["error_type"]) == ("failed", "not_a_pdf")
    assert done.returncode == 1
    listed = run("jobs", good["batch"], "--json")
    assert [json.loads(line)["job_id"] for line in listed.stdout.splitlines()] == [
        good["job_id"],
        bad["job_id"],
    ]


def test_an_interrupted_submission_says_what_goes_on(
    home: Path, tmp_path: Path, interruptible: None
) -> None:
    for number in range(50):
        (tmp_path / f"{number}.pdf").write_bytes(text_pdf())
    with subprocess.Popen(
        [*DOCNATS, "submit", tmp_path], stderr=subprocess.PIPE, text=True
    ) as submission:
        assert submission.stderr is not None
        assert "0 of 50 documents done" in submission.stderr.readline()
        submission.send_signal(signal.SIGINT)
        told = submission.stderr.read()
        assert submission.wait(60) == 130
    assert "interrupted; what is on the queue stays there" in told
    assert "Traceback" not in told


def test_up_prints_what_another_shell_needs_and_ends_on_sigint(home: Path, tmp_path: Path) -> None:
    """Also in a terminal, where a URL with its password is longer than a line."""
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    ours, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80"}
    with (
        os.fdopen(ours) as shown,
        subprocess.Popen([*DOCNATS, "up"], stdout=terminal, env=environment) as up,
    ):
        os.close(terminal)
        exports = {}
        for line in shown:
            name, _, value = line.removeprefix("export ").strip().partition("=")
            exports[name] = value
            if name == "NATS_URL":
                break
        other = subprocess.run(
            [*DOCNATS, "submit", str(tmp_path / "a.pdf"), "--json"],
            env={**os.environ, **exports, "DOCNATS_HOME": str(tmp_path / "unused")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert json.loads(other.stdout)["state"] == "done", other.stderr
        assert not (tmp_path / "unused").exists()
        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 0
    assert processes_in(home) == []


def test_up_takes_a_number_of_workers_or_auto(home: Path) -> None:
    with subprocess.Popen(
        [*DOCNATS, "up", "--workers", "auto"], stdout=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("export ")
        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 0
    for wrong in ("many", "-1", "1.5"):
        done = run("up", "--workers", wrong)
        assert done.returncode == 2
        assert "or auto" in done.stderr


def test_estimate_tells_what_all_would_take(home: Path, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.pdf").write_bytes(text_pdf(1 + number % 3))
    done = run("estimate", tmp_path, "--sample", "6", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["documents"], told["sampled"], told["complete"]) == (30, 6, False)
    assert told["pages"]["low"] <= 60 <= told["pages"]["high"]
    listed = run("jobs", told["batch"], "--json")
    assert len(listed.stdout.splitlines()) == 6


def test_a_missing_file_is_a_usage_error_without_a_traceback(home: Path) -> None:
    done = run("submit", "nowhere.pdf")
    assert done.returncode == 2
    assert "nowhere.pdf" in done.stderr
    assert "Traceback" not in done.stderr


def test_servers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    done = run("jobs")
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_one_line_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", "somewhere/" * 20)
    done = run("jobs")
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*somewhere.*S3_ENDPOINT_URL\)\n", done.stderr)


def test_a_full_disk_is_an_error_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*DOCNATS, "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*No space left on device\n", done.stderr)


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCNATS_TIMEOUT", "soon")
    done = run("jobs")
    assert done.returncode == 2
    assert "DOCNATS_TIMEOUT" in done.stderr


def test_health_says_what_is_wrong_by_its_status(home: Path) -> None:
    done = run("health", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["healthy"] is True


def test_health_reports_servers_that_are_away_instead_of_giving_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:9")
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobodys")
    done = run("health", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["healthy"] is False
    parts = {part["name"]: part for part in told["parts"]}
    assert list(parts) == ["s3", "nats", "workers"]
    for part in parts.values():
        assert part["healthy"] is False
        assert part["seconds"] > 0
        assert "127.0.0.1:9" in part["detail"]
    shown = run("health")
    assert (shown.returncode, shown.stdout.count("BAD")) == (1, 3)


def test_a_worker_whose_metrics_port_is_taken_says_so_before_it_connects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("DOCNATS_METRICS_PORT", str(port))
        done = run("worker")
    assert done.returncode == 2
    assert f"another process listens at 127.0.0.1:{port}" in " ".join(done.stderr.split())
    wrong = run("worker", "--log-format", "xml")
    assert (wrong.returncode, "json" in wrong.stderr) == (2, True)


def test_submit_serves_metrics_meanwhile(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    done = run("submit", tmp_path / "a.pdf", "--json", "--metrics-port", "0")
    assert json.loads(done.stdout)["state"] == "done"
    assert re.search(r"metrics at http://127\.0\.0\.1:\d+/metrics", done.stderr)


def test_gc_shows_what_is_left_over_and_deletes_it_on_request(
    home: Path, tmp_path: Path, local_stack: Callable[..., LocalStack]
) -> None:
    local_stack(home=home)  # stays up between the commands
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    job = json.loads(run("submit", tmp_path / "a.pdf", "--json").stdout)
    code = (
        "from docnats.notebook.session import current_session as s; from docnats.names import *\n"
        "s().run(s().service().storage.put_bytes(raw_key('lost'), bytes(2000)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert "0 leftovers" in run("gc").stdout
    shown = run("gc", "--older-than", "0s")
    assert "raw/lost.pdf" in shown.stdout
    assert "1 leftovers, 0.0 MB, found; delete them with --delete" in shown.stdout
    (deleted,) = run("gc", "--delete", "--older-than", "0s", "--json").stdout.splitlines()
    assert {"key": "raw/lost.pdf", "bytes": 2000}.items() <= json.loads(deleted).items()
    assert "0 leftovers" in run("gc", "--older-than", "0s").stdout
    assert json.loads(run("jobs", "--json").stdout) == job
    (batch,) = map(json.loads, run("batches", "--json").stdout.splitlines())
    assert (batch["batch"], batch["jobs"], batch["done"]) == (job["batch"], 1, 1)
    assert re.search(rf"^{job['batch']} .* 1  1 done ", run("batches").stdout, re.MULTILINE)
    wrong = run("jobs", "nosuch")
    assert (wrong.returncode, "no batch 'nosuch'" in wrong.stderr) == (2, True)
    wrong = run("gc", "--older-than", "24")
    assert (wrong.returncode, "length of time" in wrong.stderr) == (2, True)


COMMANDS = [
    "demo",
    "up",
    "worker",
    "signer",
    "submit",
    "estimate",
    "batches",
    "jobs",
    "dead-letters",
    "requeue",
    "health",
    "gc",
    "archive",
    "verify",
]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    done = run(*([command] if command else []), "--help")
    assert done.returncode == 0
    assert "Exit status" in done.stdout


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_version_is_the_packages(asked: str) -> None:
    done = run(asked)
    assert (done.returncode, done.stdout.strip()) == (0, docnats.__version__)
