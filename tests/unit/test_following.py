"""Waiting for a batch: it ends, it is interrupted, it fails in the background."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from docnats.errors import BusError, StackError
from docnats.models import JobRecord, JobState, utc_now
from docnats.notebook import following
from docnats.notebook.following import follow
from docnats.notebook.session import Session
from docnats.service import Batch
from docnats.stack import LocalStack
from docnats.table import JobTable
from tests.fakes.bus import FakeBus
from tests.job_table import overwrite, write_new

pytestmark = pytest.mark.usefixtures("interruptible")


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session(embedded=True)
    yield session
    session.close()


def records(*states: JobState) -> list[JobRecord]:
    return [
        JobRecord(
            job_id=f"j{position}",
            batch="b",
            position=position,
            filename=f"{position}.pdf",
            state=state,
            s3_bucket="documents",
            s3_key=f"raw/j{position}.pdf",
            submitted_at=utc_now(),
        )
        for position, state in enumerate(states)
    ]


def batch(session: Session, *states: JobState, bus: FakeBus | None = None) -> Batch:
    bus = bus or FakeBus()
    table = JobTable("b")
    made = records(*states)
    for record, revision in zip(made, session.run(write_new(bus, made)), strict=True):
        table.apply(record, revision)
    return Batch(bus, table)


def waiting(session: Session, of: Batch, **options: Any) -> pd.DataFrame:
    return follow(session, of, wait=True, progress="none", **options)


def interrupt_once(condition: Callable[[], object]) -> threading.Thread:
    def act() -> None:
        while not condition():
            threading.Event().wait(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_it_returns_the_table_when_every_job_has_ended(session: Session) -> None:
    table = waiting(session, batch(session, JobState.DONE, JobState.FAILED))
    assert list(table.state) == ["done", "failed"]


def test_without_waiting_it_returns_at_once_and_goes_on(session: Session) -> None:
    bus = FakeBus()
    followed = batch(session, JobState.QUEUED, bus=bus)
    table = follow(session, followed, wait=False, progress="none")
    assert list(table.state) == ["queued"]
    (call,) = session._calls
    session.run(overwrite(bus, [records(JobState.DONE)[0]]))
    session.wait(call)
    assert followed.table.finished


def test_an_interrupt_leaves_the_batch_going_on_and_says_how_to_get_back(session: Session) -> None:
    bus = FakeBus()
    followed = batch(session, JobState.RUNNING, JobState.QUEUED, JobState.QUEUED, bus=bus)
    interrupter = interrupt_once(lambda: session._calls)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        waiting(session, followed)
    interrupter.join()
    message = str(interrupt.value)
    assert "2 queued, 1 running" in message
    assert "docnats.attach('b', wait=True)" in message
    assert "docnats.jobs('b').docnats.cancel()" in message
    (call,) = session._calls
    session.run(overwrite(bus, records(*[JobState.DONE] * 3)))
    session.wait(call)
    assert followed.table.finished


def test_an_interrupt_can_cancel_the_jobs(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = FakeBus()
    cancelled: list[str] = []

    async def cancel(jobs: list[JobRecord]) -> int:
        cancelled.extend(job.job_id for job in jobs)
        await overwrite(bus, records(JobState.CANCELLED))
        return 1

    monkeypatch.setattr(session, "service", lambda: SimpleNamespace(cancel=cancel))
    followed = batch(session, JobState.QUEUED, bus=bus)
    interrupter = interrupt_once(lambda: session._calls)
    with pytest.raises(KeyboardInterrupt, match="1 job cancelled"):
        waiting(session, followed, on_interrupt="cancel")
    interrupter.join()
    assert cancelled == ["j0"]


def test_what_fails_in_the_background_is_raised_by_the_next_call_once(session: Session) -> None:
    class Broken(FakeBus):
        async def progress(self, batch: str) -> Any:
            raise BusError("NATS is gone")
            yield

    follow(session, batch(session, JobState.QUEUED, bus=Broken()), wait=False, progress="none")
    (call,) = session._calls
    with pytest.raises(BusError):
        call.outcome.result()
    with pytest.raises(BusError, match="NATS is gone") as failure:
        session.run(asyncio.sleep(0))
    assert "in the background" in failure.value.__notes__[0]
    assert session.run(asyncio.sleep(0, result="all right")) == "all right"


def test_what_fails_while_it_is_waited_for_is_raised_there_only(session: Session) -> None:
    class Broken(FakeBus):
        async def progress(self, batch: str) -> Any:
            raise BusError("NATS is gone")
            yield

    with pytest.raises(BusError, match="NATS is gone"):
        waiting(session, batch(session, JobState.QUEUED, bus=Broken()))
    assert session.run(asyncio.sleep(0, result="all right")) == "all right"


class Told:
    """A panel that keeps what it is told in the end, and whose updates may fail."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.notes: list[str | None] = []
        self._failure = failure

    def update(self, progress: object) -> None:
        if self._failure:
            raise self._failure

    def release(self, progress: object) -> None:
        pass

    def finish(self, progress: object, note: str | None = None) -> None:
        self.notes.append(note)


def test_a_failure_in_the_background_is_told_in_the_panel(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = Told(RuntimeError("a bug"))
    monkeypatch.setattr(following, "open_panel", lambda *_, **__: panel)
    with pytest.raises(RuntimeError):
        waiting(session, batch(session, JobState.QUEUED))
    assert panel.notes == ["internal error: RuntimeError('a bug')"]


def test_the_end_of_the_embedded_stack_is_told_in_the_panel(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended:
        def check(self) -> None:
            raise StackError("nats ended with status 1")

        def stop(self) -> None:
            pass

    panel = Told()
    monkeypatch.setattr(following, "open_panel", lambda *_, **__: panel)
    monkeypatch.setattr("docnats.notebook.session._CHECK_SECONDS", 0.01)
    running = batch(session, JobState.QUEUED)
    session._stack = cast("LocalStack", Ended())
    with pytest.raises(StackError, match="status 1"):
        waiting(session, running)
    assert panel.notes == ["not followed any more: nats ended with status 1"]


def test_the_end_of_the_session_is_told_in_the_panel(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = Told()
    monkeypatch.setattr(following, "open_panel", lambda *_, **__: panel)
    follow(session, batch(session, JobState.QUEUED), wait=False, progress="none")
    session.close()
    (note,) = panel.notes
    assert "the session was closed; docnats.attach()" in (note or "")
