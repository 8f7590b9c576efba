"""How documents are to be processed: looked at before anything is uploaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from docnats.bus import Bus
from docnats.config import LlmConfig
from docnats.errors import ConfigError
from docnats.models import WorkerInfo
from docnats.processors import DEFAULT, find_processor

__all__ = ["Choice", "choose", "with_password"]

LONGEST_PROMPT = 8192
"""Characters: a prompt is in the control message and in the row of every job."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """How the documents of a submission are to be processed.

    Attributes
    ----------
    options : dict
        The processor's options; they may hold a password.
    parts : tuple of str
        The result files that the processor makes beside the usual ones.
    prompt : str or None
        What a language model is asked about each document's text.
    """

    processor: str = DEFAULT
    options: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    parts: tuple[str, ...] = ()
    prompt: str | None = None


def with_password(options: object, password: str | None = None) -> dict[str, JsonValue]:
    """Return a processor's options, with the password among them if there is one.

    Raises
    ------
    ConfigError
        They are no mapping; the message does not show what they are.
    """
    if not isinstance(options, Mapping | None):
        raise ConfigError(
            'options must map names to values, as {"password": "…"} does; '
            f"not a {type(options).__name__}"
        )
    return {**(options or {}), **({} if password is None else {"password": password})}


async def choose(
    bus: Bus, processor: str, options: Mapping[str, object], prompt: str | None = None
) -> Choice:
    """Return how to process documents, if it makes sense.

    Where workers are live and none offers the processor, the jobs will wait: a warning says so.

    Raises
    ------
    ConfigError
        There is no such processor here, or its options are wrong; or there is a prompt that
        nobody can answer.
    """
    workers = await bus.workers()
    elsewhere = {name for worker in workers for name in worker.processors}
    chosen = find_processor(processor, elsewhere)
    checked = chosen.check(with_password(options))
    if workers and processor not in elsewhere:
        log.warning(
            "no live worker offers the processor %s: the jobs are queued, and fail after ten "
            "minutes if none is started that does (live ones offer: %s)",
            processor,
            ", ".join(sorted(elsewhere)),
        )
    if prompt is not None:
        _check_prompt(prompt, workers)
    return Choice(processor, checked, chosen.parts, prompt)


def _check_prompt(prompt: str, workers: Sequence[WorkerInfo]) -> None:
    if not prompt.strip() or len(prompt) > LONGEST_PROMPT:
        raise ConfigError(
            f"custom_prompt must hold 1 to {LONGEST_PROMPT:,} characters, not only white space"
        )
    if any(worker.prompts for worker in workers):
        return
    # Workers of an embedded stack that starts just now will have this process's settings.
    if not workers and LlmConfig().configured:
        return
    who = "none of the live workers has" if workers else "no worker is known that has"
    raise ConfigError(
        f"custom_prompt cannot be answered: {who} a language model. Start a worker with "
        "DOCNATS_LLM_BASE_URL and DOCNATS_LLM_MODEL set (and docnats[llm] installed), or leave "
        "the prompt out; nothing was uploaded"
    )
