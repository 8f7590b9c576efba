"""The benchmarks: ``python -m benchmarks`` lists them, ``python -m benchmarks NAME …`` runs one."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
COMMAND = ": ``python -m benchmarks."
"""Ends the first line of a benchmark's docstring, before its name."""


def main() -> int:
    """List the benchmarks, or become the one that is named."""
    known = benchmarks()
    match sys.argv[1:]:
        case [name, *arguments] if name in known:
            command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
            os.execv(sys.executable, command)  # noqa: S606 - ourselves
        case [] | ["-h" | "--help"]:
            print("python -m benchmarks NAME …, with --help for what each takes\n")
            for name, what in known.items():
                print(f"  {name:<14} {what}")
            return 0
    print(f"no benchmark {sys.argv[1]!r}; there are: {', '.join(known)}", file=sys.stderr)
    return 2


def benchmarks() -> dict[str, str]:
    """Return what each benchmark measures, by its name."""
    found = {}
    for file in FOLDER.glob("*.py"):
        what, command, _ = _docstring(file).partition(f"{COMMAND}{file.stem}")
        if command:
            found[file.stem] = what
    for file in FOLDER.glob("*/__main__.py"):
        found[file.parent.name] = _docstring(file.with_name("__init__.py")).partition(".\n")[0]
    return dict(sorted(found.items()))


def _docstring(file: Path) -> str:
    return f"{ast.get_docstring(ast.parse(file.read_text(encoding='utf-8')))}\n"


if __name__ == "__main__":
    sys.exit(main())
