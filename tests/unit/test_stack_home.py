"""The files of a stack's directory: private, whole, and never misread."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from docnats.errors import StackError
from docnats.stack.binaries import S3Backend
from docnats.stack.home import Home, RunningStack

RUNNING = RunningStack(host="here", socket="/run/x", embedded=["s3"], s3={"k": "v"}, nats={})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "parent" / "home")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_and_files_are_for_their_owner_only(home: Home) -> None:
    home.secrets()
    home.set_running(RUNNING)
    home.set_backend(S3Backend.MINIO)
    assert home.lock() is not None
    home.unlock()
    for path in (home.path, *home.path.rglob("*")):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_secrets_are_made_once_and_differ_between_homes(home: Home, tmp_path: Path) -> None:
    assert home.secrets() == Home(home.path).secrets()
    other = Home(tmp_path / "other").secrets()
    same = {name for name, secret in home.secrets().items() if other[name] == secret}
    assert same == {"nats_user"}


def test_secrets_that_a_newer_version_needs_are_added(home: Home) -> None:
    home.write(home.path / "secrets.json", '{"nats_password": "kept"}')
    assert home.secrets()["nats_password"] == "kept"  # noqa: S105 - of nobody
    assert home.secrets()["s3_secret_key"]


def test_only_one_holds_the_lock(home: Home) -> None:
    other = Home(home.path)
    assert home.lock() is not None
    assert other.lock() is None
    home.unlock()
    assert other.lock() is not None
    other.unlock()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"host": "h"}', '{"version": 9}'])
def test_a_damaged_or_foreign_stack_file_is_as_good_as_none(home: Home, text: str) -> None:
    (home.path / "stack.json").write_text(text)
    assert home.running() is None
    home.clear_away()
    home.set_running(RUNNING)
    assert home.running() == RUNNING


def test_clearing_away_removes_only_directories_of_its_own(home: Home, tmp_path: Path) -> None:
    for name, remains in (("docnats-abc", False), ("precious", True)):
        directory = tmp_path / name
        directory.mkdir()
        home.set_running(RunningStack("here", f"{directory}/control.sock", [], {}, {}))
        home.clear_away()
        assert directory.exists() is remains
        assert home.running() is None


def test_the_backend_is_remembered_once_it_has_data(home: Home) -> None:
    home.set_backend(S3Backend.MINIO)
    assert home.backend() is None
    (home.s3 / "data" / "bucket").mkdir(parents=True)
    assert home.backend() is S3Backend.MINIO


def test_data_of_an_unknown_backend_is_left_alone(home: Home) -> None:
    (home.s3 / "data" / "bucket").mkdir(parents=True)
    (home.s3 / "backend").write_text("cephalopod")
    with pytest.raises(StackError, match="cephalopod"):
        home.backend()


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"file.*cannot be used.*DOCNATS_HOME"):
        Home(tmp_path / "file" / "home")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StackError, match="cannot be used"):
        Home(tmp_path / "home")


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))(10**12, 10**12 - 10**9, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StackError, match=r"is full.*953 MiB"):
        Home(tmp_path / "home")
