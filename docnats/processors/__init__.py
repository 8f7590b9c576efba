"""What documents can be put through: the processors that come along, and those of plugins.

Nothing here loads a parser: a :class:`Processor` only names the function that parser processes
call.
"""

from docnats.processors.processor import PdfOptions, Processor, ProcessorOptions, package_version
from docnats.processors.registry import (
    DEFAULT,
    GROUP,
    find_processor,
    known,
    offered,
    result_version,
)

__all__ = [
    "DEFAULT",
    "GROUP",
    "PdfOptions",
    "Processor",
    "ProcessorOptions",
    "find_processor",
    "known",
    "offered",
    "package_version",
    "result_version",
]
