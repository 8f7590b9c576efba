"""Run functions in processes that may crash, hang or run out of memory."""

from docnats.pool.pool import ParserPool
from docnats.pool.slot import Spent

__all__ = ["ParserPool", "Spent"]
