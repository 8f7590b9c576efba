"""Every S3 key, NATS subject, stream, consumer and bucket name docnats uses.

No other module spells one out. A *namespace* separates independent installations on
one NATS cluster; a *batch* is one submission; a *job* is one document.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from docnats.errors import ConfigError

__all__ = [
    "ARCHIVE_PREFIX",
    "ARCHIVE_TABLE",
    "DOCUMENT",
    "PAGES",
    "PRIORITY",
    "PROBE_PREFIX",
    "RAW_PREFIX",
    "RESULT_PARTS",
    "RESULT_PREFIX",
    "SIGNERS",
    "WORDS",
    "Names",
    "ObjectNames",
    "archived_batch",
    "kept_in_nats",
    "known_key",
    "new_batch_id",
    "new_canary_id",
    "new_job_id",
    "new_upload_id",
    "new_watcher",
    "owner",
    "part_key",
    "poison_key",
    "probe_key",
    "raw_key",
    "result_key",
    "result_part",
    "valid_bucket",
    "valid_token",
    "where",
]

RAW_PREFIX = "raw/"
RESULT_PREFIX = "processed/"
PROBE_PREFIX = "health/"
ARCHIVE_PREFIX = "batches/"
PAGES = "pages.parquet"
WORDS = "words.parquet"
DOCUMENT = "document.json"
RESULT_PARTS = (PAGES, WORDS, DOCUMENT)
ARCHIVE_TABLE = "jobs.parquet"

PRIORITY = "normal"
"""The one priority in use; its place in the subject lets others have their own consumer."""

SIGNERS = "signers"
"""The queue group of those who sign fresh URLs: each request goes to one of them."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BUCKET = re.compile(r"[A-Za-z0-9_-]{1,128}")
_UPLOAD = re.compile(rf"{RAW_PREFIX}({_TOKEN.pattern})\.pdf")
_RESULT = re.compile(rf"{RESULT_PREFIX}({_TOKEN.pattern})/")
_ARCHIVE = re.compile(rf"{ARCHIVE_PREFIX}({_TOKEN.pattern})/({_TOKEN.pattern})/{ARCHIVE_TABLE}")
_OBJECTS = re.compile(rf"docnats_({_TOKEN.pattern})_objects")
_STATES = re.compile(r"KV_docnats-(.+)-states")


def raw_key(request_id: str) -> str:
    """Return the S3 key of an uploaded document."""
    return f"{RAW_PREFIX}{request_id}.pdf"


def result_key(request_id: str) -> str:
    """Return the S3 prefix under which a job's result objects are."""
    return f"{RESULT_PREFIX}{request_id}/"


def result_part(request_id: str, part: str) -> str:
    """Return the S3 key of one result object, for example of ``words.parquet``."""
    return f"{result_key(request_id)}{part}"


def part_key(result_key: str, part: str) -> str:
    """Return the S3 key of one result object of those under a job record's ``result_key``."""
    return f"{result_key}{part}"


def probe_key() -> str:
    """Return a fresh S3 key for a health check's put, get and delete."""
    return f"{PROBE_PREFIX}{uuid.uuid4().hex}"


def owner(key: str) -> str | None:
    """Return the id of the job that an S3 key was made for; None for a key of another kind."""
    found = _UPLOAD.fullmatch(key) or _RESULT.match(key)
    return found[1] if found else None


def archived_batch(key: str) -> tuple[str, str] | None:
    """Return the namespace and the batch of an archive's table; None for another S3 key."""
    found = _ARCHIVE.fullmatch(key)
    return (found[1], found[2]) if found else None


def kept_in_nats(bucket: str) -> bool:
    """Tell whether a bucket is one of docnats' own in the NATS Object Store.

    No bucket in S3 is taken for one: those have no ``_`` in their names.
    """
    return _OBJECTS.fullmatch(bucket) is not None


def where(bucket: str, key: str) -> str:
    """Return in words where an object is, for people.

    Examples
    --------
    >>> where("documents", "raw/1.pdf"), where("docnats_default_objects", "raw/1.pdf")
    ('s3://documents/raw/1.pdf', 'nats://docnats_default_objects/raw/1.pdf')
    """
    return f"{'nats' if kept_in_nats(bucket) else 's3'}://{bucket}/{key}"


def new_upload_id() -> str:
    """Return a fresh name for the chunks of one object in the NATS Object Store."""
    return uuid.uuid4().hex


def new_job_id() -> str:
    """Return a fresh job id: 32 hexadecimal digits; it is also the ``request_id``."""
    return uuid.uuid4().hex


def new_batch_id() -> str:
    """Return a fresh batch id that sorts by time, for example ``20260131-094500-3f9a1c``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_canary_id() -> str:
    """Return a fresh id of a batch that is processed to tell how others will go."""
    return f"canary-{new_batch_id()}"


def poison_key(sha256: str, processor: str, version: str, options: Mapping[str, object]) -> str:
    """Return the KV key of what is known of a document, put through one processor in one way."""
    return known_key(sha256, processor, version, options, None)


def known_key(
    sha256: str,
    processor: str,
    version: str,
    options: Mapping[str, object],
    prompt: tuple[str, str | None] | None,
) -> str:
    """Return the KV key of a document's known result; a prompt comes with its model's name."""
    how: list[object] = [processor, version, options]
    if prompt is not None:
        how.append(prompt)
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()
    return f"{_token(sha256)}.{digest[:16]}"


def new_watcher() -> str:
    """Return a fresh name for the short-lived consumer of one reader of a bucket."""
    return f"watch-{uuid.uuid4().hex}"


def valid_bucket(text: str) -> bool:
    """Tell whether a bucket in the NATS Object Store can have this name."""
    return _BUCKET.fullmatch(text) is not None


def valid_token(text: str) -> bool:
    """Tell whether a text can stand as one part of a NATS subject and of a KV key."""
    return _TOKEN.fullmatch(text) is not None


def _token(text: str) -> str:
    if not valid_token(text):
        raise ConfigError(f"{text!r}: a name is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")
    return text


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
        return f"docnats.{self.namespace}.jobs.{PRIORITY}.{_token(batch)}.{_token(job_id)}"

    def batch_jobs_filter(self, batch: str) -> str:
        """Return the subjects of a batch's control messages."""
        return f"docnats.{self.namespace}.jobs.{PRIORITY}.{_token(batch)}.*"

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
        return f"docnats.{self.namespace}.dead.{kind}.{_token(origin)}"

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
        return f"{_token(batch)}.{_token(job_id)}"

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
        return f"$KV.{self.states_bucket}.{'*' if batch is None else _token(batch)}.*"

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
        return f"$KV.{self.archives_bucket}.{_token(batch)}"

    def archive_table(self, batch: str) -> str:
        """Return the S3 key of the job table of an archived batch."""
        return f"{ARCHIVE_PREFIX}{self.namespace}/{_token(batch)}/{ARCHIVE_TABLE}"

    def archive_receipt(self, batch: str) -> str:
        """Return the S3 key of the receipt of an archived batch."""
        return f"{ARCHIVE_PREFIX}{self.namespace}/{_token(batch)}/receipt.json"

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
        return f"$KV.{self.workers_bucket}.{_token(worker)}"

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
        return f"$KV.{self.results_bucket}.{_token(sha256)}.*"

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
        return f"$KV.{self.sending_bucket}.{_token(batch)}"

    @property
    def probe_subject(self) -> str:
        """The subject in the workers' stream that health checks write to; no worker's key."""
        return f"$KV.{self.workers_bucket}.health.probe"

    def progress_subject(self, batch: str, job_id: str) -> str:
        """Return the core NATS subject of one job's page progress."""
        return f"docnats.{self.namespace}.progress.{_token(batch)}.{_token(job_id)}"

    def batch_progress_filter(self, batch: str) -> str:
        """Return the subjects of the page progress of a batch's jobs."""
        return f"docnats.{self.namespace}.progress.{_token(batch)}.*"

    def cancel_subject(self, batch: str, job_id: str | None = None) -> str:
        """Return the core NATS subject that tells workers to stop a job, or a whole batch."""
        subject = f"docnats.{self.namespace}.cancel.{_token(batch)}"
        return subject if job_id is None else f"{subject}.{_token(job_id)}"

    @property
    def cancels_filter(self) -> str:
        """The subjects that tell workers to stop something."""
        return f"docnats.{self.namespace}.cancel.>"

    def sign_subject(self, batch: str, job_id: str) -> str:
        """Return the core NATS subject on which a worker asks for fresh URLs of a job."""
        return f"docnats.{self.namespace}.sign.{_token(batch)}.{_token(job_id)}"

    @property
    def signs_filter(self) -> str:
        """The subjects on which workers ask for fresh URLs."""
        return f"docnats.{self.namespace}.sign.*.*"

    def asked_for(self, subject: str) -> tuple[str, str]:
        """Return the batch and job id of a subject that asks for fresh URLs."""
        _, _, _, batch, job_id = subject.split(".")
        return _token(batch), _token(job_id)

    def cancelled(self, subject: str) -> tuple[str, str | None]:
        """Return the batch and job id of a cancel subject; no job id stands for the batch."""
        _, _, _, batch, *job_id = subject.split(".")
        return batch, job_id[0] if job_id else None


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
