"""What happens that is worth counting. These classes do nothing with it, at next to no cost."""

from __future__ import annotations

from collections.abc import Iterable

from docnats.models import JobRecord

__all__ = ["ClientObserver", "WorkerObserver"]


class WorkerObserver:
    """Told by a worker what becomes of its jobs; :class:`WorkerMetrics` counts it."""

    def leased(self, attempt: int) -> None:
        """Take in a delivery: of 1 for the first one of a job, more for each that came again."""

    def started(self, record: JobRecord) -> None:
        """Take in that a job begins, for the first time or again."""

    def downloaded(self, seconds: float, size: int) -> None:
        """Take in that a document came from storage."""

    def uploaded(self, seconds: float, sizes: Iterable[int]) -> None:
        """Take in that a job's results went to storage; ``sizes`` is counted only if wanted."""

    def transfer_failed(self, direction: str) -> None:
        """Take in that a ``download`` or an ``upload`` failed."""

    def parsed(self, seconds: float, pages: int, pages_failed: int) -> None:
        """Take in that a document was parsed, the wait for a parser included."""

    def ended(self, record: JobRecord) -> None:
        """Take in that a job has ended here."""

    def handed_back(self, reason: str) -> None:
        """Take in that a job went back to the queue: an error type, or ``stopped``."""

    def parser_replaced(self, reason: str) -> None:
        """Take in that a parser process gave place to another one."""


class ClientObserver:
    """Told by a client what becomes of its documents; :class:`ClientMetrics` counts it."""

    def uploaded(self, seconds: float, size: int) -> None:
        """Take in that a document went to storage."""

    def upload_failed(self, error_type: str) -> None:
        """Take in that a document did not."""

    def queued(self, jobs: int) -> None:
        """Take in that jobs are on the queue."""

    def reused(self, jobs: int) -> None:
        """Take in that documents were answered from earlier results."""

    def ended(self, record: JobRecord) -> None:
        """Take in that a job of a batch that this client sent and follows has ended."""
