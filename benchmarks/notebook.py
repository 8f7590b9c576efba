"""All that the notebook face costs: ``python -m benchmarks.notebook``.

The panel (kernel and browser), the job table (rebuilt from the bucket, folded per event), the
results (one call against a loop). Each also runs by itself, with options of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import arguments

PARTS = ("panel", "table", "results")


def main() -> int:
    """Run the parts; the status is 0 when all of theirs are."""
    target: Path | None = arguments("notebook", __doc__).parse_args().json
    failed = 0
    for part in PARTS:
        print(f"\n== {part}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{part}"]
        if target:
            command += ["--json", str(target.with_stem(f"{target.stem}-{part}"))]
        failed |= subprocess.run(command, check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
