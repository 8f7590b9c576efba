"""Tell what a file is that is no PDF."""

from __future__ import annotations

from pathlib import Path

from docnats.errors import ErrorType, ParseError

__all__ = ["check_is_pdf"]

_HEADER_WITHIN = 1024
"""Bytes: readers accept a header that is not at the very start (ISO 32000-1, Annex H.3)."""

_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "PostScript"),
)


def check_is_pdf(source: str) -> None:
    """Raise unless a file has the header of a PDF.

    Raises
    ------
    ParseError
        ``not_a_pdf``; the message says what the file looks like instead.
    """
    with Path(source).open("rb") as file:
        head = file.read(_HEADER_WITHIN)
    if b"%PDF" in head:
        return
    raise ParseError(ErrorType.NOT_A_PDF, f"the file is not a PDF: it {_looks(head)}")


def _looks(head: bytes) -> str:
    if not head:
        return "is empty"
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return f"looks like {name}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<html" in start or start.startswith(b"<!doctype html"):
        return "looks like HTML, perhaps an error page of a download"
    if start.startswith(b"<?xml"):
        return "looks like XML"
    printable = sum(byte >= 32 or byte in b"\t\r\n" for byte in head)
    return "looks like text" if printable == len(head) else "has no %PDF header"
