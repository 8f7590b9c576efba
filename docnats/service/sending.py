"""Tells of a submission's documents, one by one: metrics, and a trace of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from docnats.models import JobRecord, JobState
from docnats.telemetry import ClientObserver, Kind, Span, Tracing

__all__ = ["SendingReport"]


@dataclass(frozen=True, slots=True)
class _Upload:
    began: float
    span: Span


class SendingReport:
    """What there is to tell while documents are uploaded and queued.

    Each document has a trace of its own, unless the code that submits it is traced: then they
    are all a part of that.

    Parameters
    ----------
    observer : ClientObserver
        Counts.
    tracing : Tracing
        Makes spans; from where this is made.
    """

    def __init__(self, observer: ClientObserver, tracing: Tracing) -> None:
        self._observer = observer
        self._tracing = tracing
        self._here = tracing.here()
        self._documents: dict[str, Span] = {}

    def begin(self, record: JobRecord) -> _Upload:
        """Take in that a document is to be uploaded."""
        attributes = {"docnats.batch": record.batch, "docnats.job_id": record.job_id}
        span = self._tracing.start("docnats.submit", attributes, parent=self._here)
        self._documents[record.job_id] = span
        return _Upload(time.perf_counter(), self._tracing.start("docnats.upload", parent=span))

    def end(self, upload: _Upload, record: JobRecord, *, in_place: bool) -> None:
        """Take in how that ended.

        Parameters
        ----------
        in_place : bool
            The document was in storage already.
        """
        upload.span.end()
        if record.state is JobState.FAILED:
            self._observer.upload_failed(record.error_type or "")
            span = self._documents.pop(record.job_id)
            span.fail(record.error_type or "", record.error or "")
            span.end()
        elif not in_place:
            self._observer.uploaded(time.perf_counter() - upload.began, record.bytes or 0)

    def reused(self, jobs: int) -> None:
        """Take in that documents were answered from earlier results."""
        self._observer.reused(jobs)

    @contextmanager
    def publishing(self, records: Sequence[JobRecord]) -> Iterator[Mapping[str, Mapping[str, str]]]:
        """Take in that jobs are put on the queue; yield the headers of their messages."""
        documents = {record.job_id: self._documents.pop(record.job_id) for record in records}
        spans = {
            job_id: self._tracing.start("docnats.publish", kind=Kind.PRODUCER, parent=span)
            for job_id, span in documents.items()
        }
        try:
            yield {job_id: headers for job_id, span in spans.items() if (headers := span.headers)}
        except Exception as error:
            for span in spans.values():
                span.fail(type(error).__name__, str(error))
            raise
        finally:
            for span in (*spans.values(), *documents.values()):
                span.end()
        self._observer.queued(len(records))
