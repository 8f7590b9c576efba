"""Whole stacks: servers and workers together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pandas as pd
import pytest

import docnats
from docnats.config import StackConfig
from docnats.notebook import close_session
from docnats.service import S3DocumentService
from docnats.stack import WORKER_COMMAND, LocalStack
from docnats.stack.binaries import S3Binary
from tests.kernels import Kernel
from tests.pdfs import HTML_PAGE, text_pdf


@pytest.fixture(scope="session")
def _session_stacks() -> Iterator[Callable[[S3Binary], LocalStack]]:
    started: dict[S3Binary, LocalStack] = {}

    def find(binary: S3Binary) -> LocalStack:
        if binary not in started:
            config = StackConfig(s3_server=binary.path)
            stack = LocalStack(workers=1, parsers=2, config=config, embedded=True)
            started[binary] = stack.start()
        return started[binary]

    yield find
    for stack in started.values():
        stack.stop()


@pytest.fixture
def stack(_session_stacks: Callable[[S3Binary], LocalStack], s3_binary: S3Binary) -> LocalStack:
    """A running stack with a worker, on each kind of S3 server; shared by the tests."""
    return _session_stacks(s3_binary)


@pytest.fixture
async def service(stack: LocalStack) -> AsyncIterator[S3DocumentService]:
    """A service connected to the shared stack."""
    async with S3DocumentService(stack.s3, stack.nats) as service:
        yield service


@pytest.fixture
def on_the_stack(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the environment name the shared stack, as on a cluster."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    yield
    close_session()


@pytest.fixture
def start_kernel() -> Iterator[Callable[[], Kernel]]:
    """Yield a function that starts a notebook's kernel; all of them end with the test."""
    started: list[Kernel] = []

    def start() -> Kernel:
        started.append(Kernel())
        return started[-1]

    yield start
    for kernel in started:
        kernel.kill()


@pytest.fixture
def jobs(on_the_stack: None) -> pd.DataFrame:
    """Three jobs: two pages, no PDF, one page."""
    sources = {"two.pdf": text_pdf(2), "page.pdf": HTML_PAGE, "one.pdf": text_pdf(1)}
    return docnats.submit_many(sources, force=True, progress="none")  # results of their own


@pytest.fixture
def start_stack(
    local_stack: Callable[..., LocalStack], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., LocalStack]:
    """A function that starts a stack of the test's own, for tests that break it."""

    def start(
        *, ack_wait: float = 30, worker_options: Sequence[str] = (), **options: Any
    ) -> LocalStack:
        monkeypatch.setenv("DOCNATS_ACK_WAIT", str(ack_wait))
        return local_stack(worker_command=(*WORKER_COMMAND, *worker_options), **options)

    return start
