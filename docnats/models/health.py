"""How an installation is, part by part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

__all__ = ["Health", "PartHealth"]


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part of the installation: ``seconds`` its check took, what it says."""

    name: str
    healthy: bool
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """The whole installation at one moment."""

    parts: tuple[PartHealth, ...]

    @property
    def healthy(self) -> bool:
        """Whether every part is."""
        return all(part.healthy for part in self.parts)

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it."""
        rows = "".join(
            f"<tr><td>{'✓' if part.healthy else '✗'}</td><th>{part.name}</th>"
            f"<td>{1000 * part.seconds:.0f} ms</td>"
            f'<td style="text-align:left">{escape(part.detail)}</td></tr>'
            for part in self.parts
        )
        return f"<table>{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {"healthy": self.healthy, "parts": [asdict(part) for part in self.parts]}
