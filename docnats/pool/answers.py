"""Reads what a parser process sends, without letting it run anything in this process.

Whoever unpickles does what the pickle says. A document that has taken its parser process
over could so take over the worker, with its credentials; hence only records are made here.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import is_dataclass
from enum import Enum
from io import BytesIO
from multiprocessing import connection, reduction
from typing import Any

__all__ = ["AnswerReader"]

MAX_BYTES = 64 << 20
"""Of one answer: results are in files, so honest ones have some kilobytes."""

_PLAIN = frozenset(
    {
        ("builtins", "bytearray"),
        ("builtins", "complex"),
        ("builtins", "frozenset"),
        ("builtins", "set"),
        # What Pebble makes of an exception, to keep its traceback.
        ("pebble.common.types", "RemoteException.rebuild_exception"),
    }
)


class _Records(pickle.Unpickler):
    """Makes plain data, dataclasses, enumerations and exceptions of loaded modules."""

    def __init__(self, source: BytesIO) -> None:
        super().__init__(source)
        self._given: dict[type, dict[str, Any]] = {}

    def read(self) -> Any:
        """Return the answer; an UnpicklingError if it is none, or alters a class."""
        try:
            return self.load()
        finally:
            altered = [kind for kind, before in self._given.items() if _undo_changes(kind, before)]
            if altered:
                raise pickle.UnpicklingError(f"it alters {altered[0].__name__}")

    def find_class(self, module: str, name: str, /) -> Any:
        """Return a class that an answer may have an instance of."""
        if (module, name) == ("builtins", "getattr"):
            return _member
        # Nothing is imported, not even by a module's __getattr__: that, too, would run code.
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, "__dict__", {}).get(part)
        if (module, name) in _PLAIN:
            return found
        if _is_record(found):
            self._given.setdefault(found, dict(vars(found)))
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is neither plain data nor a record")


class AnswerReader(connection.Connection):
    """The worker's end of a pipe from a parser process."""

    def recv(self) -> Any:
        """Return the next answer.

        Raises
        ------
        PicklingError
            It is no answer; the one that Pebble expects of what it cannot read.
        EOFError, OSError
            The process has ended.
        """
        buffer = self._recv_bytes(MAX_BYTES)  # type: ignore[attr-defined]
        if buffer is None:
            raise pickle.PicklingError(f"it is longer than {MAX_BYTES >> 20} MiB")
        buffer.seek(0)
        try:
            return _Records(buffer).read()
        except Exception as error:
            raise pickle.PicklingError(str(error)) from error


def _member(kind: object, name: str) -> Enum:
    """Return a member of an enumeration; before 3.11.4, Python pickles one by ``getattr``."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[name]
    raise pickle.UnpicklingError(f"it asks for {name} of {kind!r}, which is no enumeration")


def _undo_changes(kind: type, before: dict[str, Any]) -> bool:
    """Put a class back as it was, and tell whether that was needed.

    What a pickle may set on an object, it may set on its class.
    """
    after = dict(vars(kind))
    changed = [name for name in after.keys() | before.keys() if _differ(after, before, name)]
    for name in changed:
        if name in before:
            setattr(kind, name, before[name])
        else:
            delattr(kind, name)
    return bool(changed)


def _differ(one: dict[str, Any], other: dict[str, Any], name: str) -> bool:
    nothing = object()
    return one.get(name, nothing) is not other.get(name, nothing)


def _is_record(found: object) -> bool:
    if not isinstance(found, type):
        return False
    return is_dataclass(found) or issubclass(found, Enum | Exception)


# A process gets its copies of the connections by this; there, they are ordinary ones.
reduction.register(AnswerReader, connection.reduce_connection)  # type: ignore[attr-defined]
