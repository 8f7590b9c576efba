"""What a document may cost."""

from __future__ import annotations

import pytest

from docnats.config import ProcessingConfig
from docnats.worker.limits import (
    ALONE_CPU_SECONDS,
    PAGE_CPU_SECONDS,
    RANGE_SECONDS,
    USUAL_SECONDS,
    Limits,
)


def test_a_page_by_itself_gets_more_time() -> None:
    limits = Limits(USUAL_SECONDS)
    assert limits.page_cpu_seconds(48) == PAGE_CPU_SECONDS
    assert limits.page_cpu_seconds(1) == ALONE_CPU_SECONDS > PAGE_CPU_SECONDS
    assert limits.range_seconds(48) == RANGE_SECONDS + 72


def test_the_usual_time_limit_is_the_default_one() -> None:
    assert ProcessingConfig().timeout == USUAL_SECONDS


def test_a_longer_time_limit_is_also_one_for_slow_pages() -> None:
    limits = Limits(6 * USUAL_SECONDS)
    assert limits.page_cpu_seconds(48) == 6 * PAGE_CPU_SECONDS
    assert limits.page_cpu_seconds(1) == 6 * ALONE_CPU_SECONDS
    assert limits.range_seconds(1) > limits.page_cpu_seconds(1)


@pytest.mark.parametrize("seconds", [1, 60, USUAL_SECONDS])
def test_a_shorter_one_leaves_pages_their_time(seconds: float) -> None:
    assert Limits(seconds).page_cpu_seconds(1) == ALONE_CPU_SECONDS
    assert Limits(seconds).bad_pages_seconds == seconds / 2
