"""What mybinder.org will find; the rest is rehearsed by ``.ci/rehearse-binder``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docnats.config.cgroups import cpu_quota

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


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset, of util-linux")
def test_a_program_sees_two_cores_at_most_unless_the_cgroup_has_a_quota() -> None:
    show = (sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": os.fspath(ROOT)}
    seen = subprocess.check_output((ROOT / "binder" / "start", *show), env=environment)
    everything = len(os.sched_getaffinity(0))
    assert int(seen) == (min(2, everything) if cpu_quota() is None else everything)
