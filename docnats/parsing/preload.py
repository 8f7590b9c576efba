"""Imported by the fork server, so that the parser processes it forks start warm.

Importing this changes the process for good: do so nowhere else.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from docnats.parsing.probe import warm_up


class _NoPandas(MetaPathFinder):
    """As ``sys.modules["pandas"] = None``, which pyarrow's compiled code takes for a module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("no pandas while warming up", name=fullname)
        return None


@contextmanager
def _pandas_hidden() -> Iterator[None]:
    """Have pyarrow do without pandas, which else it imports at its first list: 60 MB, 0.4 s.

    It looks only once. The readers of other processors may still import pandas.
    """
    hider = _NoPandas()
    sys.meta_path.insert(0, hider)
    try:
        yield
    finally:
        sys.meta_path.remove(hider)


with _pandas_hidden():
    warm_up()
gc.collect()
gc.freeze()  # what is loaded by now is never garbage: the forks need not look at it again
