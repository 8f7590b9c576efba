"""Processors and prompts on real servers and a real worker; the example package is a plugin."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import docnats
from docnats.errors import ConfigError, JobFailed
from docnats.models import JobRecord, JobState
from docnats.names import PAGES, RESULT_PREFIX
from docnats.panel import open_panel
from docnats.service import DocumentResult, S3DocumentService
from docnats.stack import LocalStack
from tests.language_model import KEY, LanguageModel, language_model
from tests.pdfs import HTML_PAGE, text_pdf
from tests.plugins import EXAMPLE, installed, write_metadata
from tests.waiting import until

LIMIT = 120
ROOT = Path(__file__).parents[2]


@dataclass
class Equipped:
    """A stack whose one worker has the plugin and a language model."""

    stack: LocalStack
    model: LanguageModel


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Equipped]:
    site = tmp_path_factory.mktemp("site")
    write_metadata(EXAMPLE, site)
    path = os.pathsep.join(filter(None, (str(site), str(EXAMPLE), os.environ.get("PYTHONPATH"))))
    with (
        installed(site, EXAMPLE),
        language_model() as model,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PYTHONPATH", path)
        patch.setenv("DOCNATS_LLM_BASE_URL", model.url)
        patch.setenv("DOCNATS_LLM_MODEL", "tiny")
        patch.setenv("DOCNATS_LLM_API_KEY", KEY)
        patch.setenv("DOCNATS_HOME", str(tmp_path_factory.mktemp("home")))
        with LocalStack(workers=1, parsers=1, embedded=True) as stack:
            yield Equipped(stack, model)


@pytest.fixture
async def service(equipped: Equipped) -> AsyncIterator[S3DocumentService]:
    equipped.model.requests.clear()
    async with S3DocumentService(equipped.stack.s3, equipped.stack.nats) as service:
        await service.health_check(wait=30)
        yield service


async def result_of(service: S3DocumentService, pdf: bytes, **how: Any) -> DocumentResult:
    job = await job_of(service, pdf, **how)
    assert (job.state, job.error) == (JobState.DONE, None)
    return await service.fetch_document(job)


async def job_of(service: S3DocumentService, pdf: bytes, **how: Any) -> JobRecord:
    batch = await service.submit(("a.pdf", pdf), **how)
    (job,) = (await batch.follow(timeout=LIMIT)).records()
    return job


async def test_the_worker_tells_what_it_offers(service: S3DocumentService) -> None:
    (worker,) = await service.workers()
    assert set(worker.processors) >= {"docling-parse", "pypdfium2", "noop", "wordcount"}
    assert worker.versions["wordcount"].endswith(" docnats-wordcount-0.1.0")
    assert worker.prompts == "tiny"


async def test_plain_text_of_a_long_document_comes_in_ranges(service: S3DocumentService) -> None:
    result = await result_of(service, text_pdf(100), processor="pypdfium2")
    assert result.job.pages == 100
    assert list(result.pages["page_no"]) == list(range(1, 101))
    assert result.pages["text"][99].startswith("Page 100 line 1")
    assert len(result.words) == 0
    assert result.document["processor"] == "pypdfium2"
    assert "pypdfium2" in result.document["versions"]
    table = await service.fetch_table([result.job.job_id], PAGES, ["text"])
    assert table.num_rows == 100


async def test_an_estimate_is_of_the_processor_it_is_asked_for(service: S3DocumentService) -> None:
    estimate = await service.estimate(("a.pdf", text_pdf(3)), processor="pypdfium2")
    assert [job.processor for job in estimate.records] == ["pypdfium2"]
    assert estimate.pages.likely == 3


async def test_noop_takes_anything(service: S3DocumentService) -> None:
    result = await result_of(service, HTML_PAGE, processor="noop")
    assert (result.job.pages, result.text) == (1, "")


async def test_the_example_counts_words_and_cleaning_up_takes_its_part_too(
    service: S3DocumentService,
) -> None:
    options = {"top": "2", "ignore_case": False}
    result = await result_of(service, text_pdf(60), processor="wordcount", options=options)
    assert json.loads(result.parts["word_counts.json"]) == {"Page": 180, "line": 180}
    assert result.document["options"] == {"top": 2, "ignore_case": False}
    assert result.document["parts"] == ["word_counts.json"]
    assert len(result.pages) == 60
    prefix = f"{RESULT_PREFIX}{result.job.job_id}/"
    assert len([s async for s in service.storage.list(prefix)]) == 4
    await service.cleanup_jobs([result.job])
    assert [s async for s in service.storage.list(prefix)] == []


async def test_a_bad_option_is_refused_before_the_upload(service: S3DocumentService) -> None:
    with pytest.raises(ConfigError, match="top: Input should be a valid integer"):
        await service.submit(("a.pdf", text_pdf()), processor="wordcount", options={"top": "x"})


async def test_a_job_that_no_live_worker_can_do_waits_and_says_so(
    service: S3DocumentService,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Its plugin is installed where it is submitted, and on no worker; the panel says so too."""
    (tmp_path / "elsewhere_plugin.py").write_text(
        "from docnats.processors import Processor\n"
        "PROCESSOR = Processor('elsewhere', 'elsewhere', 'elsewhere_plugin:open_reader')\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "elsewhere"\nversion = "1"\n'
        '[project.entry-points."docnats.processors"]\nelsewhere = "elsewhere_plugin:PROCESSOR"\n'
    )
    write_metadata(tmp_path, tmp_path)
    with installed(tmp_path):
        batch = await service.submit(("a.pdf", text_pdf()), processor="elsewhere")
    assert "no live worker offers the processor elsewhere" in caplog.text
    async for entry in service.bus.watch(batch.id):
        if entry and entry.record.error:
            break
    assert entry.record.state is JobState.QUEUED
    assert entry.record.error == "waits for a worker that offers the processor elsewhere"
    panel, shown = open_panel(batch.table.progress(), kind="text"), ""
    following = asyncio.create_task(batch.follow(panel.update, timeout=LIMIT))
    async with asyncio.timeout(LIMIT):
        while "1 job waits for a worker that offers elsewhere" not in shown:
            await asyncio.sleep(0.1)
            shown += capsys.readouterr().err
    assert await service.cancel([entry.record]) == 1
    (job,) = (await following).records()
    assert job.state is JobState.CANCELLED
    assert "a.pdf waits" not in caplog.text, "the panel says it"


@pytest.fixture
def plain_worker(equipped: Equipped) -> Iterator[subprocess.Popen[str]]:
    """Run a second worker that has neither the plugin nor a language model."""
    theirs = {"PYTHONPATH", *(name for name in os.environ if name.startswith("DOCNATS_LLM"))}
    environment = {name: value for name, value in os.environ.items() if name not in theirs}
    command = [sys.executable, "-m", "docnats", "worker", "--parsers", "1", "--grace", "1"]
    with subprocess.Popen(
        command,
        env={**environment, **equipped.stack.environment, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        yield worker
        worker.terminate()
        worker.communicate(timeout=LIMIT)


async def test_a_worker_that_cannot_do_a_job_leaves_it_to_one_that_can(
    equipped: Equipped, service: S3DocumentService, plain_worker: subprocess.Popen[str]
) -> None:
    workers = await until(service.workers, lambda found: len(found) == 2, within=LIMIT)
    able = next(worker for worker in workers if worker.pid != plain_worker.pid)
    equipped.stack.kill("worker-1", signal.SIGSTOP)
    try:
        batch = await service.submit(("a.pdf", text_pdf()), processor="wordcount")
        async for entry in service.bus.watch(batch.id):
            if entry and entry.record.error:
                break
    finally:
        equipped.stack.kill("worker-1", signal.SIGCONT)
    assert entry.record.error == "waits for a worker that offers the processor wordcount"
    (job,) = (await batch.follow(timeout=LIMIT)).records()
    assert (job.state, job.worker, job.attempt, job.error) == (
        JobState.DONE,
        able.worker,
        1,
        None,
    )


async def test_a_prompt_is_answered_over_the_text(
    equipped: Equipped, service: S3DocumentService
) -> None:
    equipped.model.answer = lambda instructions, text: f"{instructions[-9:]}: {text[:13]}"
    result = await result_of(service, text_pdf(2), processor="pypdfium2", custom_prompt="Summarise")
    assert result.prompt_output == "Summarise: Page 1 line 1"
    assert result.document["prompt"]["input_tokens"] == 100
    assert equipped.model.authorizations[-1] == f"Bearer {KEY}"


async def test_a_prompt_that_is_refused_fails_the_job(
    equipped: Equipped, service: S3DocumentService, tmp_path: Path
) -> None:
    equipped.model.faults.append((401, f"incorrect key {KEY}"))
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    with pytest.raises(JobFailed, match="HTTP 401") as caught:
        await service.process_document(tmp_path / "a.pdf", custom_prompt="Summarise")
    assert caught.value.error_type == "prompt"
    (told,) = await service.explain(
        [job for job in await service.jobs() if job.error_type == "prompt"]
    )
    assert "DOCNATS_LLM_BASE_URL" in told.what_to_do


async def test_a_prompt_is_known_by_its_words(service: S3DocumentService) -> None:
    service.config = service.config.but(reuse_results=True)
    document = text_pdf(1, subject="known prompts")
    first = await result_of(service, document, custom_prompt="Summarise")
    other = await result_of(service, document, custom_prompt="Translate")
    assert (first.job.reused_from, other.job.reused_from) == (None, None)
    again = await result_of(service, document, custom_prompt="Translate")
    async with asyncio.timeout(LIMIT):  # results are noted a moment after the job has ended
        while again.job.reused_from is None:
            again = await result_of(service, document, custom_prompt="Translate")
    assert again.prompt_output == other.prompt_output


async def test_the_key_stays_in_the_workers_main_process(
    equipped: Equipped, service: S3DocumentService
) -> None:
    await result_of(service, text_pdf(), custom_prompt="Summarise")
    (worker,) = await service.workers()
    process = psutil.Process(worker.pid)
    assert process.environ()["DOCNATS_LLM_API_KEY"] == KEY  # else this would prove nothing
    children = process.children(recursive=True)
    assert children
    for child in children:
        assert KEY not in str(child.environ())
    assert equipped.stack.home is not None
    kept = [path for path in equipped.stack.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in kept)
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
    for job in await service.jobs():
        assert KEY not in job.model_dump_json()


def test_a_blocking_call_chooses_too(
    equipped: Equipped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from docnats.notebook import close_session

    for name, value in equipped.stack.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    try:
        jobs = docnats.submit_many(
            tmp_path, processor="wordcount", options={"top": 1}, progress="none"
        )
        counts = jobs.docnats.document().parts["word_counts.json"]
        assert json.loads(counts) == {"1": 4}
        done = docnats.process_pdf_with_s3_sync(
            tmp_path / "a.pdf", custom_prompt="Summarise", processor="pypdfium2"
        )
        assert done.prompt_output
    finally:
        close_session()


def test_the_command_line_chooses_too(
    equipped: Equipped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in equipped.stack.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "a.pdf").write_bytes(text_pdf())
    command = [sys.executable, "-m", "docnats", "submit", str(tmp_path), "--json", "--force"]
    how = ["--processor", "wordcount", "--option", "top=1", "--option", "ignore_case=no"]
    done = subprocess.run(
        [*command, *how], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "done")
    for wrong, message in [
        (["--option", "speed=1"], "speed: there is no such option"),
        (["--option", "top=[1"], "top: "),
    ]:
        done = subprocess.run(
            [*command, *wrong], capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.returncode == 2
        assert message in done.stderr
