"""Chaos on the stack of a session: whatever is killed, every row is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psutil
import pytest

import docnats
from docnats import chaos
from docnats.notebook.session import Session, close_session, current_session, replace_session
from docnats.stack import LocalStack
from tests.pdfs import text_pdf
from tests.waiting import eventually


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """The embedded stack of this session, with a worker that has reported."""
    monkeypatch.setenv("DOCNATS_ACK_WAIT", "2")
    replace_session(Session(embedded=True))
    assert docnats.health().healthy
    stack = current_session().stack
    assert stack is not None
    yield stack
    close_session()


def restarts(stack: LocalStack, name: str) -> int:
    return next(process.restarts for process in stack.processes() if process.name == name)


@pytest.mark.parametrize(
    ("act", "hit"),
    [
        (chaos.kill_worker, "worker-1"),
        (chaos.kill_parser, "parser of worker-1"),
        (lambda: chaos.stall_worker(6), "worker-1"),
        (lambda: chaos.kill_server("nats"), "nats"),
        (lambda: chaos.kill_server("s3"), "s3"),
    ],
    ids=["kill-worker", "kill-parser", "stall-worker", "kill-nats", "kill-s3"],
)
def test_a_batch_is_done_whatever_is_killed_in_the_middle(
    stack: LocalStack, act: Callable[[], chaos.Fault], hit: str
) -> None:
    sources = {f"{number}.pdf": text_pdf(100) for number in range(30)}
    jobs = docnats.submit_many(sources, wait=False, progress="none")
    deadline = time.monotonic() + 60
    while (jobs.state == "done").sum() < 3:
        assert time.monotonic() < deadline
        jobs = jobs.docnats.refresh()
    fault = act()
    assert fault.process == hit
    jobs = jobs.docnats.wait(progress="none", timeout=120)
    assert set(jobs.state) == {"done"}
    assert (jobs.pages == 100).all()
    assert (jobs.pages_failed == 0).all()
    if "killed" in fault.deed:
        eventually(lambda: not psutil.pid_exists(fault.pid))
    if hit in ("nats", "s3", "worker-1") and fault.deed == "killed":
        assert restarts(stack, hit) == 1
    stack.check()
