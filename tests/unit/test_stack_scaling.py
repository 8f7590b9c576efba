"""How many workers a backlog is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats.bus import Backlog
from docnats.config import machine
from docnats.errors import ConfigError
from docnats.stack import scaling
from docnats.stack.scaling import LOOKS_BACK, Target, most_workers
from docnats.stack.workers import checked_count

GIB = 1 << 30
IDLE = Backlog(0, 0)


def after(target: Target, *backlogs: Backlog, least: int = 1) -> list[int]:
    return [target.after(backlog, least=least) for backlog in backlogs]


def test_workers_grow_with_the_backlog_at_once() -> None:
    target = Target(1, most=8)
    assert after(target, IDLE, Backlog(2, 1), Backlog(5, 2), Backlog(900, 16)) == [1, 3, 7, 8]


def test_jobs_that_others_work_at_count_as_those_that_wait() -> None:
    assert after(Target(1, most=8), Backlog(0, 5)) == [5]


def test_a_worker_of_many_parsers_is_worth_as_many_jobs() -> None:
    assert after(Target(4, most=8), Backlog(4, 0), Backlog(5, 0)) == [1, 2]


def test_workers_shrink_only_once_all_looks_for_a_while_agree() -> None:
    target = Target(1, most=8)
    target.after(Backlog(6, 0), least=1)
    assert after(target, *[IDLE] * LOOKS_BACK) == [6] * (LOOKS_BACK - 1) + [1]


def test_a_backlog_that_comes_and_goes_keeps_its_workers() -> None:
    target = Target(1, most=8)
    pulse = [Backlog(4, 0), *[IDLE] * (LOOKS_BACK - 1)]
    assert set(after(target, *pulse * 5)) == {4}


def test_what_a_user_of_the_stack_needs_at_least_is_kept() -> None:
    target = Target(1, most=2)
    assert after(target, IDLE, Backlog(9, 9), least=3) == [3, 3]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1))
def test_the_number_never_leaves_its_limits(backlogs: list[tuple[int, int]]) -> None:
    target = Target(2, most=7)
    for pending, leased in backlogs:
        wanted = target.after(Backlog(pending, leased), least=1)
        assert 1 <= wanted <= 7
        assert wanted >= min(7, (pending + leased) / 2)


@pytest.mark.parametrize(
    ("cores", "memory", "parsers", "most"),
    [
        (16, 64 * GIB, 1, 16),
        (16, 64 * GIB, 4, 4),
        (2, 64 * GIB, 4, 1),
        (16, 4 * GIB, 1, 5),
        (16, 2 * GIB, 1, 2),
        (4, GIB // 2, 1, 1),
    ],
    ids=["cores", "parsers", "more-parsers-than-cores", "memory", "binder", "tiny"],
)
def test_a_machine_has_room_for_so_many(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory: int, parsers: int, most: int
) -> None:
    monkeypatch.setattr(scaling, "cores", lambda: cores)
    monkeypatch.setattr(machine, "memory", lambda: memory)
    assert most_workers(parsers) == most


def test_this_machine_has_room_for_one() -> None:
    assert most_workers(1) >= 1


@pytest.mark.parametrize("workers", [-1, 1.5, "auto", "many", None])
def test_a_number_of_workers_that_is_none_is_refused(workers: object) -> None:
    with pytest.raises(ConfigError, match=r"a whole number, 0 or more; or 'auto', where"):
        checked_count(workers)
