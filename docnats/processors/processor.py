"""What a processor is: a name, a version, options, and the reader it puts documents through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from docnats.errors import ConfigError

__all__ = ["DoclingOptions", "PdfOptions", "Processor", "ProcessorOptions", "package_version"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@cache
def package_version(package: str) -> str:
    """Return the version that this process began with; looking it up takes a third of 1 ms."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


class ProcessorOptions(BaseModel):
    """The options of a processor that has none; others add fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PdfOptions(ProcessorOptions):
    """Options of processors that open PDFs.

    Parameters
    ----------
    password : str, optional
        Opens an encrypted file, and is ignored by one that needs none; kept nowhere.
    """

    password: str | None = Field(default=None, repr=False)


class DoclingOptions(PdfOptions):
    """Options of the processor ``docling``.

    Parameters
    ----------
    ocr : bool
        Read text off pictures of pages; slow.
    tables : bool
        Find the structure of tables.
    """

    ocr: bool = False
    tables: bool = True


@dataclass(frozen=True, slots=True)
class Processor:
    """One way to put a document through.

    Parameters
    ----------
    name : str
        What ``processor=`` says.
    package : str
        The installed package whose version is the processor's: a new one makes other results.
    reader : str
        The function that opens a document in a parser process, as ``package.module:function``;
        see :class:`docnats.parsing.Reader`. Its module is loaded there and nowhere else.
    options : type of ProcessorOptions
        A pydantic model of what ``options=`` may hold.
    whole : bool
        Give it each document in one piece, without the time limits of single pages. Without
        it, long documents are read in ranges, in several processes, and a page that kills one
        costs only that page.
    parts : tuple of str
        Names of further result files that its reader writes; the processor must be ``whole``.
    requires : tuple of str
        Modules without which it does not run; a worker that lacks one does not offer it.
    reads : tuple of str
        Folders that its reader needs besides Python's, of models for example: parser processes
        may read nothing else. ``~`` and ``$NAME`` are expanded on the worker. Folders that are
        not there when it starts are left out, but for those in ``~/.cache``, which are made: what
        comes there later is read, too.
    memory : int
        Bytes of address space that a document needs, models included; its process gets as much
        even where the worker's ``memory_limit`` is lower, and may keep a quarter of it.

    Examples
    --------
    >>> Processor("words", "my-package", "my_package.words:open_reader").parts
    ()
    """

    name: str
    package: str
    reader: str
    options: type[ProcessorOptions] = ProcessorOptions
    whole: bool = False
    parts: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    memory: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"{self.name!r} is no name of a processor: {_NAMES}")
        if self.parts and not self.whole:
            raise ConfigError(f"processor {self.name}: one with parts must be whole=True")
        for part in self.parts:
            if not _PART.fullmatch(part) or part in _TAKEN:
                raise ConfigError(f"processor {self.name}: {part!r} is no name of a part: {_NAMES}")

    @property
    def version(self) -> str:
        """The version of its package; empty where that is not installed."""
        return package_version(self.package)

    @property
    def runs_here(self) -> bool:
        """Whether all that it requires is installed."""
        packages = {module.partition(".")[0] for module in self.requires}
        return all(find_spec(package) is not None for package in packages)

    def check(self, options: Mapping[str, object]) -> dict[str, JsonValue]:
        """Return options as they travel: of the right types, without those that were not given.

        Raises
        ------
        ConfigError
            There is no such option, or a value does not fit; the message shows no values.
        """
        return self._model(options).model_dump(mode="json", exclude_unset=True)

    def settings(self, options: Mapping[str, object]) -> dict[str, JsonValue]:
        """Return all options as the reader gets them, defaults included."""
        return self._model(options).model_dump(mode="json")

    def _model(self, options: Mapping[str, object]) -> ProcessorOptions:
        try:
            return self.options.model_validate(dict(options))
        except ValidationError as error:
            raise ConfigError(self._what_is_wrong(error)) from None

    def _what_is_wrong(self, error: ValidationError) -> str:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = (f"{'.'.join(map(str, e['loc'])) or 'options'}: {_words(e['msg'])}" for e in found)
        names = ", ".join(self.options.model_fields) or "none"
        return f"options of the processor {self.name}: {'; '.join(wrong)}. It has: {names}"


_NAMES = "letters, digits, '_', '-' and '.', and no result file of docnats' own"
_TAKEN = frozenset({"pages.parquet", "words.parquet", "document.json", "document.pdf"})


def _words(message: str) -> str:
    if message == "Extra inputs are not permitted":
        return "there is no such option"
    return message.removeprefix("Value error, ")
