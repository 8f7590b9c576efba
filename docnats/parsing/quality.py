"""How much of a page's text is text: a score against silent garbage."""

from __future__ import annotations

import re

__all__ = ["text_quality"]

_GLYPH = "(?:g|G|c|C|cid|glyph|uni|u)[0-9A-Fa-f]{1,6}"

# One pattern each, and most with a literal first character: that is five times as fast as
# one pattern for all.
_GARBAGE = (
    # No characters: control codes, noncharacters, U+FFFD, private use.
    re.compile(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd-\uffff\U000f0000-\U0010ffff]+"
    ),
    # Names of glyphs instead of characters, a whole word of them: "/g12/g7"; "(cid:31)".
    re.compile(rf"/(?<!\S/){_GLYPH}(?:/{_GLYPH})*(?!\S)"),
    re.compile(r"\(cid:\d+\)"),
    re.compile(r"GLYPH<[^>\n]{0,100}>"),
)

_LONG_NUMBER = re.compile(r"\d{10,}")
_ASCII_CODES = re.compile(r"(?:3[2-9]|[4-9]\d|1[01]\d|12[0-6])+")
"""Decimal codes of characters in a row: "While" as 87104105108101."""


def text_quality(text: str) -> float | None:
    """Score the text of one page.

    The score is ``1 - garbage / all``, counted in characters that are not white space.
    Garbage are U+FFFD, private-use, control and non-characters, names of glyphs such as
    ``/g12`` or ``(cid:31)``, and numbers of ten or more digits that read as decimal ASCII
    codes. Some fonts do not say which characters their glyphs are; no parser can tell.

    Returns
    -------
    float or None
        0 (nothing but garbage) to 1 (none found); None for a page without text.

    Examples
    --------
    >>> text_quality("While")
    1.0
    >>> text_quality("87104105108101")
    0.0
    """
    total = len("".join(text.split()))
    if not total:
        return None
    garbage = sum(len(found) for pattern in _GARBAGE for found in pattern.findall(text))
    numbers = _LONG_NUMBER.findall(text)
    garbage += sum(len(number) for number in numbers if _ASCII_CODES.fullmatch(number))
    return max(0.0, 1.0 - garbage / total)
