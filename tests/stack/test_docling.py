"""The processor docling: docling itself on a real worker, with models in its user's cache."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import docnats
from docnats.models import JobState
from docnats.service import DocumentResult, S3DocumentService
from docnats.stack import LocalStack
from tests.bad_pdfs import encrypted_pdf
from tests.stack.test_processors import LIMIT, job_of, result_of

pytestmark = [
    pytest.mark.skipif(find_spec("docling") is None, reason="docnats[docling] is not installed"),
    pytest.mark.timeout(600),
]

WORD = "sesame"

LAYOUT = "docling-project--docling-layout-heron"
MODELS = Path(".cache/docling/models")
HUB = Path(".cache/huggingface/hub")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's home with models where ``docling-tools models download`` puts them.

    One is also where docling itself puts it, when nothing keeps it from downloading.
    """
    home = tmp_path_factory.mktemp("user")
    models, cached = home / MODELS, home / HUB / f"models--{LAYOUT}"
    models.mkdir(parents=True)
    making = [sys.executable, "-m", "tests.docling_models", str(models)]
    subprocess.run(making, check=True, timeout=LIMIT)
    shutil.copytree(models / LAYOUT, cached / "snapshots/1234")
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("1234")
    (home / HUB).with_name("token").write_text("a secret of the user's")
    return home


@pytest.fixture(scope="module")
def stack(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack as its user has it who has configured nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("DOCNATS_HOME", str(tmp_path_factory.mktemp("data")))
        with LocalStack(workers=1, parsers=1, embedded=True) as stack:
            yield stack


@pytest.fixture
async def service(stack: LocalStack) -> AsyncIterator[S3DocumentService]:
    async with S3DocumentService(stack.s3, stack.nats) as service:
        yield service


async def convert(service: S3DocumentService, pdf: bytes, **options: object) -> DocumentResult:
    return await result_of(service, pdf, processor="docling", options=options)


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Move out what is in a folder: parser processes are bound to the folder itself."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    for entry in list(folder.iterdir()):
        entry.rename(elsewhere / entry.name)
    try:
        yield
    finally:
        for entry in list(elsewhere.iterdir()):
            entry.rename(folder / entry.name)
        elsewhere.rmdir()


def sample(name: str) -> bytes:
    (found,) = (path for path in docnats.sample_paths() if path.stem == name)
    return found.read_bytes()


async def test_headings_and_tables_are_in_markdown_and_in_its_own_json(
    service: S3DocumentService,
) -> None:
    report = await convert(service, sample("annual-report-1931"))
    markdown = report.parts["document.md"].decode()
    assert "\n## 1. The year Skerravoe Observatory" in markdown
    (row,) = (line for line in markdown.splitlines() if "September alone gave sixteen" in line)
    assert row.startswith("| ")
    document = json.loads(report.parts["docling.json"])
    tables = [table["data"]["num_rows"] for table in document["tables"]]
    assert len(tables) == len(report.pages) == 4
    assert all(tables)
    assert report.pages["text"][1] in markdown
    assert report.document["options"] == {}
    assert "docling-slim" in report.document["versions"]


async def test_text_is_read_off_a_picture(service: S3DocumentService) -> None:
    telegram = await convert(service, sample("telegram"), ocr=True, tables=False)
    assert "ALL CLEAR OVER SKERRAVOE TONIGHT" in telegram.text


async def test_a_password_is_for_its_document_only(service: S3DocumentService) -> None:
    letter = await convert(service, encrypted_pdf(WORD), password=WORD)
    assert letter.text
    job = await job_of(service, encrypted_pdf(WORD), processor="docling")
    assert job.error_type == "encrypted"


async def test_without_models_the_row_says_how_to_get_them_and_then_it_goes_on(
    service: S3DocumentService, home: Path
) -> None:
    # No other test has these options, for which the process would have its models by now.
    options = {"tables": True, "ocr": True}
    with emptied(home / MODELS), emptied(home / HUB):
        job = await job_of(service, sample("invoice"), processor="docling", options=options)
    assert (job.state, job.error_type) == (JobState.FAILED, "processor")
    assert "run `docling-tools models download` as the worker's user" in str(job.error)
    await convert(service, sample("invoice"), **options)


async def test_models_that_docling_has_downloaded_by_itself_do_as_well(
    service: S3DocumentService, home: Path
) -> None:
    """A parser process may read them, but not the user's token beside them."""
    with emptied(home / MODELS):
        invoice = await convert(service, sample("invoice"), ocr=False, tables=False)
    assert invoice.parts["document.md"]
