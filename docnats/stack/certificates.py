"""Certificates by which the parts of an embedded server know each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address

from docnats.models import utc_now

__all__ = ["Certificates", "new_certificates"]

YEARS = timedelta(days=3650)
"""They are made anew at every start of the server, and no clock is to end it while it runs."""

CLOCK_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM texts: an authority, and what it has signed, for servers and clients alike."""

    authority: str
    certificate: str
    key: str = field(repr=False)


def new_certificates(name: str, address: IPv4Address) -> Certificates:
    """Return new certificates of an authority of their own, which signs no others.

    Its key is forgotten at once. Who has the one key that there is, is let in.

    Parameters
    ----------
    name : str
        Of the server.
    address : IPv4Address
        Where it listens.
    """
    # Its import takes 50 ms, which only who starts a server need spend.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def signed(subject: str, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(f"{name} authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(utc_now() - CLOCK_SKEW)
            .not_valid_after(utc_now() + YEARS)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), False)
            .add_extension(x509.ExtendedKeyUsage(uses), False)
            .sign(authority_key, hashes.SHA256())
        )

    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return Certificates(
        authority=signed(f"{name} authority", authority_key.public_key(), ca=True)
        .public_bytes(pem)
        .decode(),
        certificate=signed(name, key.public_key(), ca=False).public_bytes(pem).decode(),
        key=private.decode(),
    )
