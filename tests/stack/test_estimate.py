"""An estimate on the real stack, and what really came of all documents."""

from __future__ import annotations

import pandas as pd
import pytest

import docnats
from docnats.errors import StackError
from docnats.names import RAW_PREFIX
from docnats.notebook import estimating
from docnats.notebook.session import current_session
from docnats.service import Range
from docnats.stack import LocalStack
from tests.pdfs import HTML_PAGE, text_pdf
from tests.waiting import eventually

LENGTHS = [1, 2, 3, 5, 8, 13, 21, 34, 55, 144]


def corpus() -> dict[str, bytes]:
    """Return forty PDFs of very different lengths, and eight files that are none."""
    pdfs = {
        f"{pages:03}-{lines}.pdf": text_pdf(pages, lines=lines)
        for pages in LENGTHS
        for lines in (2, 5, 10, 20)
    }
    return pdfs | {f"page-{n}.pdf": HTML_PAGE + b" " * 40 * n for n in range(8)}


def holds(told: Range, truth: float) -> bool:
    return told.low <= truth <= told.high


def result_bytes(jobs: pd.DataFrame) -> int:
    """Return what the results of some jobs take in S3."""
    session = current_session()
    storage = session.service().storage

    async def measure(prefix: str) -> int:
        return sum([stored.size async for stored in storage.list(prefix)])

    return sum(session.run(measure(key)) for key in jobs.result_key.dropna())


@pytest.fixture
def working(on_the_stack: None) -> None:
    """Wait for the worker of the shared stack, which may have been started just now."""
    eventually(lambda: docnats.health().healthy, within=60)


@pytest.mark.usefixtures("working")
def test_what_is_told_before_is_what_comes_of_it() -> None:
    documents = corpus()
    told = docnats.estimate(documents, sample=16, progress="none")
    assert (told.documents, told.sampled, told.complete) == (48, 16, False)
    assert (told.workers, told.parsers) == (1, 2)
    assert set(told.jobs.state) == {"done", "failed"}
    assert set(told.jobs.filename) < set(documents)
    assert docnats.jobs(told.batch).job_id.tolist() == told.jobs.job_id.tolist()
    jobs = docnats.submit_many(documents, progress="none")
    assert holds(told.pages, jobs.pages.sum())
    assert holds(told.failure_rate, (jobs.state == "failed").mean())
    assert holds(told.result_bytes, result_bytes(jobs))
    assert 0 < told.seconds.low < told.seconds.likely < told.seconds.high


@pytest.mark.usefixtures("working")
def test_few_documents_are_all_processed_and_can_be_cleaned_up() -> None:
    told = docnats.estimate({"a.pdf": text_pdf(7), "b.pdf": text_pdf(1)}, progress="none")
    assert told.complete
    assert told.pages == Range(8, 8, 8)
    assert "all were processed" in repr(told)
    assert told.jobs.docnats.cleanup() == 2


def test_without_a_worker_nothing_is_uploaded(
    stack: LocalStack, on_the_stack: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCNATS_NAMESPACE", "nobody-works-here")
    monkeypatch.setenv("S3_BUCKET", "nobody-works-here")
    monkeypatch.setattr(estimating, "APPEAR_SECONDS", 0.5)
    with pytest.raises(StackError, match="docnats worker"):
        docnats.estimate(corpus(), progress="none")
    session = current_session()

    async def uploads() -> list[str]:
        return [stored.key async for stored in session.service().storage.list(RAW_PREFIX)]

    assert session.run(uploads()) == []
