"""Real parser processes that try what a document would that has taken one over.

Each attempt is made twice: in the sandbox, where it fails, and without, where it works.
"""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import platform
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path

import pytest
from pebble.pool.process import TaskResult

from docnats.config import ProcessingConfig
from docnats.errors import ConfigError, ErrorType, ParseError
from docnats.pool import ParserPool, answers, child, landlock, limits, seccomp, slot
from docnats.stack.offspring import grandchildren
from tests import burglary, misbehaviour
from tests.burglary import attempt

LIMIT = 1 << 30
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


def _lacking() -> str:
    if sys.platform != "linux":
        return "only Linux has what the sandbox is made of"
    try:
        landlock.version()
    except OSError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(_lacking()), reason=_lacking() or "-")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of the user's that is none of the parsers' business."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "credentials").write_text("hush")
    return home


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return workspace


@pytest.fixture
async def sandboxed(workspace: Path) -> AsyncIterator[ParserPool]:
    async with ParserPool(1, memory_limit=LIMIT, sandbox="require", workspace=workspace) as pool:
        yield pool


@pytest.fixture
async def free(workspace: Path) -> AsyncIterator[ParserPool]:
    async with ParserPool(1, memory_limit=LIMIT, sandbox="off", workspace=workspace) as pool:
        yield pool


async def _attempt(pool: ParserPool, deed: Callable[..., object], *args: object) -> str:
    return await pool.run(attempt, deed, *args, timeout=PATIENCE)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
async def test_no_socket_is_opened(
    family: int, kind: int, sandboxed: ParserPool, free: ParserPool
) -> None:
    assert await _attempt(sandboxed, burglary.open_socket, family, kind) == "EPERM"
    assert await _attempt(free, burglary.open_socket, family, kind) == "done"


async def test_no_socket_is_had_by_way_of_a_pair(
    sandboxed: ParserPool, free: ParserPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a pair sends to whoever listens, as a socket that was opened does."""
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("listener")
        listener.setblocking(False)
        address = str(tmp_path / "listener")
        assert await _attempt(sandboxed, burglary.send_datagram, address) == "EPERM"
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        assert await _attempt(free, burglary.send_datagram, address) == "done"
        assert listener.recv(100) == b"a document"


@pytest.mark.parametrize("deed", [burglary.read, burglary.write, burglary.empty, burglary.remove])
async def test_the_users_files_are_closed(
    deed: Callable[..., object], home: Path, sandboxed: ParserPool, free: ParserPool
) -> None:
    file = home / "credentials"
    assert await _attempt(sandboxed, deed, str(file)) == "EACCES"
    assert file.read_text() == "hush"
    assert await _attempt(free, deed, str(file)) == "done"


@pytest.mark.parametrize(
    "deed",
    [
        burglary.open_to_all,
        burglary.open_to_all_by_folder,
        burglary.give_away,
        burglary.change_times,
        burglary.label,
    ],
)
async def test_what_landlock_knows_nothing_of_is_closed_too(
    deed: Callable[..., object], home: Path, sandboxed: ParserPool, free: ParserPool
) -> None:
    """Modes, owners, times and attributes, of the user's files and of those that may be read."""
    file = home / "credentials"
    before = file.stat()
    assert await _attempt(sandboxed, deed, str(file)) == "EPERM"
    assert file.stat() == before
    assert await _attempt(free, deed, str(file)) == "done"


async def test_what_is_readable_is_not_writable(home: Path) -> None:
    """What is named as readable is read, and no more; the same holds for Python's folders."""
    file = home / "credentials"
    async with ParserPool(1, memory_limit=LIMIT, readable=[home]) as pool:
        assert await _attempt(pool, burglary.read, str(file)) == "done"
        for deed in (burglary.write, burglary.empty, burglary.remove):
            assert await _attempt(pool, deed, str(file)) == "EACCES"
        assert await _attempt(pool, burglary.write, str(home / "new")) == "EACCES"
        assert await _attempt(pool, burglary.read, burglary.__file__) == "done"
        assert await _attempt(pool, burglary.write, f"{burglary.__file__}.new") == "EACCES"
    assert [path.name for path in home.iterdir()] == ["credentials"]


@pytest.mark.parametrize("deed", [burglary.link, burglary.make_named_pipe])
async def test_a_result_is_neither_a_link_nor_a_pipe(
    deed: Callable[..., object],
    home: Path,
    workspace: Path,
    sandboxed: ParserPool,
    free: ParserPool,
) -> None:
    args = [str(home / "credentials")] * (deed is burglary.link)
    assert await _attempt(sandboxed, deed, *args, str(workspace)) == "EACCES"
    assert list(workspace.iterdir()) == []
    assert await _attempt(free, deed, *args, str(workspace)) == "done"


async def test_what_the_worker_knows_cannot_be_read_out_of_it(
    sandboxed: ParserPool, free: ParserPool
) -> None:
    """The environment the worker was started with holds its credentials, in /proc for ever."""
    assert await _attempt(sandboxed, burglary.read_environment, os.getpid()) == "EACCES"
    assert await _attempt(free, burglary.read_environment, os.getpid()) == "done"


def _traced_by_anybody() -> bool:
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    return not yama.exists() or yama.read_text().strip() == "0"


async def test_the_workers_memory_cannot_be_read(sandboxed: ParserPool, free: ParserPool) -> None:
    secret = ctypes.create_string_buffer(b"hush")
    args = (burglary.read_memory, os.getpid(), ctypes.addressof(secret))
    assert await _attempt(sandboxed, *args) == "EPERM"
    if _traced_by_anybody():
        assert await _attempt(free, *args) == "done"


@pytest.mark.parametrize(
    "deed",
    [burglary.send_signal, burglary.have_signal_sent, burglary.tighten_limits, burglary.slow_down],
)
async def test_other_processes_are_left_alone(
    deed: Callable[..., object], sandboxed: ParserPool, free: ParserPool
) -> None:
    assert await _attempt(sandboxed, deed, os.getpid()) == "EPERM"
    assert await _attempt(free, deed, os.getpid()) == "done"


async def test_memory_is_shared_with_nobody(sandboxed: ParserPool, free: ParserPool) -> None:
    assert await _attempt(sandboxed, burglary.share_memory) == "EPERM"
    assert await _attempt(free, burglary.share_memory) == "done"


async def test_each_call_that_is_named_is_refused(sandboxed: ParserPool) -> None:
    column = tuple(seccomp._MACHINES).index(platform.machine())
    numbers = {name: row[column] for name, row in seccomp._REFUSED.items()}
    ends = {
        name: await _attempt(sandboxed, burglary.call, number)
        for name, number in numbers.items()
        if number is not None
    }
    assert ends == dict.fromkeys(ends, "EPERM")


async def test_no_process_is_started_in_which_the_limits_would_begin_anew(
    sandboxed: ParserPool, free: ParserPool
) -> None:
    assert await _attempt(sandboxed, burglary.start_process) == "EPERM"
    assert await _attempt(free, burglary.start_process) == "done"
    assert await _attempt(sandboxed, burglary.start_thread) == "done"


@pytest.mark.parametrize("deed", [burglary.become_program, burglary.become_program_in_memory])
async def test_no_other_program_is_run(
    deed: Callable[..., object], sandboxed: ParserPool, free: ParserPool
) -> None:
    assert await _attempt(sandboxed, deed) == "EPERM"
    with pytest.raises(ParseError):  # it became one
        await free.run(deed, timeout=0.5)


async def test_a_parser_is_closed_to_others(sandboxed: ParserPool, free: ParserPool) -> None:
    assert not await sandboxed.run(burglary.is_dumpable, timeout=PATIENCE)
    assert await free.run(burglary.is_dumpable, timeout=PATIENCE)


async def test_a_closed_parser_is_still_found_and_measured(sandboxed: ParserPool) -> None:
    pid = await sandboxed.run(os.getpid, timeout=PATIENCE)
    assert pid in [one.pid for one in grandchildren(os.getpid())]
    await sandboxed.run(misbehaviour.keep, 50_000_000, timeout=PATIENCE)
    assert 50_000_000 < await sandboxed.run(child._resident_bytes, timeout=PATIENCE) < LIMIT


async def test_only_pipes_to_the_worker_are_open(sandboxed: ParserPool) -> None:
    opened = await sandboxed.run(burglary.descriptors, timeout=PATIENCE)
    assert opened.pop(0) == os.devnull
    assert opened.pop(1) == opened.pop(2)
    assert [place.partition(":")[0] for place in opened.values()] == ["pipe"] * 3
    # From the worker, to it, and one that tells when it has ended.


def test_what_a_module_left_open_is_closed(tmp_path: Path) -> None:
    program = _program('preload=["tests.leaky"]', "print(await pool.run(descriptors, timeout=60))")
    ended = _run(program, tmp_path)
    assert ended.stdout.count("pipe:") == 3
    assert "socket:" not in ended.stdout
    assert "deleted" not in ended.stdout


async def test_no_credential_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "NATS_PASSWORD", "MY_OWN_TOKEN"):
        monkeypatch.setenv(name, "hush")
    async with ParserPool(1, memory_limit=LIMIT) as pool:
        seen = await pool.run(burglary.environment, timeout=PATIENCE)
    assert "hush" not in seen.values()
    assert "PATH" in seen


async def test_each_parser_has_a_temporary_folder_of_its_own() -> None:
    async with ParserPool(1, memory_limit=LIMIT, max_tasks=1) as pool:
        first, mode = await pool.run(burglary.temporary_folder, timeout=PATIENCE)
        second, _ = await pool.run(burglary.temporary_folder, timeout=PATIENCE)
        assert Path(first).parent != Path(second).parent
        assert mode == 0o700
    assert not Path(first).parent.exists()
    assert not Path(second).parent.exists()


async def test_a_parser_does_not_see_the_temporary_folder_of_another() -> None:
    async with ParserPool(2, memory_limit=LIMIT) as pool:
        folder, _ = await pool.run(burglary.temporary_folder, timeout=PATIENCE)
        # The two take turns, the one that has waited longer first.
        other = await _attempt(pool, burglary.read, f"{folder}/note")
        own = await _attempt(pool, burglary.read, f"{folder}/note")
    assert (other, own) == ("EACCES", "done")


async def test_a_file_without_an_end_is_too_large(sandboxed: ParserPool, workspace: Path) -> None:
    file = str(workspace / "words.parquet")
    await sandboxed.run(burglary.write_far, file, limits.FILE_SIZE, timeout=PATIENCE)
    with pytest.raises(ParseError, match="larger than the limit of 2 GiB") as failure:
        await sandboxed.run(burglary.write_far, file, limits.FILE_SIZE + 1, timeout=PATIENCE)
    assert failure.value.error_type is ErrorType.TOO_LARGE


async def test_files_are_not_opened_without_an_end(sandboxed: ParserPool) -> None:
    assert await _attempt(sandboxed, burglary.open_many, limits.OPEN_FILES) == "EMFILE"


@pytest.mark.parametrize(
    "kind", [resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE]
)
async def test_limits_are_not_lifted_from_inside(kind: int, sandboxed: ParserPool) -> None:
    assert await _attempt(sandboxed, burglary.lift_limit, kind) == "EPERM"


async def test_the_kernel_ends_a_task_that_works_for_ever(
    sandboxed: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "_cores", lambda: 0.01)
    with pytest.raises(ParseError, match="too much processor time") as failure:
        await sandboxed.run(burglary.work_for_ever, timeout=PATIENCE)
    assert failure.value.error_type is ErrorType.TIMEOUT


async def test_each_task_has_processor_time_of_its_own(
    sandboxed: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "_cores", lambda: 1)
    for _ in range(3):
        left = await sandboxed.run(burglary.processor_time_left, 0.4, timeout=PATIENCE)
        assert PATIENCE - 0.5 < left < PATIENCE + 1


async def test_an_answer_runs_nothing_in_the_worker(sandboxed: ParserPool, tmp_path: Path) -> None:
    """Unpickled as usual, the worker would do whatever the answer says."""
    mark = tmp_path / "mark"
    with pytest.raises(ParseError, match=r"no result.*burglary\.write") as failure:
        await sandboxed.run(burglary.send_trojan, str(mark), timeout=PATIENCE)
    assert failure.value.error_type is ErrorType.CRASHED
    assert not mark.exists()
    assert await sandboxed.run(len, "next", timeout=PATIENCE) == 4
    pickle.loads(pickle.dumps(burglary.Trojan(str(mark))))  # noqa: S301 - what it would have done
    assert mark.exists()


async def test_an_answer_does_not_fill_the_workers_memory(sandboxed: ParserPool) -> None:
    with pytest.raises(ParseError, match="no result: it is longer than 64 MiB"):
        await sandboxed.run(burglary.send_too_much, answers.MAX_BYTES, timeout=PATIENCE)
    assert await sandboxed.run(len, "next", timeout=PATIENCE) == 4


def test_an_answer_alters_no_class() -> None:
    before = dict(vars(TaskResult))
    # The class; then its state: no dictionary of its own, and one attribute to set.
    altering = b"cpebble.pool.process\nTaskResult\nN}(Vmark\nK\x01u\x86b."
    with pytest.raises(pickle.UnpicklingError, match="alters TaskResult"):
        answers._Records(BytesIO(altering)).read()
    assert dict(vars(TaskResult)) == before


@pytest.mark.parametrize(
    "answer", [("os", "system"), ("docnats.errors", "ungrouped"), ("docnats.pool.child", "os.kill")]
)
def test_an_answer_names_no_function(answer: tuple[str, str]) -> None:
    module, name = answer
    naming = b"\x80\x04" + pickle.dumps(module)[2:-1] + pickle.dumps(name)[2:-1] + b"\x93."
    with pytest.raises(pickle.UnpicklingError, match="neither plain data nor a record"):
        answers._Records(BytesIO(naming)).read()


def test_an_answer_may_name_a_member_of_an_enumeration_and_nothing_else() -> None:
    """As Python does before 3.11.4: by getattr."""

    def asking(owner: bytes, name: bytes) -> answers._Records:
        return answers._Records(BytesIO(b"cbuiltins\ngetattr\n(c" + owner + b"V" + name + b"\ntR."))

    error_type = b"docnats.errors\nErrorType\n"
    assert asking(error_type, b"CRASHED").read() is ErrorType.CRASHED
    with pytest.raises(KeyError):
        asking(error_type, b"mro").read()
    with pytest.raises(pickle.UnpicklingError, match="no enumeration"):
        asking(b"docnats.errors\nParseError\n", b"__init__").read()


PROGRAM = """
import asyncio, logging, os, platform
from dataclasses import replace
from docnats.pool import ParserPool, seccomp
from tests.burglary import descriptors

def deprive(*numbers):
    "Have the kernel refuse system calls to this process and its children."
    name = platform.machine()
    seccomp._MACHINES[name] = replace(
        seccomp._MACHINES[name], refused=numbers, signals=(), own=(), fcntl=0xFFFFFF, clone=0xFFFFFF
    )
    seccomp.confine()

async def main():
    async with ParserPool(2, memory_limit=1 << 30, {options}) as pool:
        {task}

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    {before}
    asyncio.run(main())
"""


def _program(options: str, task: str, before: str = "pass") -> str:
    return PROGRAM.format(options=options, task=task, before=before)


def _run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


WITHOUT_LANDLOCK = "deprive(444)"
WITHOUT_SECCOMP = f"deprive({seccomp._MACHINES[platform.machine()].seccomp})"


@pytest.mark.parametrize(
    ("before", "lacking"),
    [(WITHOUT_LANDLOCK, "no other files"), (WITHOUT_SECCOMP, "no network")],
    ids=["landlock", "seccomp"],
)
def test_where_the_kernel_refuses_the_worker_says_so_once_and_works(
    before: str, lacking: str, tmp_path: Path
) -> None:
    task = "print(await pool.run(len, 'x', timeout=60))"
    ended = _run(_program('sandbox="auto"', task, before), tmp_path)
    assert ended.stdout == "1\n", ended.stderr
    (warning,) = [line for line in ended.stderr.splitlines() if line.startswith("WARNING")]
    assert f"does NOT have: {lacking}" in warning
    (rest,) = [line for line in ended.stderr.splitlines() if line.startswith("INFO")]
    assert "memory closed to others" in rest
    assert lacking not in rest


@pytest.mark.parametrize("before", [WITHOUT_LANDLOCK, WITHOUT_SECCOMP], ids=["landlock", "seccomp"])
def test_where_the_kernel_refuses_a_required_sandbox_the_pool_does_not_start(
    before: str, tmp_path: Path
) -> None:
    ended = _run(_program('sandbox="require"', "print('working')", before), tmp_path)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "StackError: the parsers' sandbox is required" in ended.stderr
    assert "DOCNATS_SANDBOX" in ended.stderr


async def test_what_is_active_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "docnats.pool")
    async with ParserPool(2, memory_limit=LIMIT):
        pass
    (line,) = caplog.messages
    assert "no other files" in line
    assert "no network" in line


async def test_that_it_is_off_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with ParserPool(2, memory_limit=LIMIT, sandbox="off"):
        pass
    assert caplog.messages == ["the parsers' sandbox is off (DOCNATS_SANDBOX)"]


def test_settings_of_the_sandbox_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'auto', 'require' or 'off' .*DOCNATS_SANDBOX"):
        ProcessingConfig(sandbox="on")
    with pytest.raises(ConfigError, match=r"exist; not so: /no/such .*DOCNATS_SANDBOX_READ"):
        ProcessingConfig(sandbox_read=f"{tmp_path}{os.pathsep}/no/such")
    config = ProcessingConfig(sandbox_read=f"{tmp_path}{os.pathsep}/usr")
    assert config.sandbox_read == (tmp_path, Path("/usr"))
