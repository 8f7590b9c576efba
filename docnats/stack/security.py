"""What makes SeaweedFS's own services refuse everybody else: ``security.toml`` and its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from docnats.stack.certificates import new_certificates

__all__ = ["security_files"]

_TOKENS = ("signing", "signing.read", "filer_signing", "filer_signing.read")

_AUTHORITY, _CERTIFICATE, _KEY = "authority.pem", "certificate.pem", "key.pem"
_SHOWN = f'cert = "{_CERTIFICATE}"\nkey = "{_KEY}"\n'
_CHECKED = f'ca = "{_AUTHORITY}"\n'


def security_files(
    secrets: Mapping[str, str], services: Iterable[str], host: str
) -> dict[str, str]:
    """Return the files by their name, for the folder that ``weed`` runs in.

    Whoever speaks to a service, over HTTP or gRPC, must show a certificate that is made here;
    else the services list, write and delete for anybody on this machine. Tokens, of keys in
    ``secrets``, are asked for besides. S3 has its own identities.

    Parameters
    ----------
    secrets : mapping of str to str
        Those of the home.
    services : iterable of str
        The parts of the server.
    host : str
        The address it listens on.
    """
    made = new_certificates("seaweedfs", IPv4Address(host))
    services = tuple(services)
    tables = [f'[jwt.{token}]\nkey = "{secrets[f"weed_{token}"]}"\n' for token in _TOKENS]
    tables.append(f"[grpc]\n{_CHECKED}")
    tables += [f"[grpc.{part}]\n{_SHOWN}" for part in ("client", *services)]
    # S3 itself stays with HTTP, for clients that need no certificate.
    tables += [f"[https.{part}]\n{_SHOWN}{_CHECKED}" for part in services if part != "s3"]
    tables.append(f"[https.client]\nenabled = true\n{_SHOWN}{_CHECKED}")
    tables.append("[filer.expose_directory_metadata]\nenabled = false\n")
    return {
        _AUTHORITY: made.authority,
        _CERTIFICATE: made.certificate,
        _KEY: made.key,
        "security.toml": "".join(tables),
    }
