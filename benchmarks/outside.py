"""Programs to compare with, each with its packages in a virtual environment of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import psutil

from benchmarks.rounds import Side

__all__ = ["Driver", "Missing", "driven", "outside", "python_with"]

SCRIPTS = Path(__file__).parent / "drivers"
INSTALL_SECONDS = 600
STOP_SECONDS = 30


class Missing(Exception):  # noqa: N818 - a reason to skip a side
    """A program to compare with is not to be had here; the message says why."""


def python_with(packages: Sequence[str]) -> Path:
    """Return a Python that has some packages; its environment is made once and kept.

    Raises
    ------
    Missing
        They cannot be installed, for example without a network.
    """
    key = "\n".join([sys.version, *packages]).encode()
    name = f"{packages[0].split('[')[0]}-{hashlib.sha256(key).hexdigest()[:8]}"
    home = platformdirs.user_cache_path("docnats") / "benchmarks" / name
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    print(f"installing {', '.join(packages)} into {home}", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    command = [python, "-m", "pip", "install", "--quiet", *packages]
    try:
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
    except subprocess.SubprocessError as error:
        shutil.rmtree(home)
        raise Missing(f"{', '.join(packages)} cannot be installed: {error}") from error
    (home / "complete").touch()
    return python


class Driver:
    """A program that does work when it is told to, over its stdin and stdout.

    Parameters
    ----------
    command : sequence
        Of a program that calls ``serve`` of ``drivers/serving.py``.

    Attributes
    ----------
    versions : dict
        Of the packages it uses.
    processes : tuple of int
        Itself, and those that work for it and are not below it.
    told : dict
        All that it said of itself when it was ready.
    """

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        try:
            self.told = self._answer()
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, str] = self.told["versions"]
        self.processes = (self._process.pid, *self.told.get("processes", ()))

    def run(self, work: object) -> dict[str, Any]:
        """Have work done; return what the program says of it."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            tail = self._log.read()[-2000:].decode(errors="replace")
            raise Missing(f"{self._process.args} ended:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the program and all that it started."""
        try:
            below = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            below = []
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, left = psutil.wait_procs(below, timeout=1)
        for process in left:
            process.kill()
        self._log.close()


@contextmanager
def driven(command: Sequence[str | Path]) -> Iterator[Driver]:
    """Start a driver, and end it."""
    driver = Driver(command)
    try:
        yield driver
    finally:
        driver.close()


@contextmanager
def outside(
    script: str, packages: Sequence[str], *arguments: object
) -> Iterator[tuple[Side, dict[str, str]]]:
    """Start a script of ``drivers/`` under a Python with some packages.

    Yields
    ------
    side : Side
    versions : dict

    Raises
    ------
    Missing
        The packages are not to be had, or it does not start.
    """
    python = python_with(packages)
    with driven([python, SCRIPTS / f"{script}.py", *map(str, arguments)]) as driver:
        yield Side(driver.run, driver.processes), driver.versions
