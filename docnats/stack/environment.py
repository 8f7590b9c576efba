"""Settings as environment variables: for workers, for other shells, for ``stack.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import chain
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from docnats.config import NatsConfig, S3Config

__all__ = [
    "bare_environment",
    "nats_from",
    "nats_variables",
    "s3_from",
    "s3_variables",
    "storage_variables",
    "worker_environment",
]

_OF_PYTHON = ("DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TZ")
"""What an interpreter may need to start."""

_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")

USE_S3 = "USE_S3_STORAGE"


def storage_variables(s3: S3Config | None) -> dict[str, str]:
    """Return the variables that tell where documents are; None: in the NATS Object Store."""
    return {USE_S3: "false"} if s3 is None else s3_variables(s3)


def bare_environment() -> dict[str, str]:
    """Return what of this process's environment is for a program that needs no credentials."""
    return {name: os.environ[name] for name in _OF_PYTHON if name in os.environ}


def s3_variables(config: S3Config) -> dict[str, str]:
    """Return the variables that make this config."""
    return _variables(config)


def nats_variables(config: NatsConfig) -> dict[str, str]:
    """Return the variables that make this config; the URL holds user, password or token."""
    found = _variables(config)
    secrets = [found.pop(f"NATS_{part}", "") for part in ("USER", "PASSWORD", "TOKEN")]
    user, password, token = (quote(secret, safe="") for secret in secrets)
    login = f"{user}:{password}@" if password else f"{token}@" if token else ""
    found["NATS_URL"] = ",".join(url.replace("://", f"://{login}") for url in config.servers)
    return found


def s3_from(variables: Mapping[str, str]) -> S3Config:
    """Return the config that :func:`s3_variables` told of, whatever the environment says."""
    return S3Config(**_fields(S3Config, variables))


def nats_from(variables: Mapping[str, str]) -> NatsConfig:
    """Return the config that :func:`nats_variables` told of, whatever the environment says."""
    return NatsConfig(**_fields(NatsConfig, variables))


def worker_environment(s3: S3Config | None, nats: NatsConfig) -> dict[str, str]:
    """Return this process's environment with the variables of these configs only."""
    ours = storage_variables(s3) | nats_variables(nats)
    names = (*S3Config.variables().values(), *NatsConfig.variables().values())
    replaced = {USE_S3, *chain.from_iterable(names)}
    if s3 is None or s3.aws_access_key_id:
        replaced.update(_PROFILES)
    if s3 is None:  # buckets of the Object Store then
        replaced.discard("S3_READ_BUCKETS")
    inherited = {name: value for name, value in os.environ.items() if name not in replaced}
    return inherited | ours


def _variables(config: S3Config | NatsConfig) -> dict[str, str]:
    values = {alias: getattr(config, name) for name, alias in _aliases(type(config)).items()}
    return {alias: _text(value) for alias, value in values.items() if value not in (None, ())}


def _fields(kind: type[S3Config | NatsConfig], variables: Mapping[str, str]) -> dict[str, Any]:
    defaults = {name: kind.model_fields[name].default for name in _aliases(kind)}
    given = {name: variables[alias] for name, alias in _aliases(kind).items() if alias in variables}
    return defaults | given


def _aliases(kind: type[S3Config | NatsConfig]) -> dict[str, str]:
    """Return the first environment variable of every field that has one."""
    return {field: names[0] for field, names in kind.variables().items()}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
