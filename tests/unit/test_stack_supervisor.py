"""What the supervisor does with its children, seen with real processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from docnats.errors import StackError
from docnats.stack.client import Command, Supervisor

SLEEP = ("sleep", "1000")

Eventually = Callable[..., None]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor.launch(tmp_path)
    yield supervisor
    supervisor.close()


def shell(script: str) -> Command:
    return Command(("sh", "-c", script), {"PATH": os.defpath}, Path("/"))


def test_a_child_gets_its_environment_and_nothing_else(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    env = {"ONLY": "this", "PATH": os.defpath}
    log = supervisor.spawn("env", Command(("env",), env, Path("/"))).log
    eventually(lambda: not supervisor.process("env").running)
    assert sorted(log.read_text().split()) == [f"{name}={env[name]}" for name in sorted(env)]


def test_output_that_nobody_reads_does_not_stop_a_child(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    """A pipe would be full after 64 KiB."""
    log = supervisor.spawn("loud", shell("head -c 1000000 /dev/zero; echo done >&2")).log
    eventually(lambda: not supervisor.process("loud").running)
    assert log.stat().st_size == 1_000_005
    assert log.stat().st_mode & 0o777 == 0o600


def test_the_log_of_the_previous_child_of_that_name_is_kept_aside(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    for text in ("first", "second"):
        log = supervisor.spawn("child", shell(f"echo {text}")).log
        eventually(lambda: not supervisor.process("child").running)
    assert log.read_text() == "second\n"
    assert log.with_suffix(".log.old").read_text() == "first\n"


def test_a_program_that_does_not_exist_is_an_error_at_once(supervisor: Supervisor) -> None:
    with pytest.raises(StackError, match=r"gone: spawn: .*no/such/program"):
        supervisor.spawn("gone", Command(("/no/such/program",), {}, Path("/")))
    assert supervisor.processes() == []


def test_a_name_is_in_use_as_long_as_its_process_runs(supervisor: Supervisor) -> None:
    supervisor.spawn("one", Command(SLEEP, {}, Path("/")))
    with pytest.raises(StackError, match="one is running"):
        supervisor.spawn("one", Command(SLEEP, {}, Path("/")))
    supervisor.stop("one")
    supervisor.spawn("one", Command(SLEEP, {}, Path("/")))


def test_numbered_children_get_names_of_their_own(supervisor: Supervisor) -> None:
    command = Command(SLEEP, {}, Path("/"))
    names = [supervisor.spawn("worker", command, numbered=True).name for _ in range(3)]
    assert names == ["worker-1", "worker-2", "worker-3"]


def test_asking_for_an_unknown_process_is_an_error(supervisor: Supervisor) -> None:
    for ask in (supervisor.process, supervisor.stop, lambda name: supervisor.kill(name, 9)):
        with pytest.raises(StackError, match="nobody"):
            ask("nobody")


def test_a_child_that_ends_is_started_again_if_it_ran_long_enough(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    first = supervisor.spawn("phoenix", Command(SLEEP, {}, Path("/")), restart_after=0)
    supervisor.kill("phoenix", signal.SIGKILL)
    eventually(lambda: supervisor.process("phoenix").restarts == 1)
    second = supervisor.process("phoenix")
    assert second.running
    assert second.pid != first.pid


@pytest.mark.parametrize("restart_after", [None, 60])
def test_a_child_that_ends_too_early_has_failed(
    supervisor: Supervisor, eventually: Eventually, restart_after: float | None
) -> None:
    supervisor.spawn("broken", shell("exit 3"), restart_after=restart_after)
    eventually(lambda: not supervisor.process("broken").running)
    process = supervisor.process("broken")
    assert (process.returncode, process.restarts, process.failed) == (3, 0, True)


def test_a_stopped_child_stays_stopped_and_has_not_failed(supervisor: Supervisor) -> None:
    supervisor.spawn("child", Command(SLEEP, {}, Path("/")), restart_after=0)
    supervisor.stop("child")
    process = supervisor.process("child")
    assert (process.returncode, process.restarts, process.failed) == (-signal.SIGTERM, 0, False)


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    log = supervisor.spawn("deaf", shell("trap '' TERM; echo up; while :; do sleep 1; done")).log
    eventually(log.read_text)
    supervisor.stop("deaf")
    assert supervisor.process("deaf").returncode == -signal.SIGKILL


def test_the_children_of_a_child_end_with_it(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    log = supervisor.spawn("parent", shell("sleep 1000 & echo $!; wait")).log
    eventually(lambda: log.read_text().strip())
    grandchild = int(log.read_text())
    supervisor.kill("parent", signal.SIGKILL)
    eventually(lambda: is_gone(grandchild))


def test_leftovers_are_removed_when_the_child_has_ended(
    supervisor: Supervisor, tmp_path: Path, eventually: Eventually
) -> None:
    left = tmp_path / "left.sock"
    left.touch()
    command = Command(("true",), {"PATH": os.defpath}, Path("/"), [left, tmp_path / "never-made"])
    supervisor.spawn("messy", command)
    eventually(lambda: not left.exists())


def test_children_stop_in_the_order_asked_for(tmp_path: Path, eventually: Eventually) -> None:
    """Each one waits a moment, so that the next would be seen to overtake it."""
    supervisor = Supervisor.launch(tmp_path)
    order = tmp_path / "order"
    for name, stop_order in (("nats", 2), ("s3", 1), ("worker-1", 0), ("worker-2", 0)):
        script = (
            f'trap "sleep 0.1; echo {name} >> {order}; exit" TERM; echo up; '
            "while :; do sleep 0.05; done"
        )
        log = supervisor.spawn(name, shell(script), stop_order=stop_order).log
        eventually(log.read_text)
    supervisor.close()
    ended = order.read_text().split()
    assert sorted(ended[:2]) == ["worker-1", "worker-2"]
    assert ended[2:] == ["s3", "nats"]


def test_the_directories_given_are_removed_at_the_end(tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "deep").mkdir(parents=True)
    supervisor = Supervisor.launch(tmp_path, remove=[private])
    runtime = supervisor.runtime
    assert runtime.stat().st_mode & 0o777 == 0o700
    assert supervisor.address.stat().st_mode & 0o777 == 0o600
    supervisor.close()
    assert not private.exists()
    assert not runtime.exists()


def test_the_supervisor_stays_for_the_second_user(tmp_path: Path) -> None:
    first = Supervisor.launch(tmp_path)
    second = Supervisor(first.address)
    pid, users = first.status()
    assert users == 2
    first.close()
    assert second.status() == (pid, 1)
    second.close()


def test_a_shutdown_ends_it_for_all_users(tmp_path: Path) -> None:
    first = Supervisor.launch(tmp_path)
    second = Supervisor(first.address)
    first.shut_down()
    with pytest.raises(StackError, match="start a new"):
        second.processes()
    second.close()


def test_an_idle_supervisor_survives_sigint_and_garbage(tmp_path: Path) -> None:
    supervisor = Supervisor.launch(tmp_path)
    pid, _ = supervisor.status()
    os.kill(pid, signal.SIGINT)
    for garbage in (b"\xff\xfe\n", b"{}\n", b'{"do": "dance"}\n', b"[]\n", b"no end"):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(supervisor.address))
            stranger.sendall(garbage)
    assert supervisor.status()[0] == pid
    supervisor.close()


def test_sigterm_ends_the_supervisor_and_its_children(
    tmp_path: Path, eventually: Eventually
) -> None:
    supervisor = Supervisor.launch(tmp_path)
    child = supervisor.spawn("child", Command(SLEEP, {}, Path("/"))).pid
    pid, _ = supervisor.status()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: is_gone(child) and is_gone(pid))
    supervisor.close()


def test_a_killed_supervisor_takes_its_children_with_it(
    tmp_path: Path, eventually: Eventually
) -> None:
    supervisor = Supervisor.launch(tmp_path)
    child = supervisor.spawn("child", Command(SLEEP, {}, Path("/"))).pid
    os.kill(supervisor.status()[0], signal.SIGKILL)
    eventually(lambda: is_gone(child))
    supervisor.close()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
