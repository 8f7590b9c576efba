"""Rates and the time left: honest, and silent where nothing can be told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats.table.pace import WINDOW_SECONDS, Pace, Sample


def pace(*samples: Sample) -> Pace:
    made = Pace()
    for sample in samples:
        made.add(sample)
    return made


def test_nothing_is_told_before_anything_was_done() -> None:
    nothing = pace(Sample(5, 0, 0, 0))
    assert nothing.pages_per_second(overall=False) is None
    assert nothing.bytes_sent_per_second() is None
    assert nothing.remaining(100, ended=0) is None


def test_files_that_are_no_pdfs_say_nothing_about_the_others() -> None:
    assert pace(Sample(5, 0, 0, 6)).remaining(5_000_000, ended=1) is None


def test_the_rate_is_that_of_late_and_at_the_end_the_overall_one() -> None:
    """It stood still for 90 seconds, then went at 10 pages a second."""
    made = pace(Sample(90, 0, 0, 0), Sample(95, 50, 0, 500), Sample(100, 100, 0, 1000))
    assert made.pages_per_second(overall=False) == 10
    assert made.pages_per_second(overall=True) == 1


def test_what_is_older_than_the_window_does_not_count() -> None:
    steps = [Sample(second, 100 * second, second, 0) for second in range(50)]
    ending = [Sample(50 + second, 5000 + second, 50, 0) for second in range(21)]
    assert pace(*steps, *ending).pages_per_second(overall=False) == 1
    assert pace(*steps).bytes_sent_per_second() == 1
    assert pace(*steps, *ending).bytes_sent_per_second() == 0


def test_when_late_samples_saw_no_page_the_overall_rate_stands() -> None:
    steps = [Sample(second, 30, 0, 30) for second in range(20, 61)]
    assert pace(*steps).pages_per_second(overall=False) == pytest.approx(0.5)


def test_the_time_left_is_a_range_that_narrows_with_the_documents_that_ended() -> None:
    made = pace(Sample(90, 9, 0, 900), Sample(100, 10, 0, 1000))
    early, late = made.remaining(2000, ended=4), made.remaining(2000, ended=10_000)
    assert early == pytest.approx((100 / 1.5, 150))
    assert late == pytest.approx((100 / 1.01, 101))
    assert made.remaining(1000, ended=4) == (0, 0)


MOMENTS = st.integers(0, 3000 * int(WINDOW_SECONDS)).map(lambda milliseconds: milliseconds / 1000)


@given(st.lists(MOMENTS, min_size=1, max_size=30), st.integers(1, 50))
def test_the_range_is_in_order_and_holds_the_time_at_the_overall_rate(
    times: list[float], ended: int
) -> None:
    samples = [Sample(at, 1, 0, 10.0 * (place + 1)) for place, at in enumerate(sorted(times))]
    found = pace(*samples).remaining(1000, ended)
    if found is not None:
        low, high = found
        steady = (1000 - samples[-1].work) * samples[-1].elapsed / samples[-1].work
        assert 0 <= low <= steady * (1 + 1e-9)
        assert steady <= high * (1 + 1e-9)
