"""What a submission is refused for, and warned of, before anything is uploaded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from docnats.errors import ConfigError
from docnats.models import JobRecord, JobState, WorkerInfo, utc_now
from docnats.names import part_key, result_key
from docnats.processors import result_version
from docnats.service import S3DocumentClient, S3DocumentService
from docnats.service.choice import LONGEST_PROMPT
from docnats.worker.known import ResultNotes
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage
from tests.job_table import overwrite

DOCUMENT = {"a.pdf": b"A"}
LLM = {"DOCNATS_LLM_BASE_URL": "http://127.0.0.1:9/v1", "DOCNATS_LLM_MODEL": "m"}


async def announce(
    bus: FakeBus, *processors: str, prompts: str | None = None, worker: str = "w"
) -> None:
    names = processors or ("docling-parse",)
    await bus.announce(
        WorkerInfo(
            worker=worker,
            host="h",
            pid=1,
            parsers=1,
            processors=names,
            version="1",
            versions={name: result_version(name) for name in names if name != "magic"},
            prompts=prompts,
            started_at=utc_now(),
        )
    )


async def sent(client: S3DocumentClient, **how: Any) -> JobRecord:
    batch = await client.submit(DOCUMENT, **how)
    await asyncio.gather(*client._sending)
    (job,) = await client.jobs(batch.id)
    return job


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"processor": "ocr"}, "no processor 'ocr' here; known are: docling-parse"),
        ({"processor": "magic"}, "A live worker offers it: install its package here too"),
        ({"options": {"speed": 1}}, "speed: there is no such option. It has: password"),
        ({"processor": "noop", "options": {"password": "p"}}, "It has: none"),
        ({"options": "password"}, "options must map names to values, .* not a str"),
        ({"custom_prompt": "Summarise"}, "none of the live workers has a language model"),
        ({"custom_prompt": "  "}, "custom_prompt must hold 1 to 8,192 characters"),
        ({"custom_prompt": "x" * (LONGEST_PROMPT + 1)}, "custom_prompt must hold 1 to"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_anything_is_uploaded(
    client: S3DocumentClient,
    bus: FakeBus,
    storage: FakeStorage,
    how: dict[str, Any],
    message: str,
) -> None:
    await announce(bus, "docling-parse", "magic")
    with pytest.raises(ConfigError, match=message):
        await client.submit(DOCUMENT, **how)
    with pytest.raises(ConfigError, match=message):
        await client.process_document("a.pdf", **how)
    assert (bus.records, storage.buckets) == ({}, {storage.bucket: {}})


async def test_a_canary_is_refused_for_the_same_reasons(
    service: S3DocumentService, bus: FakeBus
) -> None:
    await announce(bus)
    with pytest.raises(ConfigError, match="no processor 'ocr'"):
        await service.canary(DOCUMENT, processor="ocr")
    with pytest.raises(ConfigError, match="no such option"):
        await service.canary(DOCUMENT, options={"n": 1})


async def test_what_was_chosen_is_in_message_and_row(
    client: S3DocumentClient, bus: FakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    await announce(bus, "docling-parse", "docling", prompts="m")
    how = {"processor": "docling", "options": {"ocr": "yes", "password": "p"}}
    job = await sent(client, **how, custom_prompt="Summarise")
    assert (job.processor, job.options) == ("docling", {"ocr": True})
    assert (job.custom_prompt, job.parts) == ("Summarise", ("document.md", "docling.json"))
    message = bus.queue[job.batch, job.job_id].message
    assert (message.processor, message.custom_prompt) == ("docling", "Summarise")
    assert message.options == {"ocr": True, "password": "p"}
    assert "no live worker" not in caplog.text


async def test_a_processor_that_no_live_worker_offers_is_queued_with_a_warning(
    client: S3DocumentClient, bus: FakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await sent(client, processor="noop")).state is JobState.QUEUED
    assert caplog.text == ""  # of nobody is it known what they offer
    await announce(bus)
    assert (await sent(client, processor="noop")).state is JobState.QUEUED
    assert "no live worker offers the processor noop: the jobs are queued" in caplog.text
    assert "live ones offer: docling-parse" in caplog.text


async def test_a_retry_asks_the_same_of_the_same_processor(
    client: S3DocumentClient, bus: FakeBus
) -> None:
    await announce(bus, "pypdfium2", prompts="m")
    job = await sent(client, processor="pypdfium2", custom_prompt="Summarise")
    await overwrite(bus, [job.but(state=JobState.FAILED)])
    again = await client.retry([job])
    await asyncio.gather(*client._sending)
    (record,) = again.table.records()
    message = bus.queue[again.id, record.job_id].message
    assert (message.processor, message.custom_prompt) == ("pypdfium2", "Summarise")
    assert (record.processor, record.custom_prompt) == ("pypdfium2", "Summarise")


async def test_a_prompt_without_any_worker_is_refused_unless_this_process_has_a_model(
    client: S3DocumentClient, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no worker is known that has a language model"):
        await client.submit(DOCUMENT, custom_prompt="Summarise")
    for name, value in LLM.items():
        monkeypatch.setenv(name, value)
    assert (await sent(client, custom_prompt="Summarise")).state is JobState.QUEUED
    await announce(bus)  # a worker of another's, without one
    with pytest.raises(ConfigError, match="none of the live workers has a language model"):
        await client.submit(DOCUMENT, custom_prompt="Summarise")


async def done(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage, model: str, **how: Any
) -> JobRecord:
    """Submit a document and let it end as a worker does."""
    job = await sent(client, **how)
    message = bus.queue.pop((job.batch, job.job_id)).message
    key = result_key(job.job_id)
    for part in ("pages.parquet", "words.parquet", "document.json"):
        await storage.put_bytes(part_key(key, part), b"result")
    job = job.but(state=JobState.DONE, pages=3, pages_failed=0, result_key=key)
    await overwrite(bus, [job])
    notes = ResultNotes(bus, model)
    notes.add(message, job)
    await notes.flush()
    return job


async def test_a_known_result_is_given_for_the_same_prompt_and_model_only(
    client: S3DocumentClient,
    bus: FakeBus,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCNATS_REUSE_RESULTS", "true")
    client.config = client.config.but(reuse_results=True)
    await announce(bus, prompts="m")
    first = await done(client, bus, storage, "m", custom_prompt="Summarise")
    assert (await sent(client, custom_prompt="Summarise")).reused_from == first.job_id
    assert (await sent(client, custom_prompt="Translate")).reused_from is None
    assert (await sent(client)).reused_from is None
    await announce(bus, prompts="other", worker="v")  # either might answer
    assert (await sent(client, custom_prompt="Summarise")).reused_from is None
    await bus.withdraw("w")
    assert (await sent(client, custom_prompt="Summarise")).reused_from is None
    await bus.withdraw("v")  # workers that start here would ask this process's model
    monkeypatch.setenv("DOCNATS_LLM_BASE_URL", LLM["DOCNATS_LLM_BASE_URL"])
    monkeypatch.setenv("DOCNATS_LLM_MODEL", "m")
    assert (await sent(client, custom_prompt="Summarise")).reused_from == first.job_id


async def test_a_known_result_counts_where_all_who_offer_the_processor_are_alike(
    client: S3DocumentClient, bus: FakeBus, storage: FakeStorage
) -> None:
    client.config = client.config.but(reuse_results=True)
    await announce(bus, "pypdfium2")
    await announce(bus, "docling-parse", worker="v")
    first = await done(client, bus, storage, "m", processor="pypdfium2")
    again = await sent(client, processor="pypdfium2")
    assert (again.reused_from, again.state) == (first.job_id, JobState.DONE)
