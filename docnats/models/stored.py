"""Objects as every store tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["StoredObject", "UnfinishedUpload"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object, as far as the call that returned it knows it.

    Attributes
    ----------
    size : int
        Bytes.
    sha256 : str or None
        Hexadecimal, of the bytes that were sent or received; None in S3's listings.
    modified : datetime or None
        When it was last written, in UTC; None when the store did not say.
    """

    key: str
    size: int
    sha256: str | None = None
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload in parts that was begun and neither completed nor aborted.

    Attributes
    ----------
    upload_id : str
        Names it together with the key; there may be several of one key.
    size : int
        Bytes of the parts that have arrived: stored, paid for and not listed as an object.
    begun : datetime
        UTC; where the store does not know it, when the last part arrived.
    """

    key: str
    upload_id: str
    size: int
    begun: datetime
