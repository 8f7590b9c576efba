"""Results as one table, against one by one in a loop: ``python -m benchmarks.results``."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

import docnats
from benchmarks.measure import Target, arguments, finish, print_table
from docnats.notebook import close_session
from docnats.notebook.session import current_session

MUCH_FASTER = 3.0
"""How much faster than the loop the one call must be at least."""

COLUMNS = ["page_no", "text"]


class Measured(NamedTuple):
    """The best of some runs: what a quiet machine needs."""

    seconds: float
    cpu: float
    rows: int


def main() -> int:
    """Process the samples again and again, read their words in each way, compare."""
    options = _options()
    with docnats.LocalStack(workers=1, embedded=True) as stack:
        os.environ.update(stack.environment)
        jobs = process(options.results)
        found = {name: _best(read, jobs, options.runs) for name, read in WAYS.items()}
        close_session()
    report(found, len(jobs))
    ratio = found[LOOP].seconds / found[ONE_CALL].seconds
    target = Target("one call, times as fast as the loop", ratio, MUCH_FASTER, at_least=True)
    finish(options.json, {"found": found}, targets=[target])
    return 0 if target.reached else 1


def _options() -> Any:
    parser = arguments("results", __doc__)
    parser.add_argument("--results", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3, help="of each way; the best counts")
    return parser.parse_args()


def process(count: int) -> pd.DataFrame:
    """Return the rows of as many processed documents."""
    samples = [path.read_bytes() for path in docnats.sample_paths()]
    sources = {f"{n:05}.pdf": samples[n % len(samples)] for n in range(count)}
    jobs = docnats.submit_many(sources, progress="none", force=True)
    assert (jobs.state == "done").all()
    return jobs


def one_call(jobs: pd.DataFrame) -> pd.DataFrame:
    """Read all words."""
    return jobs.docnats.words()


def two_columns(jobs: pd.DataFrame) -> pd.DataFrame:
    """Read two of their columns."""
    return jobs.docnats.words(COLUMNS)


def in_a_loop(jobs: pd.DataFrame) -> pd.DataFrame:
    """Read each document's words by itself, then put them together."""
    return pd.concat([jobs.iloc[[row]].docnats.words() for row in range(len(jobs))])


def whole_documents(jobs: pd.DataFrame) -> pd.DataFrame:
    """Await one document's result after the other: pages, words and metadata."""
    session = current_session()

    async def fetch_all() -> pd.DataFrame:
        service = session.service()
        records = await service.jobs(jobs.batch.iloc[0])
        return pd.concat([(await service.fetch_document(job)).words for job in records])

    return session.run(fetch_all())


ONE_CALL = "jobs.docnats.words()"
LOOP = "loop: one row's .docnats.words() each, concat"
WAYS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    ONE_CALL: one_call,
    f"jobs.docnats.words({COLUMNS})": two_columns,
    LOOP: in_a_loop,
    "loop: await fetch_document(job) each, concat": whole_documents,
}


def _best(read: Callable[[pd.DataFrame], pd.DataFrame], jobs: pd.DataFrame, runs: int) -> Measured:
    return min(_measure(read, jobs) for _ in range(runs))


def _measure(read: Callable[[pd.DataFrame], pd.DataFrame], jobs: pd.DataFrame) -> Measured:
    gc.collect()
    cpu, started = time.process_time(), time.perf_counter()
    words = read(jobs)
    return Measured(time.perf_counter() - started, time.process_time() - cpu, len(words))


def report(found: dict[str, Measured], count: int) -> None:
    """Print the table."""
    best = found[ONE_CALL]
    rows = [
        [
            name,
            f"{way.rows:,}",
            f"{way.seconds:.2f}",
            f"{way.cpu:.2f}",
            f"{way.seconds / best.seconds:.1f}",
            f"{way.cpu / best.cpu:.1f}",
        ]
        for name, way in found.items()
    ]
    header = [f"words of {count:,} results", "rows", "seconds", "CPU s", "times", "times CPU"]
    print_table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
