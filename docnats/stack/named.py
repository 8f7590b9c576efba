"""The servers that a stack uses instead of embedded ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from docnats.config import NatsConfig, S3Config

__all__ = ["NamedServers"]

C = TypeVar("C", S3Config, NatsConfig)


@dataclass(frozen=True, slots=True)
class NamedServers:
    """Servers given in code or by the environment; None: an embedded one takes its place."""

    s3: S3Config | None
    nats: NatsConfig | None

    @classmethod
    def find(cls, s3: S3Config | None, nats: NatsConfig | None, *, embedded: bool) -> Self:
        """Return those given, else those the environment names, unless both are embedded."""
        if embedded:
            return cls(s3, nats)
        return cls(
            s3 or _named(S3Config(), "endpoint_url", "bucket_name"),
            nats or _named(NatsConfig(), "servers"),
        )

    def are_used_by(self, s3: S3Config | None, nats: NatsConfig, embedded: Sequence[str]) -> bool:
        """Tell whether a running stack, some of whose servers are its own, uses just these."""
        same_s3 = s3 is None or (
            _same(self.s3, s3, "endpoint_url", "bucket_name") if self.s3 else "s3" in embedded
        )
        same_nats = _same(self.nats, nats, "servers") if self.nats else "nats" in embedded
        same_namespace = (self.nats or NatsConfig()).namespace == nats.namespace
        return same_s3 and same_nats and same_namespace


def _named(config: C, *fields: str) -> C | None:
    """Return a config if the environment set one of these fields, else None."""
    return config if config.model_fields_set & set(fields) else None


def _same(one: C, other: C, *fields: str) -> bool:
    return all(getattr(one, field) == getattr(other, field) for field in fields)
