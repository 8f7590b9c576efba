"""The few fields of a PDF's XMP packet that people ask for, as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

__all__ = ["read_metadata"]

MAX_PACKET = 4_000_000
"""Characters; packets are a few thousand, longer ones hold thumbnails or an edit history."""

MAX_VALUE = 2_000
"""Characters kept of one value."""

_DC = "{http://purl.org/dc/elements/1.1/}"
_PDF = "{http://ns.adobe.com/pdf/1.3/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_END = "</rdf:RDF>"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"

# XMP specification part 1 (ISO 16684-1), namespaces dc, pdf and xmp.
_FIELDS = {
    f"{_DC}title": "title",
    f"{_DC}creator": "author",
    f"{_DC}description": "subject",
    f"{_DC}language": "language",
    f"{_PDF}Keywords": "keywords",
    f"{_PDF}Producer": "producer",
    f"{_XMP}CreatorTool": "creator",
    f"{_XMP}CreateDate": "created",
    f"{_XMP}ModifyDate": "modified",
}


def read_metadata(packet: object) -> dict[str, str]:
    """Return title, author and the like from an XMP packet.

    Parameters
    ----------
    packet : str or None
        The packet; anything that is no well-formed XMP gives an empty result, because
        metadata is never a reason to lose a document.
    """
    if not isinstance(packet, str) or len(packet) > MAX_PACKET:
        return {}
    start, end = packet.find("<rdf:RDF"), packet.rfind(_END)
    if start < 0 or end < 0:
        return {}
    try:
        root = ET.fromstring(packet[start:end] + _END)  # noqa: S314 - no DTD is left, so no entities
    except (ET.ParseError, ValueError):
        return {}
    found: dict[str, str] = {}
    for name, value in _values(root):
        if value:
            found.setdefault(_FIELDS[name], value[:MAX_VALUE])
    return found


def _values(root: ET.Element) -> Iterator[tuple[str, str]]:
    for description in root.iter(f"{_RDF}Description"):
        for name, text in description.attrib.items():
            if name in _FIELDS:
                yield name, text.strip()
        for child in description:
            if child.tag in _FIELDS:
                items = [item.text or "" for item in child.findall(f"*/{_RDF}li")]
                # An alternative (rdf:Alt) lists translations, its default first.
                chosen = items[:1] if child.find(f"{_RDF}Alt") is not None else items
                yield child.tag, "; ".join(chosen or [child.text or ""]).strip()
