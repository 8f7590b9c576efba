"""The NATS names of a bucket of the Object Store."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from docnats.errors import ConfigError

__all__ = ["ObjectNames", "valid_bucket"]

_BUCKET = re.compile(r"[A-Za-z0-9_-]{1,128}")


def valid_bucket(text: str) -> bool:
    """Tell whether a bucket in the NATS Object Store can have this name."""
    return _BUCKET.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """The NATS names of one bucket of the Object Store, as its format (ADR-20) says.

    Examples
    --------
    >>> ObjectNames("b").meta_subject("raw/1.pdf")
    '$O.b.M.cmF3LzEucGRm'
    """

    bucket: str

    @property
    def stream(self) -> str:
        """The stream that holds the bucket."""
        if not valid_bucket(self.bucket):
            raise ConfigError(
                f"{self.bucket!r}: the NATS Object Store has no bucket of such a name"
            )
        return f"OBJ_{self.bucket}"

    @property
    def chunks_filter(self) -> str:
        """The subjects of all objects' chunks."""
        return f"$O.{self.bucket}.C.>"

    @property
    def metas_filter(self) -> str:
        """The subjects of all objects' descriptions."""
        return f"$O.{self.bucket}.M.>"

    def chunks_subject(self, upload_id: str) -> str:
        """Return the subject of one object's chunks."""
        return f"$O.{self.bucket}.C.{upload_id}"

    def upload_of(self, subject: str) -> str:
        """Return which object's chunks a subject is of."""
        return subject.removeprefix(f"$O.{self.bucket}.C.")

    def meta_subject(self, name: str) -> str:
        """Return the subject of one object's description."""
        return f"$O.{self.bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    def object_of(self, subject: str) -> str | None:
        """Return which object a subject describes; None if it makes no sense."""
        encoded = subject.removeprefix(f"$O.{self.bucket}.M.")
        try:
            return base64.urlsafe_b64decode(encoded).decode()
        except ValueError:
            return None
