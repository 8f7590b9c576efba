"""Asks the model one thing at a time; retries what may pass; counts tokens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self

from docnats.config import LlmConfig
from docnats.errors import ConfigError, PromptError

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

__all__ = ["Chat", "Usage"]

_NO_KEY = "none"
"""What servers without keys are sent: the library wants one, and would look for its own."""

_TOLD = 300
"""Characters kept of what a server says about an error."""

_LATER = frozenset({408, 409, 425, 429})
"""HTTP status codes below 500 after which the same request may go well."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What some requests took.

    Attributes
    ----------
    requests : int
        Those that were answered.
    input_tokens, output_tokens : int
        As the server counted them; 0 where it does not.
    truncated : int
        Answers that ended at a limit of the server.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    truncated: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.truncated + other.truncated,
        )


class Chat:
    """A model that answers; an async context manager.

    Parameters
    ----------
    config : LlmConfig
        Where it is; it must be configured.

    Raises
    ------
    ConfigError
        The extra is not installed.
    """

    def __init__(self, config: LlmConfig) -> None:
        if find_spec("openai") is None:
            raise ConfigError(
                "DOCNATS_LLM_BASE_URL is set, but the package openai is not installed: "
                "pip install 'docnats[llm]'"
            )
        self.config = config
        self._client: AsyncOpenAI | None = None
        self._slots = asyncio.Semaphore(config.max_requests)

    async def __aenter__(self) -> Self:
        from openai import AsyncOpenAI  # a second of imports, only where prompts are answered

        key = self.config.api_key.get_secret_value() if self.config.api_key else _NO_KEY
        self._client = AsyncOpenAI(
            api_key=key,
            base_url=self.config.base_url,
            timeout=self.config.request_timeout,
            max_retries=self.config.max_attempts - 1,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def ask(self, instructions: str, text: str) -> tuple[str, Usage]:
        """Return the model's answer, and what it took.

        Raises
        ------
        PromptError
            There is none; ``transient`` after time-outs, lost connections, HTTP 429 and 5xx,
            which were tried again with growing pauses before.
        """
        from openai import APIError

        assert self._client is not None  # noqa: S101 - it was entered
        async with self._slots:
            try:
                answer = await self._client.chat.completions.create(
                    model=self.config.model or "",
                    messages=[
                        {"role": "system", "content": instructions},
                        {"role": "user", "content": text},
                    ],
                )
            except APIError as error:
                raise self._wrapped(error) from None  # its request holds the key
        if not answer.choices or answer.choices[0].message.content is None:
            raise PromptError(f"{self._where}: the answer holds no text")
        choice, used = answer.choices[0], answer.usage
        usage = Usage(
            requests=1,
            input_tokens=used.prompt_tokens if used else 0,
            output_tokens=used.completion_tokens if used else 0,
            truncated=int(choice.finish_reason == "length"),
        )
        return choice.message.content or "", usage

    @property
    def _where(self) -> str:
        return f"the language model {self.config.model} at {self.config.base_url}"

    def _wrapped(self, error: APIError) -> PromptError:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(error, APITimeoutError):
            limit = f"{self.config.request_timeout:g} s"
            return PromptError(f"{self._where} did not answer within {limit}", transient=True)
        if isinstance(error, APIConnectionError):
            return PromptError(f"{self._where} cannot be reached", transient=True)
        if isinstance(error, APIStatusError):
            status = error.status_code
            told = (
                f"{self._where} answered with HTTP {status}: {self._said(error)}{_advice(status)}"
            )
            return PromptError(told, transient=status in _LATER or status >= 500)
        return PromptError(f"{self._where} gave an answer that makes no sense: {self._said(error)}")

    def _said(self, error: APIError) -> str:
        """Return what the server said, without the key: some repeat it."""
        body = error.body if isinstance(error.body, dict) else {}
        said = " ".join(str(body.get("message") or error.message).split())
        if self.config.api_key:
            said = said.replace(self.config.api_key.get_secret_value(), "***")
        return said[:_TOLD]


def _advice(status: int) -> str:
    match status:
        case 400 | 413:
            return ". If the text is too long for it, lower DOCNATS_LLM_CONTEXT_SIZE on the workers"
        case 401 | 403:
            return ". Check DOCNATS_LLM_API_KEY on the workers"
        case 404:
            return ". Check DOCNATS_LLM_BASE_URL and DOCNATS_LLM_MODEL on the workers"
    return ""
