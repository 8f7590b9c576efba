"""Settings of the language model that answers prompts."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator

from docnats.config.settings import Settings, is_url

__all__ = ["LlmConfig"]


class LlmConfig(Settings):
    """Where the prompts of jobs are answered; read by workers.

    Parameters
    ----------
    base_url : str, optional
        An endpoint that speaks OpenAI's protocol, up to ``/v1``; without it no prompts are
        answered. Environment ``DOCNATS_LLM_BASE_URL``.
    model : str, optional
        Its name there; environment ``DOCNATS_LLM_MODEL``.
    api_key : SecretStr, optional
        What the endpoint wants to know of us; environment ``DOCNATS_LLM_API_KEY``.
    context_size : int
        Tokens that prompt, text and answer may have together; environment
        ``DOCNATS_LLM_CONTEXT_SIZE``.
    answer_size : int
        Tokens of it that are left to the answer; environment ``DOCNATS_LLM_ANSWER_SIZE``.
    input_price, output_price : float, optional
        Of a million tokens, to record what a prompt cost; environment
        ``DOCNATS_LLM_INPUT_PRICE`` and ``DOCNATS_LLM_OUTPUT_PRICE``.
    request_timeout : float
        Seconds one request may take.
    max_attempts : int
        Times that a request is made before the job is handed back to the queue.
    max_requests : int
        Requests at a time, of one worker.

    Examples
    --------
    >>> LlmConfig(base_url="http://127.0.0.1:11434/v1", model="llama3.2").context_size
    8192
    """

    secret_fields = frozenset({"api_key", "base_url"})

    base_url: str | None = Field(None, validation_alias=AliasChoices("DOCNATS_LLM_BASE_URL"))
    model: str | None = Field(None, validation_alias=AliasChoices("DOCNATS_LLM_MODEL"))
    api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("DOCNATS_LLM_API_KEY"), repr=False
    )
    context_size: int = Field(
        8192, ge=1024, le=100_000_000, validation_alias=AliasChoices("DOCNATS_LLM_CONTEXT_SIZE")
    )
    answer_size: int = Field(
        1024, ge=64, le=10_000_000, validation_alias=AliasChoices("DOCNATS_LLM_ANSWER_SIZE")
    )
    input_price: float | None = Field(
        None, ge=0, le=1e9, validation_alias=AliasChoices("DOCNATS_LLM_INPUT_PRICE")
    )
    output_price: float | None = Field(
        None, ge=0, le=1e9, validation_alias=AliasChoices("DOCNATS_LLM_OUTPUT_PRICE")
    )
    request_timeout: float = Field(
        120, gt=0, le=24 * 3600, validation_alias=AliasChoices("DOCNATS_LLM_TIMEOUT")
    )
    max_attempts: int = Field(4, ge=1, le=20, validation_alias=AliasChoices("DOCNATS_LLM_ATTEMPTS"))
    max_requests: int = Field(
        4, ge=1, le=256, validation_alias=AliasChoices("DOCNATS_LLM_MAX_REQUESTS")
    )

    @property
    def configured(self) -> bool:
        """Whether there is a model."""
        return self.base_url is not None

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None and (
            not is_url(value, "http", "https") or "@" in urlsplit(value).netloc
        ):
            raise ValueError(
                "must be a URL such as https://host/v1; the key belongs into DOCNATS_LLM_API_KEY"
            )
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if bool(self.base_url) != bool(self.model):
            raise ValueError(
                "DOCNATS_LLM_BASE_URL and DOCNATS_LLM_MODEL belong together: give both, or neither"
            )
        if 2 * self.answer_size > self.context_size:
            raise ValueError("DOCNATS_LLM_ANSWER_SIZE must be at most half the context size")
        return self
