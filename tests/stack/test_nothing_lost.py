"""Everything is killed again and again while jobs run; the whole account is right at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.run import Options, run
from docnats.config import StackConfig
from docnats.stack.binaries import S3Backend, find_s3_server

JOBS = 200


@pytest.mark.timeout(540)
async def test_nothing_is_lost_whatever_dies(tmp_path: Path) -> None:
    """The short form of ``python -m benchmarks.chaos``; each fault happens twice at least."""
    s3_server = find_s3_server(StackConfig(), S3Backend.SEAWEEDFS).path  # it is always there
    options = Options(
        jobs=JOBS, seed=4, least=2, limit=180, s3_server=s3_server, folder=tmp_path / "chaos"
    )
    report = await run(options)
    assert not report.violations, report.text()
    assert len(report.rows) == JOBS
    assert min(report.fault_counts.values()) >= 2
