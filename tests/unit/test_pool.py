"""Real processes, killed in every way a bad document may kill one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from docnats.errors import ErrorType, ParseError, StackError
from docnats.pool import ParserPool, Spent, slot
from tests import misbehaviour
from tests.waiting import eventually

MIB = 1 << 20
LIMIT = 1024 * MIB
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ParserPool]:
    async with ParserPool(2, memory_limit=LIMIT, workspace=tmp_path) as pool:
        yield pool


@pytest.fixture
async def single(tmp_path: Path) -> AsyncIterator[ParserPool]:
    async with ParserPool(1, memory_limit=LIMIT, workspace=tmp_path) as pool:
        yield pool


async def _error_type(pool: ParserPool, function: Callable[..., object], *args: object) -> str:
    with pytest.raises(ParseError) as failure:
        await pool.run(function, *args, timeout=PATIENCE)
    return failure.value.error_type


async def test_a_function_runs_in_another_process(pool: ParserPool) -> None:
    assert await pool.run(os.getpid, timeout=PATIENCE) != os.getpid()


async def test_an_exception_of_the_function_arrives_as_it_is(pool: ParserPool) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await pool.run(int, "seven", timeout=PATIENCE)


async def test_a_parse_error_keeps_its_type_and_message(pool: ParserPool) -> None:
    with pytest.raises(ParseError, match="no pages") as failure:
        await pool.run(misbehaviour.refuse, "no pages", timeout=PATIENCE)
    assert failure.value.error_type is ErrorType.MALFORMED


async def test_a_result_that_cannot_be_sent_is_an_error(pool: ParserPool) -> None:
    with pytest.raises((AttributeError, TypeError, ParseError)):
        await pool.run(misbehaviour.give_back_a_lambda, timeout=PATIENCE)
    assert await pool.run(len, "still there", timeout=PATIENCE) == 11


@pytest.mark.parametrize(
    ("function", "args", "error_type", "says"),
    [
        (misbehaviour.segfault, (), ErrorType.CRASHED, "SIGSEGV"),
        (os.abort, (), ErrorType.CRASHED, "SIGABRT"),
        (os._exit, (3,), ErrorType.CRASHED, "exit code 3"),
        (misbehaviour.complain_and_abort, (), ErrorType.CRASHED, "out_of_range"),
        (misbehaviour.allocate, (3 * LIMIT,), ErrorType.OUT_OF_MEMORY, "1,024 MiB"),
        (misbehaviour.spend, (0.2,), ErrorType.TIMEOUT, "too much processor time"),
        (misbehaviour.kill_self, (), ErrorType.OUT_OF_MEMORY, "killed from outside"),
    ],
)
async def test_a_death_is_told_from_others(
    pool: ParserPool,
    function: Callable[..., object],
    args: tuple[object, ...],
    error_type: ErrorType,
    says: str,
) -> None:
    with pytest.raises(ParseError, match=says) as failure:
        await pool.run(function, *args, timeout=PATIENCE)
    assert failure.value.error_type is error_type
    assert failure.value.transient is (function is misbehaviour.kill_self)


async def test_deaths_cost_their_own_tasks_only(pool: ParserPool) -> None:
    """Of 60 tasks, every fourth one kills its process; all others give their results."""

    async def task(number: int) -> int | str:
        if number % 4 == 0:
            return await _error_type(pool, misbehaviour.segfault)
        return await pool.run(abs, -number, timeout=PATIENCE)

    results = await asyncio.gather(*map(task, range(60)))
    assert results == ["crashed" if number % 4 == 0 else number for number in range(60)]


async def test_native_code_that_hangs_is_killed_at_its_limit(
    pool: ParserPool, tmp_path: Path
) -> None:
    with pytest.raises(ParseError, match="limit of 1 s") as failure:
        await pool.run(misbehaviour.touch_and_hang, str(tmp_path / "pid"), timeout=1)
    assert failure.value.error_type is ErrorType.TIMEOUT
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not psutil.pid_exists(pid), what="the process is gone")


async def test_a_process_that_ends_in_good_order_is_no_lost_task(pool: ParserPool) -> None:
    with pytest.raises(ParseError):
        await pool.run(os._exit, 0, timeout=0.3)


async def test_the_time_limit_starts_with_the_task_not_with_its_wait(single: ParserPool) -> None:
    slow = asyncio.create_task(single.run(misbehaviour.wait, 1.0, timeout=PATIENCE))
    await asyncio.sleep(0)
    assert await single.run(len, "quick", timeout=0.5) == 5
    assert await slow == 1.0


async def test_cancelling_kills_the_process_at_work_and_no_other(
    pool: ParserPool, tmp_path: Path
) -> None:
    neighbour = asyncio.create_task(pool.run(misbehaviour.wait, 1.0, timeout=PATIENCE))
    victim = asyncio.create_task(
        pool.run(misbehaviour.touch_and_hang, str(tmp_path / "pid"), timeout=PATIENCE)
    )
    await asyncio.to_thread(eventually, (tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    victim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await victim
    await asyncio.to_thread(eventually, lambda: not psutil.pid_exists(pid))
    assert await neighbour == 1.0


async def test_a_task_cancelled_while_it_waits_never_runs(
    single: ParserPool, tmp_path: Path
) -> None:
    slow = asyncio.create_task(single.run(misbehaviour.wait, 0.5, timeout=PATIENCE))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(
        single.run(misbehaviour.touch_and_hang, str(tmp_path / "pid"), timeout=PATIENCE)
    )
    await asyncio.sleep(0)
    waiting.cancel()
    await slow
    assert await single.run(len, "next", timeout=PATIENCE) == 4
    assert not (tmp_path / "pid").exists()


async def test_a_process_killed_while_idle_is_replaced(single: ParserPool) -> None:
    for _ in range(3):
        os.kill(await single.run(os.getpid, timeout=PATIENCE), signal.SIGKILL)
        assert await single.run(len, "next", timeout=PATIENCE) == 4


async def test_a_process_is_replaced_after_its_share_of_tasks() -> None:
    async with ParserPool(1, memory_limit=LIMIT, max_tasks=3) as pool:
        pids = [await pool.run(os.getpid, timeout=PATIENCE) for _ in range(9)]
    assert len(set(pids)) == 3


async def test_a_process_that_keeps_too_much_memory_is_replaced(
    single: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "MAX_RESIDENT", 100 * MIB)
    before = await single.run(os.getpid, timeout=PATIENCE)
    await single.run(misbehaviour.keep, 120 * MIB, timeout=PATIENCE)
    assert await single.run(os.getpid, timeout=PATIENCE) != before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space")
async def test_a_task_may_ask_for_more_memory_and_its_process_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    much = 2 * LIMIT
    async with ParserPool(1, memory_limit=LIMIT, most_memory=3 * LIMIT) as pool:
        with pytest.raises(ParseError, match="1,024 MiB"):
            await pool.run(misbehaviour.allocate, much, timeout=PATIENCE)
        await pool.run(misbehaviour.allocate, much, timeout=PATIENCE, memory=3 * LIMIT)
        await pool.run(misbehaviour.allocate, much, timeout=PATIENCE)
        with pytest.raises(ParseError, match="3,072 MiB"):
            await pool.run(misbehaviour.allocate, 3 * LIMIT, timeout=PATIENCE)
        monkeypatch.setattr(slot, "MAX_RESIDENT", 100 * MIB)
        before = await pool.run(os.getpid, timeout=PATIENCE)
        await pool.run(misbehaviour.keep, 120 * MIB, timeout=PATIENCE, memory=LIMIT)
        assert await pool.run(os.getpid, timeout=PATIENCE) == before
        await pool.run(misbehaviour.keep, 240 * MIB, timeout=PATIENCE)
        assert await pool.run(os.getpid, timeout=PATIENCE) != before


async def test_it_tells_why_a_process_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    async with ParserPool(
        1, memory_limit=LIMIT, max_tasks=2, on_replaced=told.append, workspace=tmp_path
    ) as pool:
        for _ in range(2):
            await pool.run(len, "next", timeout=PATIENCE)
        with pytest.raises(ParseError):
            await pool.run(misbehaviour.segfault, timeout=PATIENCE)
        with pytest.raises(ParseError):
            await pool.run(misbehaviour.hang_in_native_code, timeout=0.2)
        there = tmp_path / "there"
        running = asyncio.create_task(
            pool.run(misbehaviour.touch_and_hang, str(there), timeout=PATIENCE)
        )
        await asyncio.to_thread(eventually, there.exists)
        running.cancel()
        await asyncio.wait([running])
        monkeypatch.setattr(slot, "MAX_RESIDENT", 0)
        await pool.run(len, "next", timeout=PATIENCE)
    assert told == [Spent.TASKS, Spent.DIED, Spent.TIMEOUT, Spent.CANCELLED, Spent.MEMORY]


async def test_closing_kills_what_runs_and_cancels_what_waits(tmp_path: Path) -> None:
    async with ParserPool(1, memory_limit=LIMIT, workspace=tmp_path) as pool:
        running, waiting = (
            asyncio.create_task(
                pool.run(misbehaviour.touch_and_hang, str(tmp_path / name), timeout=PATIENCE)
            )
            for name in ("running", "waiting")
        )
        await asyncio.to_thread(eventually, (tmp_path / "running").exists)
    assert running.cancelled()
    assert waiting.cancelled()
    assert not psutil.pid_exists(int((tmp_path / "running").read_text()))
    with pytest.raises(StackError, match="closed"):
        await pool.run(len, "late", timeout=PATIENCE)


async def test_a_process_has_no_main_module_no_core_dump_and_no_input(pool: ParserPool) -> None:
    assert not await pool.run(misbehaviour.is_loaded, "pytest", timeout=PATIENCE)
    assert await pool.run(misbehaviour.core_limit, timeout=PATIENCE) == (0, 0)
    assert await pool.run(misbehaviour.read_stdin, timeout=PATIENCE) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_killed_fork_server_is_replaced_by_one_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    # In the sandbox a process's environment is closed to all but root.
    async with ParserPool(1, memory_limit=LIMIT, sandbox="off") as single:
        parser = psutil.Process(await single.run(os.getpid, timeout=PATIENCE))
        parser.parent().kill()
        await asyncio.to_thread(eventually, lambda: _has_ended(parser))
        assert await single.run(len, "next", timeout=PATIENCE) == 4
        environment = await single.run(misbehaviour.initial_environment, timeout=PATIENCE)
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert "AWS_SECRET_ACCESS_KEY" in os.environ, "the parent keeps its own"


WORKER = """
import asyncio, os, sys
from docnats.pool import ParserPool
from tests import misbehaviour

async def main():
    async with ParserPool(2, memory_limit=1 << 30, sandbox="off") as pool:
        await pool.run(misbehaviour.touch_and_hang, sys.argv[1], timeout=600)

asyncio.run(main())
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[psutil.Process]:
    """A program with one parser process that hangs in native code and one that idles."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AWS_SECRET_ACCESS_KEY": "hush"}
    command = [sys.executable, "-c", WORKER, str(tmp_path / "pid")]
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        try:
            eventually((tmp_path / "pid").exists, within=PATIENCE)
            yield psutil.Process(process.pid)
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_of_the_pool_was_started_with_credentials(worker: psutil.Process) -> None:
    family = worker.children(recursive=True)
    assert len(family) == 4, "resource tracker, fork server, two parsers"
    for process in family:
        assert "AWS_SECRET_ACCESS_KEY" not in process.environ()


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_nothing_survives_a_worker_that_is_killed(worker: psutil.Process) -> None:
    family = worker.children(recursive=True)
    worker.kill()
    for process in family:
        eventually(lambda process=process: _has_ended(process), what=str(process))


def _has_ended(process: psutil.Process) -> bool:
    """Whether a process is no more; orphans stay zombies where nobody collects them."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_preload_that_fails_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "unfit.py").write_text("raise RuntimeError('this parser does not fit')")
    program = (
        "import asyncio\n"
        "from docnats.pool import ParserPool\n"
        "async def main():\n"
        "    async with ParserPool(2, memory_limit=1 << 30, preload=['unfit']):\n"
        "        pass\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert "this parser does not fit" in ended.stderr
    assert "StackError: the parser processes do not start" in ended.stderr
