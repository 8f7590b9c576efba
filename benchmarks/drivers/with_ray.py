"""Ray: no-op tasks on as many worker processes as there are cores."""

from __future__ import annotations

import sys

import ray
from serving import serve


@ray.remote
def no_op(number: int) -> int:
    """Do nothing."""
    return number


def main() -> None:
    """Start Ray and serve."""
    ray.init(num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False)
    try:

        def run(jobs: int) -> None:
            results = ray.get([no_op.remote(number) for number in range(jobs)])
            assert len(results) == jobs

        serve(run, "ray")
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
