"""Dask: no-op tasks on a scheduler and as many worker processes as there are cores."""

from __future__ import annotations

import sys

from distributed import Client, LocalCluster
from serving import serve


def no_op(number: int) -> int:
    """Do nothing."""
    return number


def main() -> None:
    """Start a cluster and serve."""
    cluster = LocalCluster(
        n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=None, silence_logs=40
    )
    with cluster, Client(cluster) as client:

        def run(jobs: int) -> None:
            results = client.gather(client.map(no_op, range(jobs), pure=False))
            assert len(results) == jobs

        serve(run, "dask", "distributed")


if __name__ == "__main__":
    main()
