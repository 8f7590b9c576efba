"""Rates and the time left: honest, and silent where nothing can be told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats.table.pace import WINDOW_SECONDS, Pace, Parsers, Sample
from docnats.table.sizes import Expected
from docnats.table.workload import Outlook

TWO = Parsers(2, 2)


def at(elapsed: float, pages: int, *, sent: int = 0, busy: int = 2) -> Sample:
    """Return a moment at which a page of work is done for every page."""
    return Sample(elapsed, pages, sent, pages, busy)


def pace(*samples: Sample) -> Pace:
    made = Pace()
    for sample in samples:
        made.add(sample)
    return made


def left(work: float, documents: int = 100, sd: float = 0) -> Outlook:
    """Return the outlook on documents that are all alike, after as many others."""
    squares = work**2 / documents
    return Outlook(0, 1 / documents, Expected(work, sd, squares, work / documents))


def test_nothing_is_told_before_anything_was_done() -> None:
    nothing = pace(at(5, 0))
    assert nothing.pages_per_second(overall=False) is None
    assert nothing.bytes_sent_per_second() is None
    assert nothing.remaining(Outlook(), TWO) is None


def test_files_that_are_no_pdfs_say_nothing_about_the_others() -> None:
    opened = Sample(5, pages=0, bytes_sent=0, work=6, busy=2)
    assert pace(opened).remaining(left(100), TWO) is None


def test_the_rate_is_that_of_late_and_at_the_end_the_overall_one() -> None:
    """It stood still for 90 seconds, then went at 10 pages a second."""
    made = pace(at(90, 0), at(95, 50), at(100, 100))
    assert made.pages_per_second(overall=False) == 10
    assert made.pages_per_second(overall=True) == 1


def test_what_is_older_than_the_window_does_not_count() -> None:
    steps = [at(second, 100 * second, sent=second) for second in range(50)]
    ending = [at(50 + second, 5000 + second, sent=50) for second in range(21)]
    assert pace(*steps, *ending).pages_per_second(overall=False) == 1
    assert pace(*steps).bytes_sent_per_second() == 1
    assert pace(*steps, *ending).bytes_sent_per_second() == 0


def test_when_late_samples_saw_no_page_the_overall_rate_stands() -> None:
    steps = [at(second, 30) for second in range(20, 61)]
    assert pace(*steps).pages_per_second(overall=False) == pytest.approx(0.5)


def test_the_time_left_is_a_range_around_the_tempo_that_narrows_with_the_documents() -> None:
    made = pace(*(at(second, 10 * second) for second in range(1, 101)))
    few, many = (made.remaining(left(2000, documents), TWO) for documents in (10, 10_000))
    assert few is not None
    assert many is not None
    assert few[0] < many[0] < 200 < many[1] < few[1]
    assert many == pytest.approx((200, 200), rel=0.05)
    assert made.remaining(left(0), TWO) == (0, 0)


def test_time_in_which_nobody_was_at_work_does_not_count() -> None:
    """As before the first worker came."""
    waited = pace(at(90, 0, busy=0), *(at(90 + second, 10 * second) for second in range(1, 11)))
    low, high = waited.remaining(left(100, 10_000), TWO) or (0, 0)
    assert low < 10 < high < 11


def test_more_parsers_take_less_time_from_the_moment_they_live() -> None:
    made = pace(*(at(second, 10 * second) for second in range(1, 101)))
    two, eight = (made.remaining(left(8000), Parsers(n, 2)) or (0, 0) for n in (2, 8))
    assert eight[0] == pytest.approx(two[0] / 4)


def test_a_long_document_is_waited_for_however_many_parsers_there_are() -> None:
    made = pace(*(at(second, 10 * second) for second in range(1, 101)))
    outlook = left(2000, 10_000)._replace(longest=1000)
    low, _ = made.remaining(outlook, Parsers(100, 2)) or (0, 0)
    assert low == pytest.approx(1000 / 10, rel=0.05)


def test_what_has_yet_to_be_sent_is_waited_for() -> None:
    made = pace(*(at(second, 10 * second, sent=1000 * second) for second in range(1, 101)))
    low, high = made.remaining(left(10), TWO, bytes_to_send=1_000_000) or (0, 0)
    assert 500 < low < 1000 < high < 2000


MOMENTS = st.integers(0, 3000 * int(WINDOW_SECONDS)).map(lambda milliseconds: milliseconds / 1000)


@given(st.lists(MOMENTS, min_size=1, max_size=30), st.integers(1, 50))
def test_the_range_is_in_order_and_holds_the_time_at_the_overall_rate(
    times: list[float], documents: int
) -> None:
    samples = [at(moment, 10 * (place + 1)) for place, moment in enumerate(sorted(times))]
    found = pace(*samples).remaining(left(1000, documents), TWO)
    if found is not None:
        steady = 1000 * samples[-1].elapsed / samples[-1].work
        assert 0 <= found[0] <= steady * (1 + 1e-9)
        assert steady <= found[1] * (1 + 1e-9)
