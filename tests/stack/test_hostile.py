"""Files that mean harm and files that are broken, through servers and worker: rows, all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from docnats.errors import ErrorType
from docnats.models import JobRecord, JobState
from docnats.service import S3DocumentService
from docnats.stack import LocalStack
from tests.hostile_pdfs import DONE, HOSTILE, PAGES_FAILED
from tests.pdfs import text_pdf

CORPUS = os.environ.get("DOCNATS_CORPUS", "")
SLOW = frozenset(
    {
        "a_million_glyphs",
        "flate_bomb_of_text",
        "parentheses_in_a_string",
        "simple_font_that_lies",
        "the_same_contents_a_hundred_thousand_times",
        "three_million_saved_states",
        "two_hundred_thousand_places",
    }
)
"""Files that use up much of a page's time; one of their kind is enough here."""
SMALL_MEMORY = {"DOCNATS_MEMORY_LIMIT": str(768 << 20)}

FORBIDDEN = {ErrorType.INTERNAL, ErrorType.STORAGE, ErrorType.UNREADABLE, ErrorType.NOT_SENT}

pytestmark = pytest.mark.timeout(900)


def end_of(job: JobRecord) -> str:
    if job.state is JobState.DONE:
        return PAGES_FAILED if job.pages_failed else DONE
    return str(job.error_type)


async def submit(
    stack: LocalStack, sources: dict[str, bytes] | list[Path]
) -> tuple[list[JobRecord], JobRecord]:
    """Submit everything at once; then one good document, which shows how the stack is."""
    async with S3DocumentService(stack.s3, stack.nats) as service:
        jobs = (await (await service.submit(sources)).follow(timeout=800)).records()
        after = await service.submit(("good.pdf", text_pdf(3)))
        (good,) = (await after.follow(timeout=60)).records()
        return list(jobs), good


async def test_every_hostile_file_ends_in_a_row_that_says_what_it_is(
    start_stack: Callable[..., LocalStack],
) -> None:
    stack = start_stack(workers=1, parsers=2, worker_environment=SMALL_MEMORY)
    sources = {name: hostile.make() for name, hostile in HOSTILE.items() if name not in SLOW}
    jobs, good = await submit(stack, {f"{name}.pdf": body for name, body in sources.items()})
    ends = {job.filename.removesuffix(".pdf"): end_of(job) for job in jobs}
    assert ends.keys() == sources.keys()
    assert {name: end for name, end in ends.items() if end not in HOSTILE[name].ends} == {}
    assert {job.attempt for job in jobs} == {1}
    assert (good.state, good.attempt, good.worker) == (JobState.DONE, 1, jobs[0].worker)


@pytest.mark.skipif(not CORPUS, reason="DOCNATS_CORPUS names no folder with a corpus")
async def test_every_broken_file_of_the_corpus_ends_in_a_row(
    start_stack: Callable[..., LocalStack], capsys: pytest.CaptureFixture[str]
) -> None:
    stack = start_stack(workers=1, parsers=2)
    files = sorted((Path(CORPUS) / "bad").glob("*.pdf"))
    jobs, good = await submit(stack, files)
    tally = Counter(map(end_of, jobs))
    with capsys.disabled():
        print(f"\nbad files: {dict(tally.most_common())}")  # noqa: T201 - the tally is the point
    assert len(jobs) == len(files)
    assert {job.state for job in jobs} == {JobState.DONE, JobState.FAILED}
    assert not FORBIDDEN & set(tally)
    assert all(job.error for job in jobs if job.state is JobState.FAILED)
    encrypted = [job for job in jobs if job.error_type is ErrorType.ENCRYPTED]
    assert len(encrypted) > len(jobs) // 4
    assert (good.state, good.attempt, good.worker) == (JobState.DONE, 1, jobs[0].worker)
