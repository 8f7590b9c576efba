"""The package as a whole: what it exports, what importing it costs."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import docnats


def test_every_public_name_can_be_loaded_from_where_it_lives() -> None:
    for name in docnats.__all__:
        value = getattr(docnats, name)
        home = importlib.import_module(docnats._HOME_OF[name])
        assert value is getattr(home, name)


def test_the_public_names_are_exact_and_sorted() -> None:
    assert sorted(docnats.__all__) == docnats.__all__
    assert set(docnats.__all__) == set(docnats._HOME_OF)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        docnats.nothing  # noqa: B018 - the access is the test


def test_importing_docnats_pulls_in_nothing_heavy() -> None:
    heavy = {
        "pandas",
        "numpy",
        "aioboto3",
        "nats",
        "pydantic",
        "anywidget",
        "ipywidgets",
        "docling_parse",
        "pyarrow",
        "asyncio",
    }
    code = f"import sys, docnats; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("imports", ["docnats, pandas", "pandas, docnats"])
def test_frames_have_the_accessor_whatever_was_imported_first(imports: str) -> None:
    """As in a fresh kernel that reads a saved table of jobs."""
    code = f"""import {imports}
try:
    pandas.DataFrame().docnats
except docnats.DocnatsError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("not a table of docnats jobs")
