"""What the other buckets keep: live workers and senders, known documents."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from docnats.errors import ErrorType
from docnats.models.record import Part, Record

__all__ = ["KnownResult", "Poison", "SenderInfo", "WorkerInfo"]


class WorkerInfo(Record):
    """A live worker's entry in the registry.

    Attributes
    ----------
    versions : dict
        Of what makes results, by processor: others may make other ones.
    prompts : str or None
        The language model that answers prompts there; None where there is none.
    """

    worker: str
    host: str
    pid: int
    parsers: int
    processors: tuple[str, ...]
    jobs: tuple[str, ...] = ()
    version: str
    versions: dict[str, str] = Field(default_factory=dict)
    prompts: str | None = None
    started_at: AwareDatetime

    def can_do(self, processor: str, *, prompt: bool) -> bool:
        """Tell whether it can put a document through a processor, and answer a prompt."""
        return processor in self.processors and (self.prompts is not None or not prompt)


class SenderInfo(Record):
    """A process that sends a batch: its entry in the registry for as long as it does.

    Attributes
    ----------
    machine : str
        Tells apart machines, boots and containers; equal only where process ids mean the same.
    born : str
        When the process was started, in whatever its machine counts; empty if not known.
    suspected : bool
        Somebody missed its signs of life; the next one makes it good.
    """

    batch: str
    host: str
    pid: int
    machine: str = ""
    born: str = ""
    suspected: bool = False
    started_at: AwareDatetime


class Poison(Record):
    """What is known of a document that killed the parser, whatever was tried.

    Attributes
    ----------
    job_id, batch, filename : str
        The job that found out.
    processing_timeout : float
        Seconds that job had; one with more may still succeed.
    memory_limit : int
        Bytes that a parser process had there.
    """

    error_type: ErrorType
    error: str
    job_id: str
    batch: str
    filename: str
    processing_timeout: float
    memory_limit: int
    seen_at: AwareDatetime


class KnownResult(Record):
    """The result that a document is known to have; only a cache of the job table.

    Attributes
    ----------
    job_id, batch : str
        The job that made it.
    s3_bucket, s3_key : str
        Where its document is.
    result_key : str
        S3 prefix of the result objects.
    parts : tuple of str
        Those there are beside the usual ones.
    """

    job_id: str
    batch: str
    s3_bucket: str
    s3_key: str
    result_key: str
    parts: tuple[Part, ...] = ()
    bytes: int
    pages: int
