"""The policies in ``deploy/iam``: what each role does works with its own, all else is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aioboto3
import pytest
import pytest_asyncio

from docnats.config import NatsConfig, ProcessingConfig, S3Config, StackConfig
from docnats.errors import StorageError
from docnats.models import JobState
from docnats.service import S3DocumentService
from docnats.stack import LocalStack, servers
from docnats.stack.binaries import S3Backend, S3Binary
from docnats.storage import PresignedHttp, S3Storage
from tests.pdfs import text_pdf
from tests.roles import running, without_credentials
from tests.stack.test_presigned import bare_worker, ended, submitted

POLICIES = Path(__file__).parents[2] / "deploy" / "iam"
ROLE = "arn:aws:iam::000000000000:role/docnats"

MIB = 1024 * 1024

As = Callable[[str], Awaitable[S3Config]]
"""Gives the settings of a role: its own credentials, and nothing else of the owner's."""


@pytest.fixture(scope="module")
def _servers() -> Iterator[Callable[[S3Binary], S3Config]]:
    started: dict[S3Binary, LocalStack] = {}

    def find(binary: S3Binary) -> S3Config:
        if binary not in started:
            config = StackConfig(s3_server=binary.path)
            started[binary] = LocalStack(workers=0, config=config, nats=NatsConfig()).start()
        return started[binary].s3

    with pytest.MonkeyPatch.context() as patch:
        # Only so can users be made with policies of their own.
        flags = (*servers.SEAWEED_FLAGS, "-s3.iam.readOnly=false")
        patch.setattr(servers, "SEAWEED_FLAGS", flags)
        yield find
    for stack in started.values():
        stack.stop()


@pytest_asyncio.fixture
async def owner(
    _servers: Callable[[S3Binary], S3Config], s3_binary: S3Binary, nats_config: NatsConfig
) -> AsyncIterator[S3Config]:
    """Yield the settings of the server's owner, with a bucket of the test's own."""
    config = _servers(s3_binary).but(bucket_name=nats_config.namespace, multipart_threshold=5 * MIB)
    async with S3Storage(config) as storage:
        await storage.ensure_bucket()
    yield config


@pytest.fixture
def as_role(owner: S3Config, s3_binary: S3Binary) -> As:
    async def get(role: str) -> S3Config:
        text = (POLICIES / f"{role}.json").read_text()
        policy = text.replace("DOCNATS-BUCKET", owner.bucket_name)
        secret = owner.aws_secret_access_key
        session = aioboto3.Session(
            aws_access_key_id=owner.aws_access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name="us-east-1",
        )
        new = _session if s3_binary.backend is S3Backend.MINIO else _user
        return owner.but(**await new(session, owner, f"{owner.bucket_name}-{role}", policy))

    return get


async def _session(
    session: aioboto3.Session, owner: S3Config, name: str, policy: str
) -> dict[str, str]:
    """Return temporary credentials that are bounded by a policy."""
    async with session.client("sts", endpoint_url=owner.endpoint_url) as sts:
        made: Any = await sts.assume_role(RoleArn=ROLE, RoleSessionName=name, Policy=policy)
    keys = made["Credentials"]
    return {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }


async def _user(
    session: aioboto3.Session, owner: S3Config, name: str, policy: str
) -> dict[str, str]:
    """Return the credentials of a new user with a policy."""
    client: Any = session.client("iam", endpoint_url=owner.endpoint_url)
    async with client as iam:
        await iam.create_user(UserName=name)
        # An inline policy would be made into SeaweedFS's own few actions.
        made = await iam.create_policy(PolicyName=name, PolicyDocument=policy)
        await iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
        keys = (await iam.create_access_key(UserName=name))["AccessKey"]
    return {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
    }


async def test_all_that_docnats_does_works_with_the_policies(
    as_role: As, nats_config: NatsConfig, tmp_path: Path
) -> None:
    client, worker = await as_role("client"), await as_role("worker")
    big = tmp_path / "big.pdf"
    big.write_bytes(text_pdf(2) + b"%" * 6 * MIB)  # goes in parts
    arguments = ("worker", "--parsers", "1", "--grace", "1")
    with running(*arguments, s3=worker, nats=nats_config, log=tmp_path / "worker.log"):
        async with S3DocumentService(client, nats_config) as service:
            batch = await service.submit([big, ("a.pdf", text_pdf(1)), ("b.pdf", b"no PDF")])
            jobs = (await batch.follow(timeout=90)).records()
            assert [str(job.state) for job in jobs] == ["done", "done", "failed"]
            assert len((await service.fetch_document(jobs[0])).pages) == 2
            assert await service.fetch_source(jobs[1]) == text_pdf(1)
            retried = await (await service.retry([jobs[1]], force=True)).follow(timeout=90)
            assert [job.state for job in retried.records()] == [JobState.DONE]
            assert (await service.health_check(wait=30)).healthy
            uri = f"s3://{client.bucket_name}/raw/{jobs[0].job_id}.pdf"
            in_place = await (await service.submit(uri)).follow(timeout=90)
            assert [job.state for job in in_place.records()] == [JobState.DONE]
            assert await service.cleanup_jobs(jobs[2:]) == 1
            await service.storage.put_bytes("raw/orphan.pdf", b"of nobody")
            gone = await service.gc(delete=True, older_than=timedelta(0))
            assert [leftover.key for leftover in gone] == ["raw/orphan.pdf"]


async def test_a_signer_with_its_policy_is_enough_for_workers_without_credentials(
    as_role: As, nats_config: NatsConfig, tmp_path: Path
) -> None:
    client, signer = await as_role("client"), await as_role("signer")
    batch, _ = await submitted(client, nats_config, ProcessingConfig())
    with (
        running("signer", s3=signer, nats=nats_config, log=tmp_path / "signer.log"),
        bare_worker(client, nats_config, tmp_path),
    ):
        jobs = await ended(nats_config, batch, 3)
    assert [(job.state, job.error) for job in jobs] == [(JobState.DONE, None)] * 3


@pytest_asyncio.fixture
async def contents(owner: S3Config) -> None:
    """Put something everywhere."""
    async with S3Storage(owner) as storage:
        for key in (
            "raw/j.pdf",
            "processed/j/words.parquet",
            "batches/default/b/jobs.parquet",
            "health/x",
            "private/x",
        ):
            await storage.put_bytes(key, b"x")


def attempts(storage: S3Storage) -> dict[str, Awaitable[Any]]:
    """Return everything that could be tried with some credentials, by name."""
    found: dict[str, Awaitable[Any]] = {"list": anext(aiter(storage.list("")))}
    for folder, key in (
        ("raw", "raw/j.pdf"),
        ("processed", "processed/j/words.parquet"),
        ("batches", "batches/default/b/jobs.parquet"),
        ("health", "health/x"),
        ("private", "private/x"),
    ):
        found[f"get {folder}"] = storage.get_bytes(key)
        found[f"put {folder}"] = storage.put_bytes(key, b"y")
        found[f"delete {folder}"] = storage.delete([key])
    return found


async def allowed(storage: S3Storage) -> set[str]:
    """Try everything, one after the other; return what was not refused."""
    done: set[str] = set()
    for name, attempt in attempts(storage).items():
        (outcome,) = await asyncio.gather(attempt, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            done.add(name)
        elif "AccessDenied" not in str(outcome):
            raise outcome
    return done


CLIENT = {"list", "get raw", "put raw", "delete raw", "get processed", "put processed"}
CLIENT |= {"delete processed", "get batches", "put batches"}
CLIENT |= {"get health", "put health", "delete health"}


@pytest.mark.usefixtures("contents")
@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("client", CLIENT),
        ("worker", {"get raw", "put processed", "get health", "put health", "delete health"}),
        ("signer", {"get raw", "put processed"}),
    ],
)
async def test_all_else_is_refused(as_role: As, owner: S3Config, role: str, may: set[str]) -> None:
    config = await as_role(role)
    async with S3Storage(config) as storage:
        assert await allowed(storage) == may
    other = owner.but(bucket_name=f"{owner.bucket_name}-2")
    async with S3Storage(other) as storage:
        await storage.ensure_bucket()
        await storage.put_bytes("raw/j.pdf", b"x")
    async with S3Storage(config.but(bucket_name=other.bucket_name)) as storage:
        assert await allowed(storage) == set()
    async with S3Storage(config.but(bucket_name=f"{owner.bucket_name}-3")) as storage:
        with pytest.raises(StorageError, match="AccessDenied"):
            await storage.ensure_bucket()


@pytest.mark.usefixtures("contents")
async def test_a_signers_urls_reach_no_further_than_its_policy(as_role: As, tmp_path: Path) -> None:
    signer = await as_role("signer")
    async with S3Storage(signer) as storage, PresignedHttp(without_credentials(signer)) as http:
        await http.get_file(await storage.presign_get("raw/j.pdf"), tmp_path / "out")
        await http.put(await storage.presign_put("processed/j/words.parquet"), b"y")
        with pytest.raises(StorageError, match="AccessDenied"):
            await http.get_file(await storage.presign_get("private/x"), tmp_path / "out")
        with pytest.raises(StorageError, match="AccessDenied"):
            await http.put(await storage.presign_put("raw/j.pdf"), b"y")
