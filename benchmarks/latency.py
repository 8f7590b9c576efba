"""How long one small document takes on a warm stack: ``python -m benchmarks.latency``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from statistics import quantiles
from typing import Any

import docnats
from benchmarks.documents import LINES
from benchmarks.measure import Target, arguments, finish, print_table
from docnats.notebook import close_session
from docnats.notebook.session import current_session
from tests.pdfs import text_pdf

P50_MS, P99_MS = 60.0, 150.0
WARM_UP = 20


def main() -> int:
    """Submit documents one after the other, each once the last one is done."""
    options = _options()
    with docnats.LocalStack(workers=1, embedded=True) as stack:
        os.environ.update(stack.environment)
        try:
            for number in range(WARM_UP):
                submit(-number - 1)
            times = [submit(number) for number in range(options.documents)]
        finally:
            close_session()
    columns = dict(
        zip(("submit to done", "parse", "the rest"), zip(*times, strict=True), strict=True)
    )
    report(columns)
    p50, p99 = percentiles(columns["the rest"])
    targets = [Target("p50, ms", p50, P50_MS), Target("p99, ms", p99, P99_MS)]
    finish(options.json, {"milliseconds": columns}, targets=targets)
    return 0


def _options() -> Any:
    parser = arguments("latency", __doc__)
    parser.add_argument("--documents", type=int, default=300)
    return parser.parse_args()


def submit(number: int) -> tuple[float, float, float]:
    """Submit one document; return the milliseconds to its row, those of its parser, the rest."""
    source = (f"{number}.pdf", text_pdf(lines=LINES) + b"%% document %d\n" % number)
    started = time.perf_counter()
    jobs = docnats.submit_many([source], progress="none", force=True)
    total = 1000 * (time.perf_counter() - started)
    assert jobs.state.tolist() == ["done"], jobs
    parse = 1000 * parse_seconds(jobs.batch.iloc[0])
    return total, parse, total - parse


def parse_seconds(batch: str) -> float:
    """Return how long the parser had the document of a batch, as its worker noted."""
    session = current_session()
    service = session.service()

    async def fetch() -> float:
        (job,) = await service.jobs(batch)
        result = await service.fetch_document(job)
        seconds: float = result.document["timings"]["parse_seconds"]
        return seconds

    return session.run(fetch())


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and what 99 of 100 are below."""
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def report(columns: dict[str, Sequence[float]]) -> None:
    """Print the table."""
    rows = []
    for name, values in columns.items():
        p50, p99 = percentiles(values)
        rows.append([name, *(f"{value:.1f}" for value in (p50, p99, min(values), max(values)))])
    print_table(["ms, one document at a time", "p50", "p99", "min", "max"], rows)


if __name__ == "__main__":
    sys.exit(main())
