"""The permissions in ``deploy/nats``: what docnats does works with them, all else is refused."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from operator import not_
from pathlib import Path

import pytest
import trustme

from docnats.bus import NatsBus
from docnats.bus.inbox import Denied
from docnats.config import NatsConfig, ProcessingConfig, S3Config, StackConfig
from docnats.errors import BusError
from docnats.models import JobState
from docnats.names import Names
from docnats.service import Batch, S3DocumentService
from docnats.stack.binaries import S3Backend, S3Binary, find_s3_server
from tests.pdfs import text_pdf
from tests.ports.test_bus_faults import nats_server_with
from tests.roles import running
from tests.stack.test_presigned import bare_worker
from tests.waiting import until

DEPLOY = Path(__file__).parents[2] / "deploy" / "nats"
# Numbers to nats-server, unless they are quoted.
PASSWORDS = {"admin": "1k", "client": "2k", "worker": "3k", "signer": "4k"}
NAMES = Names("default")
LIMIT = 90

As = Callable[[str], NatsConfig]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the server has its files and its log."""
    return tmp_path_factory.mktemp("nats")


@pytest.fixture(scope="module")
def as_role(folder: Path) -> Iterator[As]:
    """Run nats-server with the very files of the repository, and give the roles' settings."""
    for file in DEPLOY.glob("*.conf"):
        shutil.copy(file, folder)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    settings = (folder / "nats-server.conf").read_text()
    for given, ours in (
        ('listen: "0.0.0.0:4222"', ""),
        ('"/data"', f'"{folder / "js"}"'),
        ("/etc/nats/tls/", f"{folder}/"),
    ):
        assert given in settings
        settings = settings.replace(given, ours)
    with pytest.MonkeyPatch.context() as patch:
        for role, password in PASSWORDS.items():
            patch.setenv(f"DOCNATS_{role.upper()}_PASSWORD", f'"{password}"')
        with nats_server_with(folder, settings) as server:

            def get(role: str) -> NatsConfig:
                return NatsConfig(
                    servers=f"tls://{server}",
                    user=role,
                    password=PASSWORDS[role],
                    ca_file=folder / "ca.pem",
                    inbox_prefix=f"_INBOX_{role}",
                    request_timeout=10,
                )

            with pytest.MonkeyPatch.context():
                _check_that_others_create_nothing(get)
            yield get


def _check_that_others_create_nothing(get: As) -> None:
    """See what a worker is told before there are streams, then create them."""

    async def check() -> None:
        async with NatsBus(get("worker")) as bus:
            with pytest.raises(BusError, match="run `docnats health` once as a user who may"):
                await bus.ensure()
        for role in ("admin", "worker", "client"):
            async with NatsBus(get(role)) as bus:
                await bus.ensure()

    asyncio.run(check())


@pytest.fixture
def s3(_session_s3: Callable[[S3Binary], S3Config]) -> S3Config:
    return _session_s3(find_s3_server(StackConfig(), S3Backend.SEAWEEDFS))


async def reached(batch: Batch, state: JobState) -> None:
    await until(
        lambda: {job.state for job in batch.table.records()},
        lambda found: found == {state},
        within=LIMIT,
    )


def violations(folder: Path) -> set[str]:
    """Return what the server refused so far, as it says in its log."""
    return set(re.findall(r"\w+ Violation.*", (folder / "nats.log").read_text()))


async def test_the_whole_path_works_with_the_permissions(
    as_role: As, s3: S3Config, folder: Path, tmp_path: Path
) -> None:
    before = violations(folder)
    processing = ProcessingConfig(reuse_results=True)
    async with S3DocumentService(s3, as_role("client"), processing) as service:
        waiting = await service.submit({f"{n}.pdf": text_pdf(n) for n in (1, 2)})
        async with aclosing(service.bus.watch(waiting.id)) as entries:
            left = {job.job_id for job in waiting.table.records()}
            async for entry in entries:
                if entry is not None and entry.record.state is JobState.QUEUED:
                    left.discard(entry.record.job_id)
                if not left:
                    break
        assert await service.cancel(waiting.table.records()) == 2
        assert (await service.bus.backlog()).pending == 0
        arguments = ("worker", "--parsers", "1", "--grace", "1")
        log = tmp_path / "worker.log"
        with running(*arguments, s3=s3, nats=as_role("worker"), log=log):
            assert (await service.health_check(wait=60)).healthy
            sources = [("a.pdf", text_pdf(4)), ("b.pdf", b"no PDF")]
            batch = await service.submit(sources)
            jobs = (await batch.follow(timeout=LIMIT)).records()
            assert [str(job.state) for job in jobs] == ["done", "failed"]
            async with asyncio.timeout(LIMIT):
                while True:
                    again = await service.submit([("a.pdf", text_pdf(4))])
                    (job,) = (await again.follow(timeout=LIMIT)).records()
                    if job.reused_from:  # results are noted behind the jobs' backs
                        break
            long = await service.submit([("long.pdf", text_pdf(1500))])
            following = asyncio.create_task(long.follow(timeout=LIMIT))
            await reached(long, JobState.RUNNING)
            assert await service.cancel(long.table.records()) == 1
            await following
            assert isinstance(service.bus, NatsBus)
            await service.bus._connection.ask(NAMES.job_subject("b", "junk"), b"junk")
            (letter,) = await until(service.dead_letters, within=LIMIT)
            await service.bus.discard_dead_letters([letter.id])
            retried = await (await service.retry(jobs)).follow(timeout=LIMIT)
            assert [str(job.state) for job in retried.records()] == ["failed"]
            assert await service.cleanup_jobs(jobs) == 2
        await service.storage.put_bytes("raw/orphan.pdf", b"of nobody")
        gone = await service.gc(delete=True, older_than=timedelta(0))
        assert "raw/orphan.pdf" in {leftover.key for leftover in gone}
        assert {summary.batch for summary in await service.batches()} >= {batch.id, long.id}
        assert await service.workers() == [], "it withdrew"
    refused = violations(folder) - before
    assert all("STREAM.CREATE" in line for line in refused), refused


async def test_a_signer_and_a_worker_without_credentials_work_with_the_permissions(
    as_role: As, s3: S3Config, folder: Path, tmp_path: Path
) -> None:
    before = violations(folder)
    async with S3DocumentService(s3, as_role("client")) as service:
        batch = await service.submit([("a.pdf", text_pdf(3))])
        await _sent(service, batch)
    with (
        running("signer", s3=s3, nats=as_role("signer"), log=tmp_path / "signer.log"),
        bare_worker(s3, as_role("worker"), tmp_path),
    ):
        async with NatsBus(as_role("client")) as bus:
            (entry,) = await until(
                partial(bus.states, batch.id), lambda found: found[0].record.terminal, within=LIMIT
            )
    assert (entry.record.state, entry.record.error) == (JobState.DONE, None)
    assert "signing fresh URLs" in (tmp_path / "signer.log").read_text()
    refused = violations(folder) - before
    assert all("STREAM.CREATE" in line for line in refused), refused


async def _sent(service: S3DocumentService, batch: Batch) -> None:
    # The sender takes itself out when all is sent.
    await until(service.bus.senders, not_, within=LIMIT)
    assert await service.bus.queued(batch.id)


STATE = NAMES.state_subject("b", "j")
NEXT_JOB = f"$JS.API.CONSUMER.MSG.NEXT.{NAMES.jobs_stream}.{NAMES.consumer()}"
DROP_JOBS = f"$JS.API.STREAM.PURGE.{NAMES.jobs_stream}"
ACK_JOB = f"$JS.ACK.{NAMES.jobs_stream}.{NAMES.consumer()}.1.1.1.1.1"
CHANGES = [
    f"$JS.API.STREAM.{verb}.{stream}"
    for verb in ("CREATE", "UPDATE", "DELETE")
    for stream in (NAMES.jobs_stream, NAMES.states_stream)
]
MAY_NOT_PUBLISH = {
    "worker": [
        *CHANGES,
        NAMES.job_subject("b", "j"),
        DROP_JOBS,
        f"$JS.API.STREAM.PURGE.{NAMES.states_stream}",
        f"$JS.API.STREAM.PURGE.{NAMES.dead_letters_stream}",
        f"$JS.API.STREAM.MSG.DELETE.{NAMES.states_stream}",
        f"$JS.API.CONSUMER.DELETE.{NAMES.jobs_stream}.{NAMES.consumer()}",
        f"$JS.API.CONSUMER.CREATE.{NAMES.jobs_stream}.mine",
        NAMES.cancel_subject("b", "j"),
        "$KV.docnats-other-states.b.j",
        "_INBOX_client.x",
    ],
    "client": [
        *CHANGES,
        NEXT_JOB,
        ACK_JOB,
        f"$JS.API.CONSUMER.CREATE.{NAMES.jobs_stream}.mine",
        NAMES.worker_subject("w"),
        f"$JS.API.STREAM.PURGE.{NAMES.dead_letters_stream}",
        "$KV.docnats-default-poison.a.b",
        "docnats.other.jobs.normal.b.j",
    ],
    "signer": [
        *CHANGES,
        NEXT_JOB,
        ACK_JOB,
        DROP_JOBS,
        STATE,
        NAMES.job_subject("b", "j"),
        NAMES.cancel_subject("b", "j"),
        f"$JS.API.CONSUMER.CREATE.{NAMES.states_stream}.mine",
        f"$JS.API.STREAM.MSG.GET.{NAMES.jobs_stream}",
        "_INBOX_worker.x",
    ],
}
MAY_NOT_HEAR = {
    "worker": [NAMES.jobs_filter, NAMES.states_filter, NAMES.signs_filter, "_INBOX_client.>", ">"],
    "client": [NAMES.jobs_filter, NAMES.signs_filter, "_INBOX_worker.>", "_INBOX.>", ">"],
    "signer": [NAMES.jobs_filter, NAMES.signs_filter, NAMES.states_filter, "_INBOX_worker.>", ">"],
}


@pytest.mark.parametrize("role", MAY_NOT_PUBLISH)
async def test_a_role_may_do_nothing_else(as_role: As, role: str) -> None:
    async with asyncio.timeout(LIMIT), NatsBus(as_role(role)) as bus:
        for subject in MAY_NOT_PUBLISH[role]:
            with pytest.raises(Denied, match="deploy/nats"):
                await bus._connection.ask(subject, b"{}")
        for subject in MAY_NOT_HEAR[role]:
            async with aclosing(bus._listen(subject)) as messages:
                with pytest.raises(Denied, match="deploy/nats"):
                    await anext(messages)


async def test_who_may_not_hear_its_answers_is_told_of_the_prefix(as_role: As) -> None:
    wrong = as_role("client").but(inbox_prefix="_INBOX_Of_Another")
    async with asyncio.timeout(LIMIT), NatsBus(wrong) as bus:
        for _ in ("before the server says so, perhaps", "after that"):
            told = r"^NATS at .* _INBOX_Of_Another.*: check NATS_INBOX_PREFIX"
            with pytest.raises(Denied, match=told):
                await bus.workers()


async def test_a_worker_that_may_not_take_jobs_says_so(as_role: As) -> None:
    async with asyncio.timeout(LIMIT), NatsBus(as_role("client")) as bus:
        with pytest.raises(Denied, match="does not let this user publish"):
            await bus.pull(1, 30)
