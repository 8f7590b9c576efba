"""Run functions in processes that may crash, hang or run out of memory."""

from docnats.pool.pool import ParserPool

__all__ = ["ParserPool"]
