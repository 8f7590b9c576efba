"""Settings of the control bus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from docnats.config.settings import Settings, existing_file, is_url

__all__ = ["NatsConfig"]

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NatsConfig(Settings):
    """Where the control bus is and how docnats uses it.

    Parameters
    ----------
    servers : tuple of str
        One or more URLs; a comma-separated string is split. A ``user:password@`` or
        ``token@`` in a URL moves into the fields below. Environment ``NATS_URL``.
    user, password, token : str, optional
        How to log in: ``user`` and ``password``, or ``token``; environment
        ``NATS_USER``, ``NATS_PASSWORD``, ``NATS_TOKEN``.
    nkey_file : Path, optional
        A file with the seed of a user's nkey; environment ``NATS_NKEY``. This and
        ``credentials_file`` need ``docnats[nkeys]``.
    credentials_file : Path, optional
        A ``.creds`` file, with a user's JWT and seed; environment ``NATS_CREDS``.
    ca_file : Path, optional
        PEM file of a private certificate authority, by default the system's; environment
        ``NATS_CA``.
    cert_file, key_file : Path, optional
        PEM files of this client's own certificate and its key, for mutual TLS; environment
        ``NATS_CERT`` and ``NATS_KEY``. With one of these three, or with ``tls://`` in a URL, a
        server that does not speak TLS is told nothing.
    inbox_prefix : str
        Where answers come; one of its own for each role keeps others from listening to them.
        Environment ``NATS_INBOX_PREFIX``.
    namespace : str
        Separates installations on one cluster; environment ``DOCNATS_NAMESPACE``.
    replicas : {1, 3, 5}
        Copies of every stream and bucket, on as many servers; environment ``DOCNATS_REPLICAS``.
    connect_timeout : float
        Seconds to wait for a connection.
    request_timeout : float
        Seconds to wait for the answer to a request.
    ack_wait : float
        Seconds a lease lasts without renewal; environment ``DOCNATS_ACK_WAIT``.
    max_deliver : int
        Workers that may die, stall or be cut off over one job before it is given up.
    max_ack_pending : int
        Jobs leased at a time, over all workers.

    Examples
    --------
    >>> NatsConfig(servers="nats://ann:pw@nats.example.org:4222")
    NatsConfig(servers=('nats://nats.example.org:4222',), namespace='default')
    """

    secret_fields = frozenset({"password", "token", "servers"})
    credential_fields = ("user", "password", "token", "nkey_file", "credentials_file")

    servers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("nats://127.0.0.1:4222",), validation_alias=AliasChoices("NATS_URL")
    )
    user: str | None = Field(None, validation_alias=AliasChoices("NATS_USER"), repr=False)
    password: SecretStr | None = Field(
        None, validation_alias=AliasChoices("NATS_PASSWORD"), repr=False
    )
    token: SecretStr | None = Field(None, validation_alias=AliasChoices("NATS_TOKEN"), repr=False)
    nkey_file: Path | None = Field(None, validation_alias=AliasChoices("NATS_NKEY"), repr=False)
    credentials_file: Path | None = Field(
        None, validation_alias=AliasChoices("NATS_CREDS"), repr=False
    )
    ca_file: Path | None = Field(None, validation_alias=AliasChoices("NATS_CA"), repr=False)
    cert_file: Path | None = Field(None, validation_alias=AliasChoices("NATS_CERT"), repr=False)
    key_file: Path | None = Field(None, validation_alias=AliasChoices("NATS_KEY"), repr=False)
    inbox_prefix: str = Field(
        "_INBOX", validation_alias=AliasChoices("NATS_INBOX_PREFIX"), repr=False
    )
    namespace: str = Field("default", validation_alias=AliasChoices("DOCNATS_NAMESPACE"))
    replicas: int = Field(1, validation_alias=AliasChoices("DOCNATS_REPLICAS"), repr=False)
    connect_timeout: float = Field(10, gt=0, le=600, repr=False)
    request_timeout: float = Field(20, gt=0, le=600, repr=False)
    ack_wait: float = Field(
        30, ge=1, le=3600, validation_alias=AliasChoices("DOCNATS_ACK_WAIT"), repr=False
    )
    max_deliver: int = Field(5, ge=1, le=100, repr=False)
    max_ack_pending: int = Field(10_000, ge=1, le=1_000_000, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out_of_urls(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Keep URLs fit to be shown; credentials in a URL given by keyword win."""
        # Keys that are fields' names came by keyword, the others from the environment.
        key = "servers" if "servers" in values else "NATS_URL"
        if key not in values:
            return values
        servers, found = _split_servers(values[key])
        variables = cls.variables()
        names = [name for f in cls.credential_fields for name in (f, *variables[f])]
        if found and (key == "servers" or all(values.get(name) is None for name in names)):
            values = {name: value for name, value in values.items() if name not in names}
            values |= found
        return {**values, key: servers}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.password and not self.user:
            raise ValueError("password needs user: give both, or neither")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file: give both, or a cert_file that holds both")
        return self

    @field_validator("replicas")
    @classmethod
    def _check_replicas(cls, value: int) -> int:
        if value not in (1, 3, 5):
            raise ValueError("must be 1, 3 or 5")
        return value

    @field_validator("namespace")
    @classmethod
    def _check_namespace(cls, value: str) -> str:
        if not _TOKEN.fullmatch(value):
            raise ValueError("must be 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")
        return value

    @field_validator("inbox_prefix")
    @classmethod
    def _check_inbox_prefix(cls, value: str) -> str:
        if not all(map(_TOKEN.fullmatch, value.split("."))):
            raise ValueError("must be words of A-Z, a-z, 0-9, '_' and '-' with dots between them")
        return value

    @field_validator("nkey_file", "credentials_file", "ca_file", "cert_file", "key_file")
    @classmethod
    def _check_files(cls, value: Path | None) -> Path | None:
        return existing_file(value)


def _split_servers(given: object) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return URLs without their credentials, and those by the names of their fields."""
    urls = list(filter(str.strip, given.split(","))) if isinstance(given, str) else given
    if not isinstance(urls, list | tuple) or not urls:
        raise ValueError(_NO_SERVERS)
    credentials: dict[str, str] = {}
    return tuple(_bare_url(url, credentials) for url in urls), credentials


def _bare_url(given: object, credentials: dict[str, str]) -> str:
    text = given.strip() if isinstance(given, str) else ""
    url = text if "://" in text else f"nats://{text}"
    if not is_url(url, "nats", "tls", "ws", "wss"):
        raise ValueError(_NO_SERVERS)
    parts = urlsplit(url)
    if parts.password is not None:
        credentials["user"] = unquote(parts.username or "")
        credentials["password"] = unquote(parts.password)
    elif parts.username:
        credentials["token"] = unquote(parts.username)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_NO_SERVERS = (
    "servers must be URLs such as nats://host:4222 or nats://user:password@host:4222, with the "
    "special characters of a password percent-encoded (environment: NATS_URL)"
)
