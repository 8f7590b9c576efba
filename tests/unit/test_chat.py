"""Asking a language model, over real HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from docnats.config import LlmConfig
from docnats.errors import ConfigError, PromptError
from docnats.llm import Chat, Usage, chat
from tests.language_model import KEY, LanguageModel, language_model


@pytest.fixture
def model() -> Iterator[LanguageModel]:
    with language_model() as model:
        yield model


async def ask(model: LanguageModel, **config: Any) -> tuple[str, Usage]:
    async with Chat(model.config(**config)) as talk:
        return await talk.ask("Summarise", "a text")


async def refused(model: LanguageModel, **config: Any) -> PromptError:
    with pytest.raises(PromptError) as caught:
        await ask(model, **config)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None  # a cause holds the request, and that the key
    return caught.value


async def test_the_answer_comes_with_what_it_took(model: LanguageModel) -> None:
    assert await ask(model) == ("6 characters", Usage(1, 100, 10))
    assert model.requests[0]["model"] == "tiny"
    assert model.asked == [("Summarise", "a text")]
    assert model.authorizations == [f"Bearer {KEY}"]


async def test_a_server_without_keys_is_not_sent_one_of_the_environment(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    await ask(model, api_key=None)
    assert model.authorizations == ["Bearer none"]


async def test_an_answer_that_was_cut_off_is_counted(model: LanguageModel) -> None:
    model.finish_reason = "length"
    assert (await ask(model))[1].truncated == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_pass_is_asked_again(model: LanguageModel, status: int) -> None:
    model.faults.extend([(status, "busy")] * 2)
    assert (await ask(model))[0] == "6 characters"
    assert len(model.requests) == 3


@pytest.mark.parametrize("status", [429, 500])
async def test_what_does_not_pass_soon_is_left_to_the_queue(
    model: LanguageModel, status: int
) -> None:
    model.faults.extend([(status, f"busy, {KEY}")] * 9)
    error = await refused(model)
    assert error.transient
    assert f"tiny at {model.url} answered with HTTP {status}" in str(error)
    assert "busy, ***" in str(error)
    assert len(model.requests) == 3


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "lower DOCNATS_LLM_CONTEXT_SIZE"),
        (401, "Check DOCNATS_LLM_API_KEY"),
        (403, "Check DOCNATS_LLM_API_KEY"),
        (404, "Check DOCNATS_LLM_BASE_URL and DOCNATS_LLM_MODEL"),
        (422, ""),
    ],
)
async def test_what_is_wrong_is_wrong_at_once_and_says_what_to_do(
    model: LanguageModel, status: int, advice: str
) -> None:
    model.faults.append((status, f"incorrect key {KEY}"))
    error = await refused(model)
    assert not error.transient
    assert f"HTTP {status}" in str(error)
    assert advice in str(error)
    assert len(model.requests) == 1


async def test_a_server_that_does_not_answer_in_time_is_asked_again(model: LanguageModel) -> None:
    model.faults.append((0, ""))
    assert (await ask(model, request_timeout=0.3))[0] == "6 characters"
    model.faults.extend([(0, "")] * 9)
    error = await refused(model, request_timeout=0.1, max_attempts=2)
    assert error.transient
    assert "did not answer within 0.1 s" in str(error)
    assert len(model.requests) == 4


async def test_a_server_that_is_not_there_may_come_back() -> None:
    with language_model() as gone:
        pass
    error = await refused(gone, max_attempts=1)
    assert error.transient
    assert "cannot be reached" in str(error)


async def test_an_answer_without_text_is_an_error(model: LanguageModel) -> None:
    model.answer = lambda *_: None  # type: ignore[assignment, return-value]
    error = await refused(model)
    assert "the answer holds no text" in str(error)


async def test_the_key_is_in_no_log_at_any_level(
    model: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    model.faults.append((401, f"incorrect key {KEY}"))
    with caplog.at_level(logging.DEBUG):
        await refused(model)
        await ask(model)
        logging.getLogger("docnats").warning("config: %r", model.config())
    assert "tiny" in caplog.text
    assert KEY not in caplog.text


def test_the_key_is_in_no_repr() -> None:
    config = LlmConfig(base_url="http://127.0.0.1:1/v1", model="tiny", api_key=KEY)
    assert KEY not in f"{config!r} {config} {config.model_dump()} {Chat(config)!r}"


def test_without_the_extra_the_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'docnats\[llm\]'"):
        Chat(LlmConfig(base_url="http://127.0.0.1:1/v1", model="tiny"))
