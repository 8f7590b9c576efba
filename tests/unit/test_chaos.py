"""What chaos says, and what it refuses; what it does is in tests/stack/test_chaos.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest

import docnats
from docnats import chaos
from docnats.config import S3Config
from docnats.errors import ConfigError, StackError
from docnats.notebook.session import Session, close_session, replace_session
from docnats.stack import LocalStack
from docnats.stack.offspring import grandchildren
from tests.waiting import eventually

INNER = """
import subprocess, sys
codes = "import time; time.sleep(1000)", "while True: pass"
found = [subprocess.Popen([sys.executable, "-c", code]) for code in codes]
found[0].wait()
"""
OUTER = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {INNER!r}]).wait()"
"""A process with two grandchildren, of which one works."""


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    """A NATS server of its own, an S3 server elsewhere, and a worker that sleeps."""
    elsewhere = S3Config(endpoint_url="http://127.0.0.1:9")
    with LocalStack(s3=elsewhere, worker_command=("sleep", "1000")) as stack:
        yield stack


@pytest.fixture
def _a_session_of_its_own() -> Iterator[None]:
    replace_session(Session())
    yield
    close_session()


def test_a_fault_is_shown_as_a_sentence() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    fault = chaos.Fault("worker-1", 7, "killed", "it is started again", at)
    assert repr(fault) == "killed worker-1 (process 7) at 03:04:05 UTC; it is started again"


def test_chaos_is_at_hand_without_an_import() -> None:
    code = "import docnats, sys; print('docnats.chaos' in sys.modules, docnats.chaos.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "docnats.chaos"]
    assert "chaos" in dir(docnats)


@pytest.mark.parametrize(
    "act",
    [
        chaos.kill_worker,
        chaos.kill_parser,
        lambda: chaos.stall_worker(1),
        lambda: chaos.kill_server("s3"),
    ],
)
@pytest.mark.usefixtures("_a_session_of_its_own")
def test_without_an_embedded_stack_there_is_nothing_to_break(
    act: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://nats.example.org")
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://s3.example.org")
    with pytest.raises(StackError, match=r"only what docnats started.*NATS_URL"):
        act()


def test_a_server_that_is_not_the_stacks_own_is_refused(stack: LocalStack) -> None:
    with pytest.raises(StackError, match=r"s3: not running in this stack.*nats, worker-1"):
        chaos.kill_server("s3", stack=stack)


@pytest.mark.parametrize("name", ["worker-7", "worker-x"])
def test_a_worker_that_does_not_run_is_refused(stack: LocalStack, name: str) -> None:
    with pytest.raises(StackError, match=f"{name}: not running in this stack"):
        chaos.kill_worker(name, stack=stack)


def test_a_stack_without_workers_says_so(stack: LocalStack) -> None:
    stack.stop_worker("worker-1")
    with pytest.raises(StackError, match="not running in this stack"):
        chaos.kill_worker(stack=stack)
    with pytest.raises(StackError, match="no parser runs"):
        chaos.kill_parser(stack=stack)


@pytest.mark.parametrize(
    "act",
    [
        lambda stack: chaos.kill_worker("nats", stack=stack),
        lambda stack: chaos.kill_server("worker-1", stack=stack),
        lambda stack: chaos.stall_worker(0, stack=stack),
        lambda stack: chaos.stall_worker(float("nan"), stack=stack),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    stack: LocalStack, act: Callable[[LocalStack], Any]
) -> None:
    with pytest.raises(ConfigError):
        act(stack)
    assert all(process.restarts == 0 for process in stack.processes())


def test_a_killed_worker_is_started_again(stack: LocalStack) -> None:
    fault = chaos.kill_worker(stack=stack)
    assert fault.process == "worker-1"
    assert "delivered again within 10 s" in repr(fault)
    eventually(lambda: not psutil.pid_exists(fault.pid))
    eventually(lambda: stack.processes()[-1].restarts == 1)


def test_a_paused_worker_goes_on_after_its_time(stack: LocalStack) -> None:
    fault = chaos.stall_worker(0.5, stack=stack)
    process = psutil.Process(fault.pid)
    eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    eventually(lambda: process.status() == psutil.STATUS_SLEEPING)


def test_of_the_grandchildren_the_busiest_comes_first() -> None:
    top = subprocess.Popen([sys.executable, "-c", OUTER], start_new_session=True)
    try:
        eventually(lambda: len(grandchildren(top.pid)) == 2)
        eventually(lambda: grandchildren(top.pid)[0].used > grandchildren(top.pid)[1].used + 5)
        assert grandchildren(top.pid)[0].running
        assert grandchildren(top.pid)[1].running is False
    finally:
        os.killpg(top.pid, 9)
        top.wait()
