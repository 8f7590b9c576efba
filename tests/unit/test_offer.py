"""Jobs that a worker cannot do: passed on, without a mark against them, and not for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from docnats.bus.schema import HAND_BACKS
from docnats.errors import ErrorType
from docnats.models import JobRecord, JobState, WorkerInfo, utc_now
from docnats.worker.job import Job
from docnats.worker.offer import lacking, waiting
from docnats.worker.retries import PATIENT_RETRIES, RETRIES
from tests.unit.test_job import JOB, World

LACK = "the processor magic"


def other(processor: str = "magic", prompts: str | None = None) -> WorkerInfo:
    return WorkerInfo(
        worker="other",
        host="h",
        pid=1,
        parsers=1,
        processors=(processor,),
        version="1",
        prompts=prompts,
        started_at=utc_now(),
    )


@pytest.fixture
def world() -> World:
    return World(processor="magic")


async def passed_on(world: World, attempt: int) -> JobRecord:
    record = JobRecord.of(world.message)
    return await waiting(record, world.message, LACK, attempt, world.tools())


async def test_a_job_for_another_processor_is_passed_on_unbegun(world: World) -> None:
    await world.submit(processor="magic")
    await (await world.lease()).work()
    record = world.record
    assert (record.state, record.attempt, record.releases) == (JobState.QUEUED, 0, 0)
    assert record.error_type is ErrorType.PROCESSOR
    assert record.error == "waits for a worker that offers the processor magic"
    assert world.queued
    assert world.pool.calls == []
    assert await world.bus.pull(1, 0.1) == []  # not at once


async def test_its_row_is_left_to_a_sender_that_is_not_done_with_it(world: World) -> None:
    await world.submit(JobState.UPLOADING, processor="magic")
    await (await world.lease()).work()
    assert (world.record.state, world.record.error) == (JobState.UPLOADING, None)
    assert world.queued


async def test_a_worker_that_offers_it_lacks_nothing_and_begins_with_a_clean_row(
    world: World,
) -> None:
    await world.submit(processor="magic", error_type="processor", error="waits")
    tools = world.tools()
    able = replace(tools, processors={"magic": tools.processors["noop"]})
    assert lacking(world.message, tools) == LACK
    await Job(await world.pull(), able).work()
    assert (world.record.state, world.record.error_type, world.record.error) == (
        JobState.DONE,
        None,
        None,
    )


async def test_after_ten_minutes_without_one_that_offers_it_the_job_fails(world: World) -> None:
    assert (await passed_on(world, RETRIES)).state is JobState.QUEUED
    failed = await passed_on(world, RETRIES + 1)
    assert (failed.state, failed.error_type) == (JobState.FAILED, ErrorType.PROCESSOR)
    assert (
        failed.error == "no live worker offers the processor magic; it was waited for ten minutes"
    )


async def test_while_a_live_worker_offers_it_the_job_waits_for_six_hours(world: World) -> None:
    await world.bus.announce(other())
    assert (await passed_on(world, PATIENT_RETRIES)).state is JobState.QUEUED
    failed = await passed_on(world, PATIENT_RETRIES + 1)
    assert failed.state is JobState.FAILED
    assert "did not come to it" in str(failed.error)


def test_the_queue_allows_more_deliveries_than_a_job_is_passed_on() -> None:
    assert PATIENT_RETRIES + RETRIES < HAND_BACKS


async def test_a_job_that_fails_so_is_settled(world: World) -> None:
    await world.submit()
    world.bus.queue["b", JOB].attempt = RETRIES
    await (await world.lease()).work()
    assert (world.record.state, world.record.error_type) == (
        JobState.FAILED,
        ErrorType.PROCESSOR,
    )
    assert not world.queued


async def test_a_prompt_is_left_to_a_worker_with_a_language_model() -> None:
    world = World(custom_prompt="Summarise")
    await world.submit()
    await (await world.lease()).work()
    assert world.record.error == "waits for a worker that offers a language model for its prompt"
    await world.bus.announce(other("docling-parse"))
    lack = lacking(world.message, world.tools())
    assert lack is not None
    late = RETRIES + 1
    record = await waiting(world.record, world.message, lack, late, world.tools())
    assert record.state is JobState.FAILED
    await world.bus.announce(other("docling-parse", prompts="m"))
    record = await waiting(world.record, world.message, lack, late, world.tools())
    assert record.state is JobState.QUEUED


async def test_options_that_do_not_fit_here_fail_the_job() -> None:
    """Another program may have sent it, or a client of another version."""
    world = World(options={"speed": 11})
    await world.submit()
    record = await world.work()
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.PROCESSOR)
    assert "speed: there is no such option" in str(record.error)
