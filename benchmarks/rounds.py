"""Sides that do the same work in turn, A B A B …, and how they compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.measure import cpu_seconds, print_table

__all__ = ["Rounds", "Side", "cheaper", "faster", "print_rounds", "run_rounds"]


@dataclass(frozen=True, slots=True)
class Side:
    """A way to do the work, started.

    Attributes
    ----------
    run : callable
        Does the work it is given; raises when any of it fails.
    processes : tuple of int
        Those whose CPU time counts, with all below them.
    once : bool
        Whether it is shown for reference only: one round is enough.
    """

    run: Callable[[Any], object]
    processes: tuple[int, ...]
    once: bool = False


@dataclass
class Rounds:
    """What one side did with the same work, a number a round.

    Attributes
    ----------
    count : int
        Pages, jobs, … of one round.
    """

    count: int
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """What was done a second in each round."""
        return [self.count / seconds for seconds in self.seconds]

    @property
    def cpu_each(self) -> float:
        """Median CPU-milliseconds for each, over all processes of the side."""
        return 1000 * median(self.cpu_seconds) / self.count


def run_rounds(
    sides: Mapping[str, Side], work: object, count: int, rounds: int, *, warm_up: object = None
) -> dict[str, Rounds]:
    """Let every side do the same work once a round, in turn.

    Parameters
    ----------
    count : int
        How much work it is, in the unit that is reported.
    warm_up : optional
        Less work, which every side does first.
    """
    results = {name: Rounds(count) for name in sides}
    if warm_up is not None:
        for side in sides.values():
            side.run(warm_up)
    for number in range(1, rounds + 1):
        for name, side in sides.items():
            if side.once and number > 1:
                continue
            used, started = cpu_seconds(side.processes), time.perf_counter()
            side.run(work)
            result = results[name]
            result.seconds.append(time.perf_counter() - started)
            result.cpu_seconds.append(cpu_seconds(side.processes) - used)
            print(f"round {number}  {name:<24} {result.rates[-1]:10.1f}/s", flush=True)
    return results


def faster(results: Mapping[str, Rounds], one: str, other: str) -> float:
    """Return how many times as much one side does in a second as the other."""
    return median(results[one].rates) / median(results[other].rates)


def cheaper(results: Mapping[str, Rounds], one: str, other: str) -> float:
    """Return how many times as much one side does in a CPU-second as the other."""
    return results[other].cpu_each / results[one].cpu_each


def print_rounds(results: Mapping[str, Rounds], unit: str, ours: str) -> None:
    """Print what every side did, and how one of them compares with it.

    Parameters
    ----------
    unit : str
        What is counted: "page".
    ours : str
        The side that is compared with the others.
    """
    header = ["", f"{unit}s/s", "min", "max", f"CPU-ms/{unit}", "ours ÷ it", "CPU: ours ÷ it"]
    print()
    print_table(header, [[name, *_row(results, name, ours)] for name in results])


def _row(results: Mapping[str, Rounds], name: str, ours: str) -> list[str]:
    result = results[name]
    row = [f"{statistic(result.rates):.1f}" for statistic in (median, min, max)]
    row.append(f"{result.cpu_each:.2f}")
    if ours not in results:  # it was left out
        return [*row, "", ""]
    return [
        *row,
        f"{faster(results, ours, name):.2f}",
        f"{1 / cheaper(results, ours, name):.2f}",
    ]
