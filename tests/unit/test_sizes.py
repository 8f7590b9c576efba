"""What is expected of documents by their size, and how firmly."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats.table.sizes import SizeModel, Sizes


def model(documents: Iterable[tuple[int, float]]) -> SizeModel:
    made = SizeModel()
    for size, amount in documents:
        made.learn(size, amount)
    return made


def sizes(*found: int) -> Sizes:
    made = Sizes()
    for size in found:
        made.add(size)
    return made


def test_a_size_seen_often_amounts_to_what_it_did() -> None:
    seen = model([(1000, 2)] * 100 + [(100_000, 50)] * 100)
    assert seen.expect(sizes(*[1000] * 10)).total == pytest.approx(20, rel=0.05)
    assert seen.expect(sizes(*[100_000] * 10)).total == pytest.approx(500, rel=0.05)


def test_a_size_never_seen_is_told_from_how_the_others_grow() -> None:
    """Between them, beyond them and below; the farther, the more in doubt."""
    seen = model([(size, size / 1000) for size in (10_000, 20_000, 40_000, 80_000)] * 50)
    near, far = seen.expect(sizes(160_000)), seen.expect(sizes(2_560_000))
    assert near.total == pytest.approx(160, rel=0.15)
    assert far.total == pytest.approx(2560, rel=0.4)
    below = seen.expect(sizes(5000))
    assert below.total == pytest.approx(5, rel=0.15)
    assert far.doubt > near.doubt > seen.expect(sizes(40_000)).doubt


def test_one_kind_of_size_says_little_of_others() -> None:
    seen = model([(1000, 1)] * 1000)
    assert seen.expect(sizes(*[1000] * 1000)).doubt < 0.1
    assert seen.expect(sizes(*[1_000_000] * 1000)).doubt > 1


def test_the_range_holds_what_the_documents_amount_to_in_nine_of_ten_cases() -> None:
    """Of pages a byte that differ by an order of magnitude; a tenth of the documents is known."""
    held = 0
    for seed in range(100):
        rng = random.Random(seed)  # noqa: S311 - no secret
        pages = [1 + rng.lognormvariate(1.5, 1) for _ in range(1000)]
        found = [(int(page * rng.lognormvariate(10.5, 1)), page) for page in pages]
        low, high = model(found[:100]).expect(sizes(*(size for size, _ in found[100:]))).range()
        held += low <= sum(pages[100:]) <= high
    assert held >= 90


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 20_000)), min_size=2, max_size=30))
def test_what_is_taken_out_again_leaves_no_trace(documents: list[tuple[int, int]]) -> None:
    (size, amount), *others = documents
    one, other = model(documents), model(others)
    one.learn(size, amount, -1)
    assert one.known == other.known
    waiting = sizes(size, 5000)
    assert tuple(one.expect(waiting)) == pytest.approx(tuple(other.expect(waiting)))


@given(
    st.lists(st.tuples(st.integers(0, 2**45), st.integers(1, 20_000)), min_size=1, max_size=20),
    st.lists(st.integers(0, 2**45), max_size=20),
)
def test_expectations_are_finite_and_never_negative(
    documents: list[tuple[int, int]], waiting: list[int]
) -> None:
    expected = model(documents).expect(sizes(*waiting))
    low, high = expected.range()
    assert 0 <= low <= expected.total <= high < float("inf")
    assert (expected.total > 0) == bool(waiting)
