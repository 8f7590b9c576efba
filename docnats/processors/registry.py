"""Which processors there are: those that come along, and those of installed plugins."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from docnats.errors import ConfigError
from docnats.processors.processor import (
    DoclingOptions,
    PdfOptions,
    Processor,
    package_version,
)

__all__ = ["DEFAULT", "GROUP", "find_processor", "known", "offered", "result_version"]

log = logging.getLogger(__name__)

GROUP = "docnats.processors"
"""The group of entry points by which plugins are found."""

DEFAULT = "docling-parse"

_BUILT_IN = (
    Processor(DEFAULT, "docling-parse", "docnats.parsing.native:open_reader", PdfOptions),
    Processor("pypdfium2", "pypdfium2", "docnats.parsing.pdfium:open_reader", PdfOptions),
    Processor(
        "docling",
        "docling-slim",
        "docnats.parsing.docling:open_reader",
        DoclingOptions,
        whole=True,
        parts=("document.md", "docling.json"),
        requires=("docling",),
        reads=(
            "$DOCLING_ARTIFACTS_PATH",
            "$DOCLING_CACHE_DIR/models",
            "~/.cache/docling/models",
            # Not the folder around it, where the user's token is.
            "$HF_HOME/hub",
            "~/.cache/huggingface/hub",
        ),
        memory=8 << 30,  # 5.4 GB are mapped with models of a few megabytes
    ),
    Processor("noop", "docnats", "docnats.parsing.nothing:open_reader"),
)


@cache
def known() -> dict[str, Processor]:
    """Return the processors that can be named here, by name; those of plugins are loaded once.

    A plugin that cannot be loaded, or takes a name that is taken, is left out and logged.
    """
    found = {processor.name: processor for processor in _BUILT_IN}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        processor = _load(entry)
        if processor is None:
            continue
        if processor.name in found:
            log.error("%s is not used: there is a processor %r already", entry, processor.name)
            continue
        found[processor.name] = processor
    return found


def _load(entry: EntryPoint) -> Processor | None:
    try:
        processor = entry.load()
    except Exception as error:  # whatever it is, the other processors are not to blame
        log.error("the plugin %s cannot be loaded: %s: %s", entry, type(error).__name__, error)
        return None
    if not isinstance(processor, Processor) or processor.name != entry.name:
        log.error("the plugin %s is no docnats.processors.Processor of that name", entry)
        return None
    return processor


def offered() -> dict[str, Processor]:
    """Return the processors that run here, by name: what a worker offers."""
    return {name: processor for name, processor in known().items() if processor.runs_here}


def find_processor(name: str, elsewhere: Iterable[str] = ()) -> Processor:
    """Return a processor by its name.

    Parameters
    ----------
    elsewhere : iterable of str
        Those that live workers offer, for the error.

    Raises
    ------
    ConfigError
        It is not known here; the message says which are, and which live workers offer.
    """
    if name in known():
        return known()[name]
    others = sorted(set(elsewhere) - known().keys())
    told = f"there is no processor {name!r} here; known are: {', '.join(known())}"
    if name in others:
        told += ". A live worker offers it: install its package here too, so that options can be"
        told += " checked"
    elif others:
        told += f"; live workers also offer: {', '.join(others)}"
    raise ConfigError(told)


@cache
def result_version(name: str) -> str:
    """Return the version of all that makes a processor's results here: its package and docnats.

    Raises
    ------
    ConfigError
        There is no such processor here.
    """
    package = find_processor(name).package
    return " ".join(f"{part}-{package_version(part)}" for part in ("docnats", package))
