"""The background loop: blocking calls from anywhere, with clean interrupts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from docnats.errors import DocnatsError
from docnats.notebook.loop import BackgroundLoop


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop()
    yield loop
    loop.close()


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_it_returns_what_the_coroutine_returns(loop: BackgroundLoop) -> None:
    assert loop.run(answer()) == 42


async def test_it_works_under_a_running_loop(loop: BackgroundLoop) -> None:
    """As in a Jupyter cell, whose kernel runs a loop on the same thread."""
    assert loop.run(answer()) == 42


async def test_its_outcome_can_be_awaited_from_any_loop(loop: BackgroundLoop) -> None:
    assert await asyncio.wrap_future(loop.start(answer()).outcome) == 42


def test_an_exception_is_raised_as_it_is(loop: BackgroundLoop) -> None:
    async def fail() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        loop.run(fail())


def test_many_threads_may_use_it(loop: BackgroundLoop) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: loop.run(answer()), range(100))) == [42] * 100


def test_a_call_on_its_own_thread_is_refused(loop: BackgroundLoop) -> None:
    """It would wait for itself for ever."""

    async def call_again() -> None:
        loop.run(answer())

    with pytest.raises(DocnatsError, match="own event loop"):
        loop.run(call_again())


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_cancels_and_waits_for_the_cleanup(loop: BackgroundLoop) -> None:
    started, cleaned_up = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.set()

    def interrupt() -> None:
        assert started.wait(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert cleaned_up.is_set()
    interrupter.join()
    assert loop.run(answer()) == 42


@pytest.mark.parametrize("cancelled_before", [False, True])
def test_closing_waits_until_all_has_cleaned_up(
    loop: BackgroundLoop, cancelled_before: bool
) -> None:
    steps: list[str] = []
    started = threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            steps.append("cleaned up")

    call = loop.start(work())
    assert started.wait(10)
    if cancelled_before:
        call.cancel()
    loop.close()
    assert steps == ["cleaned up"]
    assert call.outcome.done()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_sees_that_the_thread_is_gone(loop: BackgroundLoop) -> None:
    loop.run(answer())
    pid = os.fork()
    if pid == 0:
        os._exit(0 if not loop.alive else 1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loop.alive
