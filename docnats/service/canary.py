"""The few documents of many that are really processed, to tell how the others will go."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from docnats.errors import ConfigError
from docnats.service.batch import Batch
from docnats.service.sources import Source

__all__ = ["Canary", "choose", "sample_size", "size_class"]

LEAST = 24
"""Documents that a canary has at least, unless a number is asked for: of fewer, one long document
decides what is told."""

_A_PARSER = 3
"""Documents that each parser gets at least, so that all are at work for most of the time."""

_POWER = 0.25
"""A document is as likely to be chosen as this power of its bytes: large ones decide how long it
takes, small ones how many fail."""


@dataclass(frozen=True)
class Canary:
    """A batch of a few documents, chosen from many.

    Attributes
    ----------
    batch : Batch
        Those that are processed.
    documents : sequence of Source
        All of them.
    chosen : sequence of int
        The places of those processed, in the order of the batch.
    parsers : mapping of str to int
        The parsers of each worker that lived at the beginning.
    """

    batch: Batch
    documents: Sequence[Source]
    chosen: Sequence[int]
    parsers: Mapping[str, int]


def sample_size(sample: float, documents: int, parsers: int) -> int:
    """Return how many of some documents to process.

    Parameters
    ----------
    sample : float or int
        A part, for example 0.01, or a number of documents.

    Raises
    ------
    ConfigError
        It is neither.
    """
    if isinstance(sample, bool) or not isinstance(sample, int | float) or not sample > 0:
        raise ConfigError(_WRONG.format(sample))
    if isinstance(sample, int):
        return min(sample, documents)
    if sample > 1:
        raise ConfigError(_WRONG.format(sample))
    return min(max(ceil(sample * documents), LEAST, _A_PARSER * parsers), documents)


_WRONG = (
    "sample={!r}: give a part of the documents between 0.0 and 1.0, for example 0.01, or a whole "
    "number of them"
)


def size_class(size: int) -> int:
    """Return the class of a document by its bytes: one for each doubling."""
    return size.bit_length()


def choose(sizes: Sequence[int], count: int, seed: int) -> list[int]:
    """Choose documents from every class of size; the same ones for the same sizes and seed.

    Each class gets as many as its documents' part in the work is uncertain: their number times
    the root of their size, since pages grow and scatter about so. At least one, while there are
    enough.

    Returns
    -------
    list of int
        Their places, in order.
    """
    classes: dict[int, list[int]] = {}
    for place, size in enumerate(sizes):
        classes.setdefault(size_class(size), []).append(place)
    weights = {
        name: sum((sizes[place] + 1) ** _POWER for place in places)
        for name, places in classes.items()
    }
    rng = random.Random(seed)  # noqa: S311 - a choice, no secret
    shares = _shares(weights, {name: len(places) for name, places in classes.items()}, count)
    return sorted(
        place for name in sorted(classes) for place in rng.sample(classes[name], shares[name])
    )


def _shares(weights: Mapping[int, float], sizes: Mapping[int, int], count: int) -> dict[int, int]:
    """Share a number out by weight: one each first, nobody more than there are."""
    shares = dict.fromkeys(weights, 0)
    for _ in range(min(count, sum(sizes.values()))):
        hungry = [name for name in weights if shares[name] < sizes[name]]
        shares[max(hungry, key=lambda n: (not shares[n], weights[n] / (shares[n] + 1), n))] += 1
    return shares
