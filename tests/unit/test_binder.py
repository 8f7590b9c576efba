"""What mybinder.org will find; the rest is rehearsed by ``.ci/rehearse-binder``."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_environment_has_minio_and_the_jupyter_that_docnats_needs() -> None:
    """repo2docker's own pin of ipykernel, 7.0, would lose background updates."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["notebook"]
    needed = {name for name in extra if name.startswith(("ipykernel", "jupyterlab"))}
    needed.add("minio-server")
    lines = (ROOT / "binder" / "environment.yml").read_text().splitlines()
    assert needed <= {line.partition("#")[0].strip(" -") for line in lines}


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_executed(name: str) -> None:
    assert os.access(ROOT / "binder" / name, os.X_OK)
