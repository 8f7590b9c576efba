"""What the supervisor does with its children, seen with real processes."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import psutil
import pytest

from docnats.errors import StackError
from docnats.stack.client import Command, Supervisor, _spawning
from docnats.stack.supervisor import child
from docnats.stack.supervisor.child import FIRST_PAUSE
from tests.waiting import eventually

SLEEPER = Command(("sleep", "1000"), {"PATH": os.defpath}, Path("/"))


def shell(script: str) -> Command:
    return Command(("sh", "-c", script), {"PATH": os.defpath}, Path("/"))


def test_a_child_gets_its_environment_and_nothing_else(supervisor: Supervisor) -> None:
    env = {"ONLY": "this", "PATH": os.defpath}
    log = supervisor.spawn("env", Command(("env",), env, Path("/"))).log
    eventually(lambda: not supervisor.process("env").running)
    assert sorted(log.read_text().split()) == [f"{name}={env[name]}" for name in sorted(env)]


def test_output_that_nobody_reads_does_not_stop_a_child(supervisor: Supervisor) -> None:
    """A pipe would be full after 64 KiB."""
    log = supervisor.spawn("loud", shell("head -c 1000000 /dev/zero; echo done >&2")).log
    eventually(lambda: not supervisor.process("loud").running)
    assert log.stat().st_size == 1_000_005
    assert log.stat().st_mode & 0o777 == 0o600


def test_the_log_of_the_previous_child_of_that_name_is_kept_aside(supervisor: Supervisor) -> None:
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
    supervisor.spawn("one", SLEEPER)
    with pytest.raises(StackError, match="one is running"):
        supervisor.spawn("one", SLEEPER)
    supervisor.stop("one")
    supervisor.spawn("one", SLEEPER)


def test_numbered_children_get_names_of_their_own(supervisor: Supervisor) -> None:
    names = [supervisor.add("worker", SLEEPER).name for _ in range(3)]
    assert names == ["worker-1", "worker-2", "worker-3"]


def test_the_number_of_a_stopped_child_is_given_again(supervisor: Supervisor) -> None:
    for _ in range(3):
        supervisor.add("worker", SLEEPER)
    supervisor.stop("worker-2")
    assert supervisor.add("worker", SLEEPER).name == "worker-2"
    assert all(process.running for process in supervisor.processes())


def test_users_that_fill_up_together_start_no_more_than_are_missing(
    supervisor: Supervisor,
) -> None:
    supervisor.add("worker", SLEEPER)
    others = [Supervisor(supervisor.address) for _ in range(4)]
    with ThreadPoolExecutor(len(others)) as threads:
        started = list(threads.map(lambda user: user.fill("worker", SLEEPER, 3), others))
    assert sorted(chain.from_iterable(started)) == ["worker-2", "worker-3"]
    assert len(supervisor.processes()) == 3
    for user in others:
        user.close()


def test_a_child_that_waits_for_its_next_start_is_not_missing(supervisor: Supervisor) -> None:
    supervisor.add("worker", shell("exit 1"), tries=100)
    eventually(lambda: supervisor.process("worker-1").restart_in)
    assert supervisor.fill("worker", SLEEPER, 1) == []


def test_the_most_that_a_user_needs_is_what_counts(supervisor: Supervisor) -> None:
    other = Supervisor(supervisor.address)
    supervisor.wish(2, scales=False)
    other.wish(5, scales=False)
    assert supervisor.status().workers == 5
    other.close()
    assert supervisor.status().workers == 2


def test_of_the_users_that_would_scale_one_does(supervisor: Supervisor) -> None:
    first, second = Supervisor(supervisor.address), Supervisor(supervisor.address)
    for user in (first, second):
        user.wish(1, scales=True)
    assert [user.status().scales for user in (supervisor, first, second)] == [False, True, False]
    first._disconnect()  # as when its process was killed
    eventually(lambda: second.status().scales)
    second.close()


def test_asking_for_an_unknown_process_is_an_error(supervisor: Supervisor) -> None:
    for ask in (supervisor.process, supervisor.stop, lambda name: supervisor.kill(name, 9)):
        with pytest.raises(StackError, match="nobody"):
            ask("nobody")


def test_a_child_is_started_again_however_often_and_early_it_is_killed(
    supervisor: Supervisor,
) -> None:
    supervisor.spawn("phoenix", SLEEPER, tries=2)
    pids = set()
    for kills in range(10):
        eventually(lambda: supervisor.process("phoenix").running)
        process = supervisor.process("phoenix")
        assert process.restarts == kills
        pids.add(supervisor.kill("phoenix", signal.SIGKILL, pid=process.pid))
        eventually(lambda: supervisor.process("phoenix").restarts == kills + 1)  # noqa: B023
    assert len(pids) == 10
    assert None not in pids


@pytest.mark.parametrize("code", [0, 3])
def test_a_child_that_does_not_start_has_failed_after_its_tries(
    supervisor: Supervisor, code: int
) -> None:
    log = supervisor.spawn("broken", shell(f"echo alas; exit {code}"), tries=3).log
    eventually(lambda: supervisor.process("broken").failed)
    process = supervisor.process("broken")
    assert (process.returncode, process.restarts, process.kept) == (code, 2, False)
    assert log.read_text() == "alas\n" * 3


def test_a_child_that_somebody_else_kills_early_again_and_again_has_failed(
    supervisor: Supervisor,
) -> None:
    """By the kernel, for example, that has no memory for it."""
    supervisor.spawn("victim", shell("kill -9 $$"), tries=2)
    eventually(lambda: supervisor.process("victim").failed)
    assert supervisor.process("victim").returncode == -signal.SIGKILL


def test_a_child_without_tries_has_failed_at_its_first_end(supervisor: Supervisor) -> None:
    supervisor.spawn("broken", shell("exit 3"))
    eventually(lambda: supervisor.process("broken").failed)
    assert supervisor.process("broken").restarts == 0


def test_a_child_can_be_given_its_tries_once_it_is_ready(supervisor: Supervisor) -> None:
    supervisor.spawn("server", SLEEPER)
    assert supervisor.keep("server", 2).running
    supervisor.kill("server", signal.SIGKILL)
    eventually(lambda: supervisor.process("server").restarts == 1)


def test_the_pause_before_the_next_start_grows_and_is_told(supervisor: Supervisor) -> None:
    supervisor.spawn("broken", shell("exit 1"), tries=100)
    eventually(lambda: (supervisor.process("broken").restart_in or 0) > 4 * FIRST_PAUSE)
    process = supervisor.process("broken")
    assert process.restarts >= 3
    assert (process.running, process.failed, process.kept) == (False, False, True)


def test_a_program_that_vanished_is_tried_again_and_then_has_failed(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    command = Command((str(program),), {"PATH": os.defpath}, Path("/"))
    supervisor.spawn("here", command, tries=2)
    program.unlink()
    supervisor.kill("here", signal.SIGKILL)
    eventually(lambda: supervisor.process("here").failed)


def test_a_child_that_waits_for_its_next_start_can_be_stopped(supervisor: Supervisor) -> None:
    log = supervisor.spawn("broken", shell("echo up; exit 1"), tries=100).log
    eventually(lambda: (supervisor.process("broken").restart_in or 0) > FIRST_PAUSE)
    supervisor.stop("broken")
    process = supervisor.process("broken")
    assert (process.stopped, process.failed, process.restart_in) == (True, False, None)
    starts = log.read_text()
    supervisor.spawn("other", shell("exit 0"))
    eventually(lambda: not supervisor.process("other").running)
    assert log.read_text() == starts


def test_nothing_is_started_again_once_the_end_has_begun(tmp_path: Path) -> None:
    supervisor = Supervisor.launch(tmp_path)
    supervisor.spawn("broken", shell("exit 1"), tries=100)
    log = supervisor.spawn(
        "slow", shell("trap 'sleep 1; exit' TERM; echo up; while :; do sleep 0.1; done")
    ).log
    eventually(log.read_text)
    eventually(lambda: (supervisor.process("broken").restart_in or 0) > FIRST_PAUSE)
    os.kill(supervisor.status().pid, signal.SIGTERM)
    eventually(lambda: supervisor.process("slow").stopped)
    process = supervisor.process("broken")
    assert (process.running, process.restart_in) == (False, None)
    supervisor.close()


def test_stopping_what_has_ended_plans_nothing(tmp_path: Path) -> None:
    """The supervisor would wake up for ever for what it cannot do."""
    ended = child.Child("brief", tmp_path / "brief.log", _spawning("brief", shell(""), 0, 5), None)
    eventually(ended.reap)
    ended.plan_restart()
    ended.stop()
    assert (ended.stopping, ended.kill_at, ended.start_at) == (True, None, None)


def test_the_early_ends_of_a_child_are_forgotten_once_it_ran_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "RAN_WELL", 0)
    request = _spawning("brief", shell("exit 1"), 0, tries=2)
    brief = child.Child("brief", tmp_path / "brief.log", request, None)
    for _ in range(5):
        eventually(brief.reap)
        brief.plan_restart()
        assert brief.start_at is not None
        eventually(lambda: brief.restart_if_due() or brief.running)
    assert brief.restarts == 5
    eventually(brief.reap)


def test_a_signal_for_another_process_of_that_name_hits_none(supervisor: Supervisor) -> None:
    pid = supervisor.spawn("child", SLEEPER).pid
    assert supervisor.kill("child", signal.SIGKILL, pid=pid + 1) is None
    assert supervisor.process("child").running
    assert supervisor.kill("child", signal.SIGKILL, pid=pid) == pid


def test_a_stopped_child_stays_stopped_and_has_not_failed(supervisor: Supervisor) -> None:
    supervisor.spawn("child", SLEEPER, tries=5)
    supervisor.stop("child")
    process = supervisor.process("child")
    assert (process.returncode, process.restarts, process.failed) == (-signal.SIGTERM, 0, False)


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(supervisor: Supervisor) -> None:
    log = supervisor.spawn("deaf", shell("trap '' TERM; echo up; while :; do sleep 1; done")).log
    eventually(log.read_text)
    supervisor.stop("deaf")
    assert supervisor.process("deaf").returncode == -signal.SIGKILL


def test_a_paused_child_hears_that_it_is_to_stop(supervisor: Supervisor) -> None:
    log = supervisor.spawn("paused", shell("trap 'exit 7' TERM; echo up; while :; do :; done")).log
    eventually(log.read_text)
    supervisor.kill("paused", signal.SIGSTOP)
    supervisor.stop("paused")
    assert supervisor.process("paused").returncode == 7


def test_the_children_of_a_child_end_with_it(supervisor: Supervisor) -> None:
    log = supervisor.spawn("parent", shell("sleep 1000 & echo $!; wait")).log
    eventually(lambda: log.read_text().strip())
    grandchild = int(log.read_text())
    supervisor.kill("parent", signal.SIGKILL)
    eventually(lambda: is_gone(grandchild))


def test_leftovers_are_removed_when_the_child_has_ended(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    left = tmp_path / "left.sock"
    left.touch()
    command = Command(("true",), {"PATH": os.defpath}, Path("/"), [left, tmp_path / "never-made"])
    supervisor.spawn("messy", command)
    eventually(lambda: not left.exists())


def test_children_stop_in_the_order_asked_for(tmp_path: Path) -> None:
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
    before = first.status()
    assert before.users == 2
    first.close()
    after = second.status()
    assert (after.pid, after.users) == (before.pid, 1)
    second.close()


def test_an_idle_supervisor_survives_sigint_and_garbage(tmp_path: Path) -> None:
    supervisor = Supervisor.launch(tmp_path)
    pid = supervisor.status().pid
    os.kill(pid, signal.SIGINT)
    for garbage in (b"\xff\xfe\n", b"{}\n", b'{"do": "dance"}\n', b"[]\n", b"no end"):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(supervisor.address))
            stranger.sendall(garbage)
    assert supervisor.status().pid == pid
    supervisor.close()


def test_sigterm_ends_the_supervisor_and_its_children(tmp_path: Path) -> None:
    supervisor = Supervisor.launch(tmp_path)
    child = supervisor.spawn("child", SLEEPER).pid
    pid = supervisor.status().pid
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: is_gone(child) and is_gone(pid))
    supervisor.close()


def test_a_killed_supervisor_takes_its_children_with_it(tmp_path: Path) -> None:
    supervisor = Supervisor.launch(tmp_path)
    child = supervisor.spawn("child", SLEEPER).pid
    os.kill(supervisor.status().pid, signal.SIGKILL)
    eventually(lambda: is_gone(child))
    supervisor.close()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
