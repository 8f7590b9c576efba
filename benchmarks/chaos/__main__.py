"""See :mod:`benchmarks.chaos`: ``python -m benchmarks.chaos --jobs 2000 --seed N``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from benchmarks.chaos.run import Options, run
from docnats.config import StackConfig
from docnats.stack.binaries import S3Backend, find_s3_server


def main() -> int:
    """Make a run, print its report; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=Options.jobs)
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--workers", type=int, default=Options.workers)
    parser.add_argument("--least", type=int, default=Options.least, help="faults of each kind")
    parser.add_argument("--limit", type=float, default=Options.limit, help="seconds")
    parser.add_argument("--s3", type=S3Backend, help="minio or seaweedfs; default: what is found")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    options = Options(
        jobs=given.jobs,
        seed=given.seed,
        workers=given.workers,
        least=given.least,
        limit=given.limit,
        s3_server=find_s3_server(StackConfig(), given.s3).path if given.s3 else None,
    )
    report = asyncio.run(run(options))
    print(json.dumps(report.to_dict(), indent=1) if given.json else report.text())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
