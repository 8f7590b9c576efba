"""PDFs written byte by byte, for tests that need one of a certain kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["HTML_PAGE", "pdf_file", "pdf_stream", "text_pdf"]

HTML_PAGE = b"<!doctype html><html><body>404 not found</body></html>"


def text_pdf(
    pages: int = 1,
    *,
    lines: int = 3,
    padding: int = 0,
    bombs: Collection[int] = (),
    subject: str = "the archive",
) -> bytes:
    """Return a PDF of plain text; page ``n`` says ``Page n line m of the archive``.

    Parameters
    ----------
    lines : int
        Lines a page.
    padding : int
        Bytes of an unused stream, to make the file as large as wanted.
    bombs : collection of int
        Pages, from 1, that draw a form which draws itself: the parser takes memory until
        its process is at the limit.
    subject : str
        What the text is of.
    """
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {pages} /Kids [{kids}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    forms = f"/XObject << /X {4 + 2 * pages} 0 R >> " if bombs else ""
    for page in range(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * page} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> {forms}>> >>".encode()
        )
        text = " ".join(
            f"(Page {page + 1} line {line + 1} of {subject}) Tj 0 -14 Td" for line in range(lines)
        )
        bomb = " /X Do" if page + 1 in bombs else ""
        objects.append(pdf_stream(f"BT /F1 11 Tf 72 770 Td {text} ET{bomb}".encode()))
    if bombs:
        objects.append(_bomb(4 + 2 * pages))
    if padding:
        objects.append(pdf_stream(b"\0" * padding))
    return pdf_file(objects)


def _bomb(number: int) -> bytes:
    return (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 595 842] /Length 5 "
        b"/Resources << /XObject << /X %d 0 R >> >> >>\nstream\n/X Do\nendstream" % number
    )


def pdf_stream(content: bytes, entries: bytes = b"") -> bytes:
    """Return a stream object; ``entries`` go into its dictionary, before ``/Length``."""
    return b"<< %b/Length %d >>\nstream\n%b\nendstream" % (entries, len(content), content)


def pdf_file(objects: Iterable[bytes], entries: bytes = b"") -> bytes:
    """Return a file of the objects 1, 2, …, the first of them the catalog.

    Parameters
    ----------
    entries : bytes
        Go into the trailer; a later one of the same name wins.
    """
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<< /Size %d /Root 1 0 R%b >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(offsets) + 1,
        b" " + entries if entries else b"",
        start,
    )
    return bytes(out)
