"""The example package of the documents, as if it were installed."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docnats.processors import known

__all__ = ["EXAMPLE", "installed", "write_metadata"]

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "docnats-wordcount"


def write_metadata(project: Path, site: Path) -> None:
    """Write what ``pip`` writes when it installs a project: its name, version, entry points."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    folder = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.3\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    lines: list[str] = []
    for group, points in about["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines))


@contextmanager
def installed(*paths: Path) -> Iterator[None]:
    """Let this process find packages and their metadata in some folders."""
    places = [str(path) for path in paths]
    sys.path[:0] = places
    importlib.invalidate_caches()
    known.cache_clear()
    try:
        yield
    finally:
        for place in places:
            sys.path.remove(place)
        for name, module in tuple(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(tuple(places)):
                del sys.modules[name]
        known.cache_clear()
