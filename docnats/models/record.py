"""What all records that travel have in common: JSON in UTF-8, unknown fields ignored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Part", "Record", "utc_now"]

Part: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
"""The name of a result object; never a path that leads elsewhere."""


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


class Record(BaseModel):
    """A record that never changes, and how it goes over the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """Return the record as it goes over the wire."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a record from the wire; a ``ValueError`` says what is wrong with it."""
        return cls.model_validate_json(data)

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return self.model_copy(update=changes)
