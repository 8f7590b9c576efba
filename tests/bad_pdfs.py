"""Inputs that cannot become a ``done`` row, each with the ``error_type`` it must get."""

from __future__ import annotations

import hashlib
import re

from docnats.errors import ErrorType
from tests.pdfs import HTML_PAGE, text_pdf

__all__ = ["bad_inputs", "encrypted_pdf"]

PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
"""What passwords are filled up with (ISO 32000-1, 7.6.3.3)."""

PERMISSIONS = -4
FILE_ID = bytes(range(16))

_STREAM = re.compile(rb"(\d+) 0 obj\n<< /Length \d+ >>\nstream\n(.*?)\nendstream", re.DOTALL)


def bad_inputs() -> dict[str, tuple[bytes, ErrorType]]:
    """Return contents by file name, with the class of failure each must end in."""
    return {
        "encrypted.pdf": (encrypted_pdf("open sesame"), ErrorType.ENCRYPTED),
        "html.pdf": (HTML_PAGE, ErrorType.NOT_A_PDF),
        "empty.pdf": (b"", ErrorType.NOT_A_PDF),
        "image.pdf": (b"\x89PNG\r\n\x1a\n" + bytes(64), ErrorType.NOT_A_PDF),
        "truncated.pdf": (text_pdf(3)[:300], ErrorType.MALFORMED),
        "header-only.pdf": (b"%PDF-1.7\n", ErrorType.MALFORMED),
    }


def encrypted_pdf(password: str, *, pages: int = 1) -> bytes:
    """Return :func:`tests.pdfs.text_pdf` encrypted with RC4 (ISO 32000-1, 7.6, revision 2).

    The cipher keeps lengths, so that the streams change in place and every offset stays.
    """
    user = (password.encode() + PADDING)[:32]
    owner_entry = _rc4(_md5(user)[:5], user)
    permissions = PERMISSIONS.to_bytes(4, "little", signed=True)
    key = _md5(user + owner_entry + permissions + FILE_ID)[:5]

    def encrypt(found: re.Match[bytes]) -> bytes:
        number = int(found[1]).to_bytes(3, "little")
        content = _rc4(_md5(key + number + b"\0\0")[:10], found[2])
        return found[0].replace(found[2], content)

    entry = (
        f"/ID [<{FILE_ID.hex()}> <{FILE_ID.hex()}>] /Encrypt << /Filter /Standard /V 1 /R 2 "
        f"/O <{owner_entry.hex()}> /U <{_rc4(key, PADDING).hex()}> /P {PERMISSIONS} >>"
    )
    body, _, trailer = _STREAM.sub(encrypt, text_pdf(pages)).rpartition(b"/Root 1 0 R")
    return body + b"/Root 1 0 R " + entry.encode() + trailer


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    box = list(range(256))
    at = 0
    for i in range(256):
        at = (at + box[i] + key[i % len(key)]) % 256
        box[i], box[at] = box[at], box[i]
    out = bytearray()
    i = at = 0
    for byte in data:
        i = (i + 1) % 256
        at = (at + box[i]) % 256
        box[i], box[at] = box[at], box[i]
        out.append(byte ^ box[(box[i] + box[at]) % 256])
    return bytes(out)
