"""A language model behind an endpoint that speaks OpenAI's protocol."""

from docnats.llm.chat import Chat, Usage

__all__ = ["Chat", "Usage"]
