"""How a client shows a NATS server who it is, and has the server show the same.

nats-py reads key files itself, but one that is no such file has it read for ever or raises
errors of another library. So files are read here, each time a connection is opened: a file that
was replaced counts from then on.
"""

from __future__ import annotations

import re
import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import RawCredentials

from docnats.config import NatsConfig
from docnats.errors import BusError

__all__ = ["credentials", "needs_tls", "tls_context"]

_SEED = re.compile(r"\bSU[A-Z2-7]{56}\b")
_JWT = re.compile(r"-BEGIN NATS USER JWT-+\s+([A-Za-z0-9_.-]+)\s")

_CREDENTIALS = (
    "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n"
    "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n"
)
"""The form of a credentials file that nats-py reads; others take CRLF or blank lines too."""


def credentials(config: NatsConfig) -> dict[str, Any]:
    """Return the settings as keywords of nats-py's ``connect``.

    Raises
    ------
    BusError
        A file holds no key, or the library that signs with keys is not installed.
    """
    found: dict[str, Any] = {
        "user": config.user,
        "password": config.password.get_secret_value() if config.password else None,
        "token": config.token.get_secret_value() if config.token else None,
    }
    if config.nkey_file is not None:
        found["nkeys_seed_str"] = _seed(config.nkey_file, "NATS_NKEY")
    if config.credentials_file is not None:
        path = config.credentials_file
        jwt, seed = _JWT.search(_text(path, "NATS_CREDS")), _seed(path, "NATS_CREDS")
        if jwt is None:
            raise BusError(f"{path} (NATS_CREDS) holds no user JWT: make it with `nsc` anew")
        found["user_credentials"] = RawCredentials(_CREDENTIALS.format(jwt[1], seed))
    return found


def tls_context(config: NatsConfig) -> ssl.SSLContext | None:
    """Return what to trust, and whom to be; None for nats-py's default, the system's authorities.

    Raises
    ------
    BusError
        A file is no certificate or no key, or they do not belong together.
    """
    if config.ca_file is None and config.cert_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.cert_file is not None:
            context.load_cert_chain(config.cert_file, config.key_file)
    except (ssl.SSLError, OSError) as error:
        raise BusError(
            f"the files of NATS_CA, NATS_CERT and NATS_KEY cannot be used ({error}): they are PEM "
            "files, and the key, without a pass phrase, is that of the certificate"
        ) from error
    return context


def needs_tls(url: str, config: NatsConfig) -> bool:
    """Tell whether a server must speak TLS before it is told anything."""
    scheme = urlsplit(url).scheme
    asked_for = config.ca_file is not None or config.cert_file is not None
    return scheme == "tls" or (scheme == "nats" and asked_for)


def _seed(path: Path, variable: str) -> str:
    seed = _SEED.search(_text(path, variable))
    if seed is None:
        raise BusError(f"{path} ({variable}) holds no seed of a user's nkey, which begins with SU")
    if find_spec("nkeys") is None:
        raise BusError(f"{variable} needs a library: pip install 'docnats[nkeys]'")
    return seed[0]


def _text(path: Path, variable: str) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise BusError(f"{path} ({variable}) cannot be read: {error.strerror}") from error
