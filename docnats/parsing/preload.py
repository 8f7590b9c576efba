"""Imported by the fork server, so that the parser processes it forks start warm.

Importing this changes the process for good: do so nowhere else.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from docnats.parsing.probe import warm_up


class _NoPandas(MetaPathFinder):
    """Hides pandas from pyarrow, which else imports it at its first list: 60 MB, 0.4 s."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("parser processes do without pandas", name=fullname)
        return None


sys.meta_path.insert(0, _NoPandas())
warm_up()
gc.collect()
gc.freeze()  # what is loaded by now is never garbage: the forks need not look at it again
