"""The time left, on whole batches in simulated time, of documents as they are."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.simulation import (
    CORPORA,
    Corpus,
    Document,
    Simulation,
    found_on_the_web,
    letters,
    reports,
)

MOMENTS = 60
SEEDS = range(5)

Told = list[tuple[float, tuple[float, float] | None]]


def documents(corpus: Corpus, seed: int, number: int = 200) -> list[Document]:
    rng = random.Random(f"{corpus.__name__} {seed}")  # noqa: S311 - no secret
    return [corpus(rng) for _ in range(number)]


def told(batch: list[Document], **options: float) -> Told:
    """Return what is told at some moments after the first tenth, beside the time really left."""
    work = sum((1 + (one.pages or 0)) * one.page_seconds for one in batch)
    simulation = Simulation(batch, **options)  # type: ignore[arg-type]
    every = work / simulation.parsers / MOMENTS
    seen = [(moment, simulation.table.progress().remaining) for moment in simulation.run(every)]
    end = simulation.now
    assert simulation.table.finished
    return [(end - moment, span) for moment, span in seen if moment > 0.1 * end]


def right(moments: Told) -> float:
    """Return at what part of the moments the range held the truth."""
    held = [span is not None and span[0] <= left <= span[1] for left, span in moments]
    return sum(held) / len(held)


def width(moments: Told) -> float:
    """Return how many times the low end the high end is, half way through."""
    low, high = moments[len(moments) // 2][1] or (0, 0)
    return high / low


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_range_holds_the_truth_in_nine_of_ten_moments_and_is_of_use(corpus: Corpus) -> None:
    batches = [told(documents(corpus, seed)) for seed in SEEDS]
    assert right([moment for batch in batches for moment in batch]) >= 0.9
    assert sorted(map(width, batches))[len(batches) // 2] < 3


@pytest.mark.parametrize("corpus", [letters, found_on_the_web])
def test_largest_first_tells_the_truth_too(corpus: Corpus) -> None:
    """All that is left is smaller than all that is known, the whole time."""
    batches = [told(sorted(documents(corpus, seed), key=lambda one: -one.bytes)) for seed in SEEDS]
    assert right([moment for batch in batches for moment in batch]) >= 0.9


def test_several_workers_are_as_fast_as_they_are() -> None:
    batches = [told(documents(found_on_the_web, seed), workers=3) for seed in SEEDS]
    assert right([moment for batch in batches for moment in batch]) >= 0.9


def test_a_slow_upload_is_what_is_waited_for() -> None:
    batches = [told(documents(reports, seed), upload_rate=3e5) for seed in SEEDS[:2]]
    assert right([moment for batch in batches for moment in batch]) >= 0.9


def test_a_long_document_at_the_end_is_waited_for_alone() -> None:
    """Only two of the eight parsers can share it, so that it takes four times its even share."""
    batch = [*documents(letters, 0, 100), Document(40_000, 2_000)]
    moments = told(batch, workers=4)
    alone = [(left, span) for left, span in moments if 2 < left < 20]
    assert right(alone) >= 0.9
    assert all(span is not None and span[0] > left / 4 for left, span in alone)


def test_the_range_narrows_as_documents_end() -> None:
    widths = [width(told(documents(reports, 1, number))) for number in (30, 200, 1000)]
    assert all(fewer > more for fewer, more in pairwise(widths))
