"""Prompts about documents: in pieces that fit, combined to one answer, recorded and settled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docnats.errors import ErrorType, PromptError
from docnats.llm import Chat
from docnats.models import JobRecord, JobState
from docnats.names import result_part
from docnats.parsing import read_texts
from docnats.worker.job import Job
from docnats.worker.prompts import answer, pieces
from tests.language_model import KEY, LanguageModel, language_model
from tests.unit.test_job import JOB, ScriptedPool, World
from tests.waiting import until

PROMPT = "Which {planets} are named?"
PAGE = "Saturn has rings. " * 60


@pytest.fixture
def model() -> Iterator[LanguageModel]:
    with language_model() as model:
        yield model


async def answered(model: LanguageModel, *pages: str, **config: Any) -> dict[str, Any]:
    async with Chat(model.config(**config)) as chat:
        return await answer(chat, PROMPT, pages)


async def test_a_text_that_fits_is_asked_about_once(model: LanguageModel) -> None:
    found = await answered(model, "Saturn", "Mars", input_price=2.0, output_price=10.0)
    ((instructions, text),) = model.asked
    assert text == "Saturn\n\nMars"
    assert PROMPT in instructions
    assert found == {
        "prompt_output": "12 characters",
        "prompt": {
            "model": "tiny",
            "parts": 1,
            "requests": 1,
            "input_tokens": 100,
            "output_tokens": 10,
            "truncated": 0,
            "cost": 0.0003,
        },
    }


async def test_where_the_server_counts_no_tokens_no_cost_is_known(model: LanguageModel) -> None:
    model.counts_tokens = False
    found = await answered(model, "Saturn", input_price=2.0, output_price=10.0)
    assert (found["prompt"]["requests"], found["prompt"]["input_tokens"]) == (1, 0)
    assert found["prompt"]["cost"] is None


async def test_a_long_text_is_asked_about_in_pieces_and_the_answers_are_combined(
    model: LanguageModel,
) -> None:
    model.answer = lambda instructions, text: (
        "Saturn and Mars" if "answers that were given" in instructions else text[:6]
    )
    found = await answered(model, *[PAGE] * 7, "Mars", context_size=1792, answer_size=512)
    room = 3 * (1792 - 512 - 256) - len(PROMPT)
    *parts, (last, texts) = model.asked
    assert len(parts) == found["prompt"]["parts"] == 4
    assert all(len(text.encode()) <= room for _, text in model.asked)
    assert sorted(text.count("Saturn") for _, text in parts) == [60, 120, 120, 120]
    assert {f"Part {n} of 4" in "".join(i for i, _ in parts) for n in range(1, 5)} == {True}
    assert texts == "Saturn\n\nSaturn\n\nSaturn\n\nSaturn"
    assert PROMPT in last
    assert found["prompt_output"] == "Saturn and Mars"
    assert (found["prompt"]["requests"], found["prompt"]["input_tokens"]) == (5, 500)
    assert found["prompt"]["cost"] is None


async def test_answers_too_long_to_be_combined_at_once_are_combined_in_rounds(
    model: LanguageModel,
) -> None:
    model.answer = lambda instructions, text: text[: len(text) // 3]
    found = await answered(model, *[PAGE] * 20, context_size=1792, answer_size=512)
    assert found["prompt"]["parts"] == 10
    assert found["prompt"]["requests"] == len(model.requests) == 10 + 3 + 1


async def test_answers_that_do_not_get_shorter_are_given_up(model: LanguageModel) -> None:
    model.answer = lambda instructions, text: text
    with pytest.raises(PromptError, match="too long to be combined: ask for shorter ones"):
        await answered(model, *[PAGE] * 4, context_size=1792, answer_size=512)


async def test_not_more_is_asked_at_a_time_than_is_allowed(model: LanguageModel) -> None:
    model.faults.extend([(0, "")] * 2)  # these two hang, so no other may be begun
    async with Chat(
        model.config(context_size=1792, answer_size=512, max_requests=2, request_timeout=60)
    ) as chat:
        asking = asyncio.create_task(answer(chat, PROMPT, [PAGE] * 8))
        await until(lambda: len(model.requests) >= 2)
        assert chat._slots.locked()
        model.released.set()
        await asking
    assert len(model.requests) == 4 + 1 + 2  # the two that were cut off were made again


@pytest.mark.parametrize(
    ("texts", "prompt", "message"),
    [
        ((), PROMPT, "has no text"),
        (("text",), "x" * 20_000, "takes more than three quarters of the context of 8,192 tokens"),
    ],
)
async def test_what_cannot_be_asked_is_said_without_asking(
    texts: tuple[str, ...], prompt: str, message: str, model: LanguageModel
) -> None:
    async with Chat(model.config()) as chat:
        with pytest.raises(PromptError, match=message) as caught:
            await answer(chat, prompt, texts)
    assert not caught.value.transient
    assert model.requests == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.integers(8, 60))
def test_pieces_hold_all_words_in_order_and_fit(texts: list[str], room: int) -> None:
    found = list(pieces(texts, room))
    assert all(0 < len(piece.encode()) <= room for piece in found)
    assert "".join("".join(found).split()) == "".join("".join(texts).split())


class TextPool(ScriptedPool):
    """A parser pool that also reads the text back of what it did."""

    async def run(
        self, function: Callable[..., Any], *args: Any, timeout: float, memory: int = 0
    ) -> Any:
        if function is read_texts:
            return ["Saturn has rings"]
        return await super().run(function, *args, timeout=timeout, memory=memory)


class Prompted(World):
    """A job with a prompt, on a worker with a language model."""

    def __init__(self, **message: Any) -> None:
        super().__init__(TextPool(), custom_prompt=PROMPT, **message)

    async def run(self, model: LanguageModel, **config: Any) -> JobRecord:
        await self.submit()
        async with Chat(model.config(**config)) as chat:
            await self.finish(chat)
        return self.record

    def finish(self, chat: Chat) -> Awaitable[None]:
        async def work() -> None:
            await Job(await self.pull(), replace(self.tools(), chat=chat)).work()

        return work()

    async def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            await self.storage.get_bytes(result_part(JOB, "document.json"))
        )
        return found


async def test_the_answer_is_in_the_result(model: LanguageModel) -> None:
    world = Prompted()
    record = await world.run(model)
    assert (record.state, record.error) == (JobState.DONE, None)
    document = await world.document()
    assert (document["custom_prompt"], document["prompt_output"]) == (PROMPT, "16 characters")
    assert document["prompt"]["model"] == "tiny"
    assert document["timings"].keys() >= {"parse_seconds", "prompt_seconds"}
    assert KEY not in json.dumps(document)


async def test_a_passing_fault_hands_the_job_back(model: LanguageModel) -> None:
    model.faults.extend([(503, "busy")] * 3)
    world = Prompted()
    record = await world.run(model)
    assert (record.state, record.releases) == (JobState.QUEUED, 1)
    assert record.error_type is ErrorType.PROMPT
    assert "HTTP 503: busy; tried again in 2 s" in str(record.error)
    assert world.queued


async def test_a_refusal_fails_the_job(model: LanguageModel) -> None:
    model.faults.append((401, f"incorrect key {KEY}"))
    record = await Prompted().run(model)
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.PROMPT)
    assert "Check DOCNATS_LLM_API_KEY on the workers" in str(record.error)
    assert KEY not in record.model_dump_json()


async def test_the_time_limit_of_the_job_holds_for_its_prompt_too(model: LanguageModel) -> None:
    model.faults.append((0, ""))
    record = await Prompted(processing_timeout=0.5).run(model)
    assert (record.state, record.error_type) == (JobState.FAILED, ErrorType.TIMEOUT)
    assert record.error == "not done within its limit of 0.5 s"


async def test_the_lease_is_kept_while_the_model_thinks(model: LanguageModel) -> None:
    model.faults.append((0, ""))
    world = Prompted()
    await world.submit()
    async with Chat(model.config(request_timeout=60)) as chat:
        tools = replace(world.tools(), chat=chat, lease_seconds=0.3)
        lease = await world.pull()
        renewed: list[int] = []
        renew = lease.renew

        async def count() -> None:
            renewed.append(len(model.requests))
            if len(renewed) == 3:
                model.released.set()
            await renew()

        lease.renew = count  # type: ignore[method-assign]
        await Job(lease, tools).work()
    assert renewed[2] == 1  # while the first request was not answered
    assert world.record.state is JobState.DONE
