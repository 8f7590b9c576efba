"""The NATS names of one namespace: subjects, streams, consumers, buckets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from docnats.names.keys import ARCHIVE_PREFIX, ARCHIVE_TABLE
from docnats.names.tokens import token, valid_token

__all__ = ["PRIORITY", "SIGNERS", "Names"]

PRIORITY = "normal"
"""The one priority in use; its place in the subject lets others have their own consumer."""

SIGNERS = "signers"
"""The queue group of those who sign fresh URLs: each request goes to one of them."""

_STATES = re.compile(r"KV_docnats-(.+)-states")


@dataclass(frozen=True, slots=True)
class Names:
    """The NATS names of one namespace.

    Methods that take a batch, a job id or a worker raise a ``ConfigError`` when it is not
    :func:`valid_token`, so that none can reach another's subjects.

    Examples
    --------
    >>> Names("default").job_subject("b1", "j1")
    'docnats.default.jobs.normal.b1.j1'
    """

    namespace: str

    @property
    def jobs_stream(self) -> str:
        """The work-queue stream of control messages."""
        return f"docnats-{self.namespace}-jobs"

    @property
    def jobs_filter(self) -> str:
        """The subjects the jobs stream takes in."""
        return f"docnats.{self.namespace}.jobs.>"

    def priority_filter(self, priority: str = PRIORITY) -> str:
        """Return the subjects of one priority's consumer."""
        return f"docnats.{self.namespace}.jobs.{priority}.>"

    def consumer(self, priority: str = PRIORITY) -> str:
        """Return the durable consumer that all workers of one priority share."""
        return f"workers-{priority}"

    def job_subject(self, batch: str, job_id: str) -> str:
        """Return the subject of one job's control message."""
        return f"docnats.{self.namespace}.jobs.{PRIORITY}.{token(batch)}.{token(job_id)}"

    def batch_jobs_filter(self, batch: str) -> str:
        """Return the subjects of a batch's control messages."""
        return f"docnats.{self.namespace}.jobs.{PRIORITY}.{token(batch)}.*"

    def addressee(self, subject: str) -> tuple[str, str] | None:
        """Return the (batch, job_id) that the subject of a control message names, if it does."""
        prefix, _, rest = subject.partition(f"docnats.{self.namespace}.jobs.")
        match rest.split("."):
            case [_, batch, job_id] if not prefix and valid_token(batch) and valid_token(job_id):
                return batch, job_id
        return None

    @property
    def dead_letters_stream(self) -> str:
        """The stream of messages that no worker could take."""
        return f"docnats-{self.namespace}-dead-letters"

    @property
    def dead_letters_filter(self) -> str:
        """The subjects the dead-letter stream takes in."""
        return f"docnats.{self.namespace}.dead.>"

    def dead_letter_subject(self, kind: str, origin: str) -> str:
        """Return the subject of a dead letter; ``origin`` is a token of the message it was."""
        return f"docnats.{self.namespace}.dead.{kind}.{token(origin)}"

    @property
    def advisories_stream(self) -> str:
        """The stream that keeps word of messages that nobody will work on."""
        return f"docnats-{self.namespace}-advisories"

    @property
    def refused_subject(self) -> str:
        """The subject on which a worker says that it cannot make sense of a message."""
        return f"docnats.{self.namespace}.refused"

    @property
    def reconcilers(self) -> str:
        """The durable consumer of the advisories, shared by all who put things right."""
        return "reconcilers"

    @property
    def advisories_filters(self) -> tuple[str, ...]:
        """The server's advisory subjects for this namespace's job stream, and the workers'."""
        root = "$JS.EVENT.ADVISORY.CONSUMER"
        return (
            self.refused_subject,
            f"{root}.MAX_DELIVERIES.{self.jobs_stream}.>",
            f"{root}.MSG_TERMINATED.{self.jobs_stream}.>",
        )

    @property
    def states_bucket(self) -> str:
        """The KV bucket of job states: the job table itself."""
        return f"docnats-{self.namespace}-states"

    @property
    def workers_bucket(self) -> str:
        """The KV bucket in which live workers announce themselves."""
        return f"docnats-{self.namespace}-workers"

    @property
    def states_stream(self) -> str:
        """The stream that holds the bucket of job states."""
        return f"KV_{self.states_bucket}"

    @property
    def states_filter(self) -> str:
        """The subjects the stream of the states bucket takes in."""
        return f"$KV.{self.states_bucket}.>"

    def state_key(self, batch: str, job_id: str) -> str:
        """Return the KV key of one job's state."""
        return f"{token(batch)}.{token(job_id)}"

    def state_subject(self, batch: str, job_id: str) -> str:
        """Return the subject that stands for a job's KV key."""
        return f"$KV.{self.states_bucket}.{self.state_key(batch, job_id)}"

    def job_of(self, subject: str) -> tuple[str, str]:
        """Return the batch and job id that the subject of a message or of a state ends in."""
        batch, job_id = subject.split(".")[-2:]
        return batch, job_id

    def foreign_states(self, streams: Iterable[str]) -> dict[str, str]:
        """Return which of some streams hold other namespaces' job states, by namespace."""
        found = {match[1]: name for name in streams if (match := _STATES.fullmatch(name))}
        found.pop(self.namespace, None)
        return found

    def batch_states_filter(self, batch: str | None = None) -> str:
        """Return the subjects that stand for the KV keys of a batch, or of all."""
        return f"$KV.{self.states_bucket}.{'*' if batch is None else token(batch)}.*"

    @property
    def objects_bucket(self) -> str:
        """The bucket in the NATS Object Store, where there is no S3."""
        return f"docnats_{self.namespace}_objects"

    @property
    def archives_bucket(self) -> str:
        """The KV bucket of archived batches: one entry for each."""
        return f"docnats-{self.namespace}-archives"

    @property
    def archives_stream(self) -> str:
        """The stream that holds the bucket of archived batches."""
        return f"KV_{self.archives_bucket}"

    @property
    def archives_filter(self) -> str:
        """The subjects that stand for the keys of archived batches."""
        return f"$KV.{self.archives_bucket}.*"

    def archive_subject(self, batch: str) -> str:
        """Return the subject that stands for the KV key of an archived batch."""
        return f"$KV.{self.archives_bucket}.{token(batch)}"

    def archive_table(self, batch: str) -> str:
        """Return the S3 key of the job table of an archived batch."""
        return f"{ARCHIVE_PREFIX}{self.namespace}/{token(batch)}/{ARCHIVE_TABLE}"

    def archive_receipt(self, batch: str) -> str:
        """Return the S3 key of the receipt of an archived batch."""
        return f"{ARCHIVE_PREFIX}{self.namespace}/{token(batch)}/receipt.json"

    @property
    def workers_stream(self) -> str:
        """The stream that holds the bucket of live workers."""
        return f"KV_{self.workers_bucket}"

    @property
    def workers_filter(self) -> str:
        """The subjects the stream of the workers bucket takes in."""
        return f"$KV.{self.workers_bucket}.>"

    def worker_subject(self, worker: str) -> str:
        """Return the subject that stands for a worker's KV key."""
        return f"$KV.{self.workers_bucket}.{token(worker)}"

    @property
    def any_worker_filter(self) -> str:
        """The subjects that stand for the workers' KV keys."""
        return f"$KV.{self.workers_bucket}.*"

    @property
    def poison_bucket(self) -> str:
        """The KV bucket of what is known to kill the parser."""
        return f"docnats-{self.namespace}-poison"

    @property
    def poison_stream(self) -> str:
        """The stream that holds the bucket of poison."""
        return f"KV_{self.poison_bucket}"

    @property
    def poison_filter(self) -> str:
        """The subjects that stand for the keys of the poison bucket."""
        return f"$KV.{self.poison_bucket}.>"

    def poison_subject(self, key: str) -> str:
        """Return the subject that stands for a :func:`poison_key`."""
        return f"$KV.{self.poison_bucket}.{key}"

    def poison_key_of(self, subject: str) -> str:
        """Return the key that a subject of the poison bucket stands for."""
        return subject.removeprefix(f"$KV.{self.poison_bucket}.")

    @property
    def results_bucket(self) -> str:
        """The KV bucket of documents whose results are known."""
        return f"docnats-{self.namespace}-results"

    @property
    def results_stream(self) -> str:
        """The stream that holds the bucket of known results."""
        return f"KV_{self.results_bucket}"

    @property
    def results_filter(self) -> str:
        """The subjects that stand for the keys of known results."""
        return f"$KV.{self.results_bucket}.>"

    def result_subject(self, key: str) -> str:
        """Return the subject that stands for the key of a known result: a :func:`poison_key`."""
        return f"$KV.{self.results_bucket}.{key}"

    def results_of(self, sha256: str) -> str:
        """Return the subjects of all that is known of one document."""
        return f"$KV.{self.results_bucket}.{token(sha256)}.*"

    @property
    def sending_bucket(self) -> str:
        """The KV bucket of the batches that are being sent."""
        return f"docnats-{self.namespace}-sending"

    @property
    def sending_stream(self) -> str:
        """The stream that holds the bucket of batches being sent."""
        return f"KV_{self.sending_bucket}"

    @property
    def sending_filter(self) -> str:
        """The subjects that stand for the keys of batches being sent."""
        return f"$KV.{self.sending_bucket}.*"

    def sending_subject(self, batch: str) -> str:
        """Return the subject that stands for the key of a batch being sent."""
        return f"$KV.{self.sending_bucket}.{token(batch)}"

    @property
    def probe_subject(self) -> str:
        """The subject in the workers' stream that health checks write to; no worker's key."""
        return f"$KV.{self.workers_bucket}.health.probe"

    def progress_subject(self, batch: str, job_id: str) -> str:
        """Return the core NATS subject of one job's page progress."""
        return f"docnats.{self.namespace}.progress.{token(batch)}.{token(job_id)}"

    def batch_progress_filter(self, batch: str) -> str:
        """Return the subjects of the page progress of a batch's jobs."""
        return f"docnats.{self.namespace}.progress.{token(batch)}.*"

    def cancel_subject(self, batch: str, job_id: str) -> str:
        """Return the core NATS subject that tells workers to stop a job."""
        return f"docnats.{self.namespace}.cancel.{token(batch)}.{token(job_id)}"

    @property
    def cancels_filter(self) -> str:
        """The subjects that tell workers to stop a job."""
        return f"docnats.{self.namespace}.cancel.*.*"

    def sign_subject(self, batch: str, job_id: str) -> str:
        """Return the core NATS subject on which a worker asks for fresh URLs of a job."""
        return f"docnats.{self.namespace}.sign.{token(batch)}.{token(job_id)}"

    @property
    def signs_filter(self) -> str:
        """The subjects on which workers ask for fresh URLs."""
        return f"docnats.{self.namespace}.sign.*.*"

    def asked_for(self, subject: str) -> tuple[str, str]:
        """Return the batch and job id of a subject that asks for fresh URLs."""
        _, _, _, batch, job_id = subject.split(".")
        return token(batch), token(job_id)

    def cancelled(self, subject: str) -> tuple[str, str]:
        """Return the batch and job id of a cancel subject."""
        _, _, _, batch, job_id = subject.split(".")
        return batch, job_id
