"""How quantities are said."""

from __future__ import annotations

import pytest

from docnats.table.quantities import duration, size, span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3599.9, "1 h 0 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0, 0, "up to 5 s"),
        (11, 29.9, "10 to 30 s"),
        (85, 95, "1 to 2 min"),
        (20, 95, "up to 2 min"),
        (5395, 5400, "89 to 90 min"),
        (3600, 5401, "1 to 2 h"),
        (7200, 7200, "about 2 h"),
        (4_000_000, 9_000_000, "1,111 to 2,500 h"),
    ],
)
def test_what_is_left_is_a_range_in_round_numbers(low: float, high: float, said: str) -> None:
    assert span(low, high) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (999.7, "1.0 kB"), (9_960, "10 kB"), (2.5e15, "2,500 TB")],
)
def test_sizes_are_said_in_two_figures(count: float, said: str) -> None:
    assert size(count) == said
