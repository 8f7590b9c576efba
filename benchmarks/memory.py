"""What a large submission costs the client: ``python -m benchmarks.memory``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import docnats
from benchmarks.measure import MIB, Target, arguments, finish, peak_memory, print_table
from tests.pdfs import text_pdf

LIMIT = 300 * MIB
"""Resident bytes the client may need at most, whatever it submits."""


def main() -> int:
    """Submit many large files from a process of its own; fail when it grows over the limit."""
    options = _options()
    if options.client:
        print(json.dumps(submit(options.client)))
        return 0
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
        write_files(Path(folder), options.files, options.megabytes * 1_000_000)
        with docnats.LocalStack(workers=1, embedded=True) as stack:
            found = _in_a_process(Path(folder), stack.environment)
    report(found, options)
    target = Target("peak RSS, MiB", found["peak"] / MIB, LIMIT / MIB)
    finish(options.json, {"found": found}, targets=[target])
    return 0 if found["peak"] <= LIMIT and found["done"] == options.files else 1


def _options() -> Any:
    parser = arguments("memory", __doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, default=5, help="size of each file")
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_files(folder: Path, count: int, size: int) -> None:
    """Write PDFs of one page, padded to a size; the padding is a hole and costs no disk."""
    padding = b"\0" * size
    head, _, tail = text_pdf(padding=size).partition(padding)
    for number in range(count):
        with (folder / f"{number:06}.pdf").open("wb") as file:
            file.write(head)
            file.seek(size, os.SEEK_CUR)
            file.write(tail)


def submit(folder: Path) -> dict[str, float]:
    """Submit a folder and return what that took; runs in the client's process."""
    docnats.submit_many(docnats.sample_paths()[:1], progress="none")
    before, started = peak_memory(), time.perf_counter()
    jobs = docnats.submit_many(folder, progress="none", force=True)  # they are all the same
    return {
        "seconds": time.perf_counter() - started,
        "done": int((jobs.state == "done").sum()),
        "before": before,
        "peak": peak_memory(),
    }


def _in_a_process(folder: Path, variables: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", "--client", str(folder)]
    client = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(client.stdout)
    return found


def report(found: dict[str, float], options: Any) -> None:
    """Print the table."""
    rows = [
        ["documents done", f"{found['done']:.0f} of {options.files}"],
        ["size of each", f"{options.megabytes} MB"],
        ["seconds", f"{found['seconds']:.0f}"],
        ["peak RSS after one small document", f"{found['before'] / MIB:.0f} MiB"],
        ["peak RSS after all", f"{found['peak'] / MIB:.0f} MiB"],
    ]
    print_table(["client process", ""], rows)


if __name__ == "__main__":
    sys.exit(main())
