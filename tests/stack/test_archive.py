"""Archived batches on real servers, seen by clients and from the shell."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

import docnats
from docnats.models import JobState, Receipt
from docnats.names import Names, result_part
from docnats.notebook.session import current_session
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from docnats.table import COLUMNS
from tests.pdfs import HTML_PAGE, text_pdf


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "docnats", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


async def test_results_and_known_documents_outlive_the_rows(
    service: S3DocumentService, stack: LocalStack
) -> None:
    batch = await service.submit({"a.pdf": text_pdf(2), "b.pdf": HTML_PAGE}, force=True)
    before = (await batch.follow(timeout=120)).records()
    good, _ = before
    receipt = await service.archive(batch.id)
    assert await service.bus.states(batch.id) == []
    assert receipt.counts == {JobState.DONE: 1, JobState.FAILED: 1}
    async with S3DocumentService(stack.s3, stack.nats) as other:
        assert await other.jobs(batch.id) == before
        (found,) = [one for one in await other.batches() if one.batch == batch.id]
        assert (found.archived_at, found.pages) == (receipt.archived_at, 2)
        attached = await other.attach(batch.id)
        assert (await attached.follow(timeout=30)).records() == before
        assert len((await other.fetch_document(good)).pages) == 2
        assert (await other.dataset(batch.id, "pages")).count_rows() == 2
        again = await other.retry(before, force=True)
        retried = (await again.follow(timeout=120)).records()
        assert [job.state for job in retried] == [JobState.DONE, JobState.FAILED]
        assert (await other.archive(batch.id)).table == receipt.table
        assert (await other.verify(batch.id)).intact


async def test_gc_finds_nothing_of_an_archive(service: S3DocumentService) -> None:
    batch = await service.submit({"a.pdf": text_pdf()}, force=True)
    (job,) = (await batch.follow(timeout=120)).records()
    await service.archive(batch.id)
    leftovers = await service.gc(older_than=timedelta(0))
    mine = {job.s3_key, job.result_key, Names("default").archive_table(batch.id)}
    assert not {one.key for one in leftovers} & mine


def test_the_shell_archives_and_finds_damage(jobs: pd.DataFrame, stack: LocalStack) -> None:
    batch = jobs.batch[0]
    words = jobs.docnats.words()
    done = run("archive", batch, "--json")
    assert done.returncode == 0, done.stderr
    receipt = Receipt.from_json(done.stdout.encode())
    assert run("verify", batch).returncode == 0
    listed = run("jobs", batch, "--json").stdout.splitlines()
    assert [json.loads(line)["job_id"] for line in listed] == list(jobs.job_id)
    found = docnats.jobs(batch)
    pd.testing.assert_frame_equal(found, jobs)
    pd.testing.assert_frame_equal(found.docnats.words(), words)
    assert docnats.batches().set_index("batch").archived_at.notna()[batch]
    session = current_session()
    service = session.service()
    table = session.run(_opened(service, receipt.table.key))
    assert set(COLUMNS) - {"seconds"} <= set(table.column_names)
    damaged, lost = result_part(jobs.job_id[0], "words.parquet"), receipt.objects[-1].key
    session.run(service.storage.put_bytes(damaged, b"something else"))
    session.run(service.storage.delete([lost]))
    checked = run("verify", batch, "--json")
    assert checked.returncode == 1
    told = {one["key"]: one["what"] for one in json.loads(checked.stdout)["mismatches"]}
    assert set(told) == {damaged, lost}
    assert told[lost] == "it is not there"
    unknown = run("verify", "no-such-batch")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no-such-batch" in unknown.stderr
    assert run("archive", "no-such-batch").returncode == 2


async def _opened(service: S3DocumentService, key: str) -> Any:
    files = await service.storage.filesystem()
    return pq.read_table(f"{service.storage.bucket}/{key}", filesystem=files)
