"""Everything is killed again and again while jobs run; the whole account is right at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.run import Options, run
from docnats.stack.binaries import S3Binary

JOBS = 200


@pytest.mark.timeout(540)
async def test_nothing_is_lost_whatever_dies(s3_binary: S3Binary, tmp_path: Path) -> None:
    """The short form of ``python -m benchmarks.chaos``; each fault happens twice at least."""
    options = Options(
        jobs=JOBS, seed=4, least=2, limit=180, s3_server=s3_binary.path, folder=tmp_path / "chaos"
    )
    report = await run(options)
    assert not report.violations, report.text()
    assert len(report.rows) == JOBS
    assert min(report.fault_counts.values()) >= 2
