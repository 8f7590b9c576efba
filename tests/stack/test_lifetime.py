"""A stack lives as long as somebody uses it: not longer, not shorter."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from docnats.config import NatsConfig, S3Config, StackConfig
from docnats.errors import StackError
from docnats.stack import LocalStack
from docnats.stack.client import Supervisor
from docnats.stack.home import Home, RunningStack
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("interruptible")

ELSEWHERE = S3Config(endpoint_url="http://127.0.0.1:9")
SLEEPER = ("sleep", "1000")

NATS_ONLY: dict[str, Any] = {"s3": ELSEWHERE, "workers": 0}
"""Starts in a tenth of a second."""


CLIENT = """
import json, os, signal, sys, time
from docnats.config import S3Config
from docnats.stack import LocalStack

elsewhere = S3Config(endpoint_url="http://127.0.0.1:9")
options = {"worker_command": ("sleep", "1000")}

def tell(stack, **more):
    pids = [process.pid for process in stack.processes()] + [stack._supervisor.status().pid]
    print(json.dumps({"pids": pids, "home": str(stack.home), **more}), flush=True)
"""

PROJECT = Path(__file__).parents[2]


class Client:
    """Another process that uses a stack; it is told what to do by a script."""

    def __init__(self, script: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT + script],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def hear(self) -> dict[str, Any]:
        """Return what the client tells next."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the client ended early"
        return dict(json.loads(line))

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def client() -> Iterator[Callable[[str], Client]]:
    """Yield a function that runs a script in a process of its own."""
    clients: list[Client] = []

    def run(script: str) -> Client:
        clients.append(Client(script))
        return clients[-1]

    yield run
    for started in clients:
        started.close()


Run = Callable[[str], Client]


class TestTheUserEnds:
    def test_everything_ends_when_the_user_is_killed(self, client: Run) -> None:
        """Both servers, the worker, the supervisor; a temporary home goes, too."""
        user = client("""
stack = LocalStack(**options).start()
tell(stack)
time.sleep(1000)
""")
        told = user.hear()
        assert len(told["pids"]) == 4
        user.process.kill()
        eventually(lambda: all(map(is_gone, told["pids"])))
        assert not Path(told["home"]).exists()

    def test_everything_ends_when_the_user_ends_without_a_word(self, client: Run) -> None:
        user = client("""
stack = LocalStack(s3=elsewhere, **options).start()
tell(stack)
""")
        told = user.hear()
        eventually(lambda: all(map(is_gone, told["pids"])))

    def test_an_interrupt_does_not_touch_the_stack(self, client: Run) -> None:
        """Ctrl-C goes to the whole process group of a kernel."""
        user = client("""
stack = LocalStack(s3=elsewhere, **options).start()
try:
    tell(stack)
    time.sleep(1000)
except KeyboardInterrupt:
    tell(stack, running=[process.running for process in stack.processes()])
stack.stop()
""")
        before = user.hear()
        os.killpg(user.process.pid, signal.SIGINT)
        after = user.hear()
        assert after["pids"] == before["pids"]
        assert after["running"] == [True, True]
        assert user.process.wait(30) == 0

    def test_a_forked_process_does_not_keep_the_stack_alive(self, client: Run) -> None:
        """It has a copy of the connection, which therefore stays open."""
        user = client("""
stack = LocalStack(s3=elsewhere, **options).start()
sibling = os.fork()
if not sibling:
    time.sleep(1000)
tell(stack, sibling=sibling)
time.sleep(1000)
""")
        told = user.hear()
        user.process.kill()
        try:
            eventually(lambda: all(map(is_gone, told["pids"])))
            assert not is_gone(told["sibling"])
        finally:
            os.kill(told["sibling"], signal.SIGKILL)

    def test_a_forked_process_cannot_end_the_stack(self, client: Run) -> None:
        user = client("""
stack = LocalStack(s3=elsewhere, **options).start()
if not os.fork():
    stack.stop()
    os._exit(0)
os.wait()
tell(stack, running=[process.running for process in stack.processes()])
""")
        assert user.hear()["running"] == [True, True]


class TestSharing:
    def test_the_second_user_goes_on_when_the_first_has_ended(self, client: Run) -> None:
        script = """
stack = LocalStack.default(**options).start()
tell(stack, environment=stack.environment)
time.sleep(1000)
"""
        first = client(script)
        told = first.hear()
        second = client(script)
        assert second.hear() == told
        first.process.kill()
        first.process.wait()
        with LocalStack.default(worker_command=SLEEPER) as third:
            assert third.environment == told["environment"]
            assert all(process.running for process in third.processes())
        assert not any(map(is_gone, told["pids"]))
        second.process.kill()
        eventually(lambda: all(map(is_gone, told["pids"])))
        assert Path(told["home"]).is_dir()

    def test_users_that_start_together_share_one_stack(self, client: Run) -> None:
        users = [
            client("""
stack = LocalStack.default(s3=elsewhere, **options).start()
tell(stack)
sys.stdin.readline()
stack.stop()
""")
            for _ in range(3)
        ]
        supervisors = {user.hear()["pids"][-1] for user in users}
        assert len(supervisors) == 1
        for user in users:
            user.say("go")
            assert user.process.wait(30) == 0

    def test_a_user_that_wants_more_workers_adds_them(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"home": tmp_path, "s3": ELSEWHERE, "worker_command": SLEEPER}
        with LocalStack(workers=1, **options) as first, LocalStack(workers=3, **options):
            names = {process.name for process in first.processes()}
            assert names == {"nats", "worker-1", "worker-2", "worker-3"}

    @pytest.mark.parametrize(
        "other",
        [
            {"s3": S3Config(endpoint_url="http://127.0.0.1:8")},
            {"s3": ELSEWHERE.but(bucket_name="other")},
            {"s3": ELSEWHERE, "nats": NatsConfig(servers="nats://127.0.0.1:9")},
            {"embedded": True},
        ],
    )
    def test_a_user_who_wants_other_servers_is_refused(
        self, tmp_path: Path, other: dict[str, Any]
    ) -> None:
        with LocalStack(home=tmp_path, **NATS_ONLY) as stack:
            with pytest.raises(StackError, match="uses other servers"):
                LocalStack(home=str(tmp_path), workers=0, **other).start()
            assert stack._supervisor
            assert stack._supervisor.status().users == 1

    def test_a_user_in_another_namespace_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with LocalStack(home=tmp_path, **NATS_ONLY):
            monkeypatch.setenv("DOCNATS_NAMESPACE", "other")
            with pytest.raises(StackError, match="another namespace"):
                LocalStack(home=tmp_path, **NATS_ONLY).start()

    def test_a_home_in_use_on_another_machine_is_refused(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        home.set_running(RunningStack("far-away", "/run/x", [], {}, {}))
        assert home.lock() is not None
        try:
            with pytest.raises(StackError, match="in use by a stack on far-away"):
                LocalStack(home=tmp_path, **NATS_ONLY).start()
        finally:
            home.unlock()

    def test_waiting_for_a_home_in_use_has_a_limit(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        assert home.lock() is not None
        try:
            config = StackConfig(start_timeout=0.2)
            with pytest.raises(StackError, match="in use by a stack"):
                LocalStack(home=tmp_path, config=config, **NATS_ONLY).start()
        finally:
            home.unlock()


class TestRemains:
    def test_what_a_killed_stack_left_behind_is_replaced(self, tmp_path: Path) -> None:
        first = LocalStack(home=tmp_path, **NATS_ONLY).start()
        environment, supervisor = first.environment, first._supervisor
        assert supervisor
        os.kill(supervisor.status().pid, signal.SIGKILL)
        with LocalStack(home=tmp_path, **NATS_ONLY) as second:
            assert second.environment == environment
            second.check()
            assert not supervisor.runtime.exists()
        with pytest.raises(StackError, match="start a new"):
            first.check()
        first.stop()

    @pytest.mark.parametrize("text", ["", "{}", '{"host": 1}', "\x00\xff"])
    def test_a_damaged_stack_file_is_replaced(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "stack.json").write_text(text)
        with LocalStack(home=tmp_path, **NATS_ONLY) as stack:
            stack.check()
            running = Home(tmp_path).running()
            assert running
            Supervisor(Path(running.socket)).close()

    def test_a_stack_can_be_started_again(self, tmp_path: Path) -> None:
        stack = LocalStack(home=tmp_path, **NATS_ONLY)
        for _ in range(2):
            with stack:
                stack.check()

    def test_a_stack_that_is_not_running_says_so(self) -> None:
        stack = LocalStack(**NATS_ONLY)
        for use in (stack.check, stack.add_worker, lambda: stack.nats, lambda: stack.home):
            with pytest.raises(StackError, match=r"call start\(\)"):
                use()


class TestWorkers:
    def test_a_worker_that_cannot_start_is_quoted(self) -> None:
        command = (sys.executable, "-c", "raise SystemExit('no such planet')")
        with LocalStack(s3=ELSEWHERE, worker_command=command) as stack:
            eventually(lambda: any(process.failed for process in stack.processes()))
            with pytest.raises(StackError, match=r"worker-1 ended with code 1.*\n.*no such planet"):
                stack.check()

    def test_a_worker_is_told_where_the_servers_are(self) -> None:
        """And its options; its output is in a log of its own."""
        script = "import os, sys; print(os.environ['NATS_URL'], os.environ['MY'], *sys.argv[1:])"
        with LocalStack(
            s3=ELSEWHERE,
            parsers=3,
            worker_command=(sys.executable, "-c", script),
            worker_environment={"MY": "own"},
        ) as stack:
            log = stack.home / "logs" / "worker-1.log"
            eventually(lambda: log.exists() and log.read_text())
            assert log.read_text() == f"{stack.environment['NATS_URL']} own --parsers 3\n"

    def test_a_stopped_worker_is_not_a_failure_and_a_new_one_can_come(self) -> None:
        with LocalStack(s3=ELSEWHERE, worker_command=SLEEPER) as stack:
            stack.stop_worker("worker-1")
            stack.check()
            assert stack.add_worker() == "worker-1"
            assert stack.add_worker() == "worker-2"
            running = {process.name for process in stack.processes() if process.running}
            assert running == {"nats", "worker-1", "worker-2"}

    @pytest.mark.parametrize("name", ["worker-1", "nats"])
    def test_any_process_can_be_killed(self, name: str) -> None:
        with LocalStack(s3=ELSEWHERE, worker_command=SLEEPER) as stack:
            (first,) = (p for p in stack.processes() if p.name == name)
            stack.kill(name)
            eventually(lambda: is_gone(first.pid))


class TestEventLoops:
    async def test_a_stack_starts_while_a_loop_runs_in_this_thread(self) -> None:
        """As in a cell of a notebook."""
        with LocalStack(workers=0) as stack:
            stack.check()

    async def test_a_stack_is_also_an_async_context_manager(self) -> None:
        async with LocalStack(**NATS_ONLY) as stack:
            stack.check()
        with pytest.raises(StackError):
            stack.check()

    async def test_a_cancelled_start_leaves_nothing(self, tmp_path: Path) -> None:
        slow = tmp_path / "minio"
        slow.write_text("#!/bin/sh\necho $$\nexec sleep 1000\n")
        slow.chmod(0o755)
        stack = LocalStack(home=tmp_path / "home", config=StackConfig(s3_server=slow))
        entering = asyncio.ensure_future(stack.__aenter__())
        log = tmp_path / "home" / "logs" / "s3.log"
        await asyncio.to_thread(eventually, lambda: log.exists() and log.read_text())
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert is_gone(int(log.read_text()))

    def test_an_interrupted_start_leaves_nothing(self, tmp_path: Path) -> None:
        """A KeyboardInterrupt in the cell that starts it."""
        slow = tmp_path / "minio"
        slow.write_text("#!/bin/sh\necho $$\nexec sleep 1000\n")
        slow.chmod(0o755)
        log = tmp_path / "home" / "logs" / "s3.log"

        def interrupt() -> None:
            eventually(lambda: log.exists() and log.read_text())
            os.kill(os.getpid(), signal.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            LocalStack(home=tmp_path / "home", config=StackConfig(s3_server=slow)).start()
        interrupter.join()
        assert is_gone(int(log.read_text()))


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
