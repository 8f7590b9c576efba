"""The storage port: one suite for the fake and for real servers, then what is S3's alone.

The NATS Object Store passes it in ``test_objects.py``, but for what presigned URLs do.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, StreamReader

from docnats.config import S3Config
from docnats.errors import ObjectMissing, StorageError, UrlRefused
from docnats.models import utc_now
from docnats.stack.binaries import S3Backend, S3Binary
from docnats.stack.environment import s3_variables
from docnats.storage import (
    PatientStorage,
    PresignedHttp,
    S3Storage,
    Storage,
    UnfinishedUpload,
    expired,
)
from docnats.storage import unfinished as unfinished_module
from docnats.storage.content import Bytes, LocalFile
from docnats.storage.multipart import MultipartUpload
from docnats.storage.s3 import _body
from tests.conftest import RestartableServer
from tests.fakes.storage import FakePresignedHttp, FakeStorage
from tests.waiting import until

MIB = 1024 * 1024
SIZES = [0, 1, MIB, 3 * MIB + 1]
ODD_NAMES = ["a b.pdf", "Grüße/論文 №1.pdf", "100%+&=?#.pdf", "quote'\"<>.pdf"]


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311 - test data


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


BeginUpload = Callable[[str], Awaitable[None]]
"""Begins an upload in parts of some key, and sends one part of 5 MiB."""


class StoragePort:
    """What every object store must do; subclasses say which one."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_file_comes_back_as_it_was(
        self, storage: Storage, tmp_path: Path, size: int
    ) -> None:
        data = some_bytes(size)
        (tmp_path / "in").write_bytes(data)
        stored = await storage.put_file("k", tmp_path / "in")
        got = await storage.get_file("k", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert (stored.size, stored.sha256) == (got.size, got.sha256) == (size, sha256(data))
        assert got.modified is not None
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]

    @pytest.mark.parametrize("size", SIZES)
    async def test_bytes_come_back_as_they_were(self, storage: Storage, size: int) -> None:
        data = some_bytes(size)
        stored = await storage.put_bytes("k", data)
        assert await storage.get_bytes("k") == data
        assert (stored.key, stored.size, stored.sha256) == ("k", size, sha256(data))

    @pytest.mark.parametrize("key", ["processed/1/words.parquet", *ODD_NAMES])
    async def test_pyarrow_reads_what_was_put(self, storage: Storage, key: str) -> None:
        await storage.put_bytes(key, b"some bytes")
        files = await storage.filesystem()
        with files.open_input_file(f"{storage.bucket}/{key}") as file:
            assert file.read() == b"some bytes"
        with pytest.raises(FileNotFoundError):
            files.open_input_file(f"{storage.bucket}/no such thing")

    async def test_a_second_put_replaces_the_first(self, storage: Storage) -> None:
        await storage.put_bytes("k", b"first")
        await storage.put_bytes("k", b"second")
        assert await storage.get_bytes("k") == b"second"

    async def test_keys_may_hold_spaces_and_any_script(self, storage: Storage) -> None:
        for name in ODD_NAMES:
            await storage.put_bytes(name, name.encode())
        listed = [found.key async for found in storage.list("")]
        assert listed == sorted(name for name in ODD_NAMES)
        for name in ODD_NAMES:
            assert await storage.get_bytes(name) == name.encode()
        await storage.delete(listed)
        assert [found async for found in storage.list("")] == []

    async def test_a_missing_object_is_named_and_leaves_the_target_alone(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        (tmp_path / "out").write_text("as before")
        with pytest.raises(ObjectMissing, match=f"{storage.bucket}/none") as caught:
            await storage.get_file("none", tmp_path / "out")
        assert not caught.value.transient
        assert [p.read_text() for p in tmp_path.iterdir()] == ["as before"]
        with pytest.raises(ObjectMissing):
            await storage.get_bytes("none")

    async def test_a_missing_bucket_is_not_a_missing_object(self, storage: Storage) -> None:
        bucket = f"none-{uuid4().hex}"
        with pytest.raises(StorageError, match=bucket) as caught:
            await storage.get_bytes("k", bucket=bucket)
        assert not isinstance(caught.value, ObjectMissing)
        assert not caught.value.transient
        with pytest.raises(StorageError, match=bucket):
            [found async for found in storage.list("", bucket=bucket)]

    async def test_a_missing_file_is_the_callers_oserror(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        with pytest.raises(FileNotFoundError):
            await storage.put_file("k", tmp_path / "none")

    async def test_a_listing_has_only_what_starts_with_the_prefix(self, storage: Storage) -> None:
        for name in ("a/2", "a/1", "b/1"):
            await storage.put_bytes(name, name.encode())
        found = [one async for one in storage.list("a/", bucket=storage.bucket)]
        assert [(one.key, one.size) for one in found] == [("a/1", 3), ("a/2", 3)]
        assert {one.modified.tzinfo for one in found if one.modified} == {UTC}

    async def test_a_thousand_and_one_objects_are_listed_and_deleted(
        self, storage: Storage
    ) -> None:
        """S3 lists and deletes at most 1000 at a time."""
        keys = [f"{number:04}" for number in range(1001)]
        await asyncio.gather(*(storage.put_bytes(key, b"x") for key in keys))
        assert [found.key async for found in storage.list("")] == keys
        await storage.delete([*keys, "none"])
        assert [found async for found in storage.list("")] == []

    async def test_a_hundred_puts_at_a_time_are_all_kept(self, storage: Storage) -> None:
        keys = [str(number) for number in range(100)]
        await asyncio.gather(*(storage.put_bytes(key, key.encode()) for key in keys))
        assert await asyncio.gather(*map(storage.get_bytes, keys)) == [k.encode() for k in keys]

    async def test_unfinished_uploads_are_listed_until_they_are_aborted(
        self, storage: Storage, begin_upload: BeginUpload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unfinished_module, "_PAGE", 2)
        keys = ["processed/1/words.parquet", "raw/1.pdf", "raw/2.pdf", "raw/2.pdf", "raw/3.pdf"]
        for key in keys:
            await begin_upload(key)
        begun = [upload async for upload in storage.unfinished()]
        assert sorted(upload.key for upload in begun) == keys
        assert {(upload.size, upload.begun.tzinfo) for upload in begun} == {(5 * MIB, UTC)}
        gone = [upload for upload in begun if upload.key != "raw/3.pdf"]
        await storage.abort(gone)
        await storage.abort(gone)
        assert [upload.key async for upload in storage.unfinished()] == ["raw/3.pdf"]
        assert [found async for found in storage.list("")] == []

    async def test_the_bucket_may_be_ensured_by_many_at_once(self, storage: Storage) -> None:
        await asyncio.gather(*(storage.ensure_bucket() for _ in range(4)))
        assert await storage.has_credentials()


class PresigningPort(StoragePort):
    """What an object store with presigned URLs must do besides."""

    async def test_presigned_urls_work_for_keys_in_any_script(
        self, storage: Storage, http: PresignedHttp, tmp_path: Path
    ) -> None:
        for name in ODD_NAMES:
            await http.put(await storage.presign_put(name), name.encode())
            assert await storage.get_bytes(name) == name.encode()
            await http.get_file(await storage.presign_get(name), tmp_path / "out")
            assert (tmp_path / "out").read_bytes() == name.encode()

    @pytest.mark.parametrize("size", SIZES)
    async def test_presigned_urls_need_no_credentials(
        self, storage: Storage, http: PresignedHttp, tmp_path: Path, size: int
    ) -> None:
        data = some_bytes(size)
        (tmp_path / "in").write_bytes(data)
        await http.put(await storage.presign_put("file"), tmp_path / "in")
        await http.put(await storage.presign_put("bytes"), data)
        assert await storage.get_bytes("bytes") == data
        url = await storage.presign_get("file", bucket=storage.bucket)
        got = await http.get_file(url, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert (got.size, got.sha256) == (size, sha256(data))

    async def test_a_presigned_url_allows_one_verb_on_one_object(
        self, storage: Storage, http: PresignedHttp, tmp_path: Path
    ) -> None:
        with pytest.raises(ObjectMissing):
            await http.get_file(await storage.presign_get("k"), tmp_path / "out")
        with pytest.raises(UrlRefused) as caught:
            await http.put(await storage.presign_get("k"), b"x")
        assert not caught.value.transient
        assert list(tmp_path.iterdir()) == []


class LeanTransfers:
    """What a store on a server must do with big objects; subclasses say how one gets there."""

    most_memory: ClassVar[int]
    """MiB of a process that sends and gets them."""

    @pytest.fixture
    def variables(self) -> dict[str, str]:
        """Return the environment variables that lead to the bucket, which is there."""
        raise NotImplementedError

    @pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
    async def test_big_objects_need_little_memory(
        self, variables: dict[str, str], tmp_path: Path
    ) -> None:
        """64 MiB up and down, and 8 uploads of 5 MiB at a time."""
        for name, size in (("big", 64), ("small", 5)):
            with (tmp_path / name).open("wb") as file:
                file.truncate(size * MIB)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", TRANSFERS, tmp_path),
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        shown, errors = await asyncio.wait_for(child.communicate(), 120)
        assert child.returncode == 0, errors.decode()
        assert (tmp_path / "back").stat().st_size == 64 * MIB
        peak = next(line for line in shown.decode().splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < self.most_memory * 1024, peak


TRANSFERS = """
import asyncio, sys
from pathlib import Path
from docnats.backends import storage_for
from docnats.config import NatsConfig, ProcessingConfig, S3Config

async def main(folder):
    size = 5 * 1024 * 1024
    s3 = S3Config(multipart_threshold=size, multipart_chunksize=size, max_concurrency=4)
    async with storage_for(s3, NatsConfig(), ProcessingConfig()) as storage:
        await storage.put_file("big", folder / "big")
        keys = [str(number) for number in range(8)]
        await asyncio.gather(*(storage.put_file(key, folder / "small") for key in keys))
        await storage.get_file("big", folder / "back")

asyncio.run(main(Path(sys.argv[1])))
print(Path("/proc/self/status").read_text())
"""


def begin_upload_on(fake: FakeStorage) -> BeginUpload:
    async def begin(key: str) -> None:
        upload_id = str(len(fake.uploads))
        fake.uploads.append(UnfinishedUpload(key, upload_id, 5 * MIB, utc_now()))

    return begin


class TestFakeStorage(PresigningPort):
    @pytest_asyncio.fixture
    async def storage(self) -> FakeStorage:
        fake = FakeStorage()
        await fake.ensure_bucket()
        return fake

    @pytest.fixture
    def http(self, storage: FakeStorage) -> FakePresignedHttp:
        return FakePresignedHttp(storage)

    @pytest.fixture
    def begin_upload(self, storage: FakeStorage) -> BeginUpload:
        return begin_upload_on(storage)


class TestPatientStorage(TestFakeStorage):
    @pytest.fixture
    def http(self, fake: FakeStorage) -> FakePresignedHttp:
        return FakePresignedHttp(fake)

    @pytest.fixture
    def begin_upload(self, fake: FakeStorage) -> BeginUpload:
        return begin_upload_on(fake)

    @pytest_asyncio.fixture
    async def fake(self) -> FakeStorage:
        return FakeStorage()

    @pytest_asyncio.fixture
    async def storage(self, fake: FakeStorage) -> PatientStorage:  # type: ignore[override]
        storage = PatientStorage(fake, 60)
        await storage.ensure_bucket()
        return storage


@pytest.fixture
def config(s3_config: S3Config) -> S3Config:
    """A real server's, with limits small enough for tests."""
    return s3_config.but(
        multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4, max_attempts=2
    )


@pytest_asyncio.fixture
async def s3(config: S3Config) -> AsyncIterator[S3Storage]:
    async with S3Storage(config) as storage:
        await storage.ensure_bucket()
        yield storage


async def raw(storage: S3Storage, operation: str, **arguments: Any) -> Any:
    """Ask the server itself."""
    async with storage._connection.request(operation) as client:
        return await getattr(client, operation)(Bucket=storage.bucket, **arguments)


async def unfinished(storage: S3Storage) -> list[str]:
    """Return the keys that have parts of multipart uploads."""
    answer = await raw(storage, "list_multipart_uploads")
    return [upload["Key"] for upload in answer.get("Uploads", [])]


class TestS3Storage(PresigningPort, LeanTransfers):
    most_memory = 160

    @pytest.fixture
    def variables(self, s3: S3Storage) -> dict[str, str]:
        return s3_variables(s3._config)

    @pytest.mark.parametrize("detour", ["http://127.0.0.1:9/", "{endpoint}/no-such-bucket/"])
    async def test_what_fails_on_the_short_way_is_left_to_the_client(
        self, storage: S3Storage, detour: str, tmp_path: Path
    ) -> None:
        await storage.put_bytes("k", b"some bytes")
        connection, short = storage._connection, storage._connection._shortcut
        assert short is not None
        assert await connection.read(storage.bucket, "k", _body) == b"some bytes"
        assert await connection.write(storage.bucket, "k", b"other bytes")
        short._buckets[storage.bucket] = detour.format(endpoint=connection.endpoint)
        assert await connection.read(storage.bucket, "k", _body) is None
        assert not await connection.write(storage.bucket, "k", b"lost bytes")
        assert await storage.get_bytes("k") == b"other bytes"
        await storage.put_bytes("k", b"some bytes")
        await storage.get_file("k", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"some bytes"

    async def test_an_object_that_breaks_off_on_the_short_way_is_read_anew(
        self, storage: S3Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = some_bytes(MIB)
        await storage.put_bytes("k", data)

        async def broken(reader: StreamReader, limit: int = -1) -> bytes:
            monkeypatch.undo()
            await reader.readexactly(limit // 2)
            raise ClientPayloadError("broken off")

        monkeypatch.setattr(StreamReader, "read", broken)
        got = await storage.get_file("k", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert got.sha256 == sha256(data)
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    async def test_credentials_that_are_refused_are_not_tried_twice(
        self, storage: S3Storage, config: S3Config
    ) -> None:
        wrong = config.but(aws_secret_access_key="wrong")  # noqa: S106 - of nobody
        async with S3Storage(wrong) as refused:
            with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
                await refused.get_bytes("k")
            assert refused._connection._shortcut is not None
            assert refused._connection._shortcut._buckets == {config.bucket_name: None}

    @pytest.fixture
    def storage(self, s3: S3Storage) -> S3Storage:
        return s3

    @pytest.fixture
    def begin_upload(self, s3: S3Storage) -> BeginUpload:
        async def begin(key: str) -> None:
            upload_id = (await raw(s3, "create_multipart_upload", Key=key))["UploadId"]
            part = {"UploadId": upload_id, "PartNumber": 1, "Body": some_bytes(5 * MIB)}
            await raw(s3, "upload_part", Key=key, **part)

        return begin

    async def test_a_new_bucket_drops_unfinished_uploads_by_itself_where_the_server_can(
        self, config: S3Config, s3_binary: S3Binary, caplog: pytest.LogCaptureFixture
    ) -> None:
        """MinIO refuses the rule, and drops them after a day anyway."""
        caplog.set_level(logging.INFO, "docnats")
        fresh = config.but(bucket_name=f"test-{uuid4().hex[:12]}")
        async with S3Storage(fresh) as storage:
            await storage.ensure_bucket()
            if s3_binary.backend is S3Backend.MINIO:
                assert "does not drop unfinished uploads" in caplog.text
                return
            (rule,) = (await raw(storage, "get_bucket_lifecycle_configuration"))["Rules"]
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
        assert "unfinished uploads" not in caplog.text

    async def test_the_lifecycle_of_a_bucket_that_was_there_is_left_alone(
        self, config: S3Config
    ) -> None:
        rule = {
            "ID": "mine",
            "Status": "Enabled",
            "Filter": {"Prefix": "logs/"},
            "Expiration": {"Days": 3},
        }
        theirs = config.but(bucket_name=f"test-{uuid4().hex[:12]}")
        async with S3Storage(theirs) as storage:
            await raw(storage, "create_bucket")
            await raw(
                storage,
                "put_bucket_lifecycle_configuration",
                LifecycleConfiguration={"Rules": [rule]},
            )
            await storage.ensure_bucket()
            (kept,) = (await raw(storage, "get_bucket_lifecycle_configuration"))["Rules"]
        assert (kept["ID"], kept["Expiration"]) == ("mine", {"Days": 3})

    @pytest_asyncio.fixture
    async def http(self, config: S3Config) -> AsyncIterator[PresignedHttp]:
        async with PresignedHttp(config) as http:
            yield http

    @pytest.mark.parametrize("size", [5 * MIB + 1, 10 * MIB, 12 * MIB + 345])
    async def test_a_file_above_the_threshold_goes_in_parts(
        self, s3: S3Storage, tmp_path: Path, size: int
    ) -> None:
        data = some_bytes(size)
        (tmp_path / "in").write_bytes(data)
        stored = await s3.put_file("k", tmp_path / "in")
        assert (stored.size, stored.sha256) == (size, sha256(data))
        got = await s3.get_file("k", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert got.sha256 == stored.sha256
        head = await raw(s3, "head_object", Key="k")
        assert head["ETag"].strip('"').endswith(f"-{-(-size // (5 * MIB))}")
        assert await unfinished(s3) == []

    async def test_a_file_at_the_threshold_goes_in_one_piece(self, s3: S3Storage) -> None:
        data = some_bytes(5 * MIB)
        await s3.put_bytes("k", data)
        head = await raw(s3, "head_object", Key="k")
        assert head["ETag"].strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()

    @pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
    async def test_a_file_is_read_once(self, s3: S3Storage, tmp_path: Path, size: int) -> None:
        (tmp_path / "in").write_bytes(some_bytes(size))
        file = ObservedFile(tmp_path / "in")
        await s3._put_stream("k", file)
        assert sum(length for _, length in file.reads) == size
        assert file.reads == sorted(file.reads)

    @pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
    @pytest.mark.parametrize("change", ["shorter", "longer"])
    async def test_a_file_that_changes_meanwhile_is_not_stored(
        self, s3: S3Storage, tmp_path: Path, size: int, change: str
    ) -> None:
        path = tmp_path / "in"
        path.write_bytes(some_bytes(size))

        def change_it(offset: int) -> None:
            if offset:
                os.truncate(path, size - 1 if change == "shorter" else size + 1)

        with pytest.raises(StorageError, match="in changed while") as caught:
            await s3._put_stream("k", ObservedFile(path, change_it))
        assert not caught.value.transient
        assert [found async for found in s3.list("")] == []
        assert await unfinished(s3) == []

    @pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
    async def test_a_file_that_vanishes_meanwhile_is_an_oserror(
        self, s3: S3Storage, tmp_path: Path, size: int
    ) -> None:
        path = tmp_path / "in"
        path.write_bytes(some_bytes(size))
        file = ObservedFile(path, lambda offset: path.unlink() if offset else None)
        with pytest.raises(FileNotFoundError):
            await s3._put_stream("k", file)
        assert [found async for found in s3.list("")] == []
        assert await unfinished(s3) == []

    async def test_an_upload_that_the_server_refuses_leaves_no_part(self, s3: S3Storage) -> None:
        upload = MultipartUpload(s3._connection, s3.bucket, "k", Bytes(some_bytes(12 * MIB)))
        upload._part_size = MIB  # under S3's minimum
        with pytest.raises(StorageError, match="EntityTooSmall"):
            await upload.run()
        assert await unfinished(s3) == []

    @pytest.mark.parametrize("offset", [0, 5 * MIB, 10 * MIB])
    async def test_an_upload_cancelled_on_the_way_leaves_no_part(
        self, s3: S3Storage, tmp_path: Path, offset: int
    ) -> None:
        (tmp_path / "in").write_bytes(some_bytes(12 * MIB))
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def tell(read: int) -> None:
            if read == offset:
                loop.call_soon_threadsafe(reached.set)

        file = ObservedFile(tmp_path / "in", tell)
        upload = asyncio.create_task(s3._put_stream("k", file))
        await asyncio.wait_for(reached.wait(), 30)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert await unfinished(s3) == []
        assert [found async for found in s3.list("")] == []

    async def test_an_upload_cancelled_before_it_has_an_id_leaves_nothing(
        self, s3: S3Storage
    ) -> None:
        upload = asyncio.create_task(s3.put_bytes("k", some_bytes(12 * MIB)))
        async with asyncio.timeout(10):
            while s3._connection._slots._value == s3._config.max_concurrency:  # noqa: ASYNC110 - the request tells nobody that it is out
                await asyncio.sleep(0)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert await unfinished(s3) == []

    async def test_a_loop_over_a_listing_may_use_the_only_connection(
        self, config: S3Config
    ) -> None:
        async with S3Storage(config.but(max_concurrency=1)) as storage:
            await storage.ensure_bucket()
            await storage.put_bytes("k", b"x")
            async with asyncio.timeout(30):
                async for found in storage.list(""):
                    assert await storage.get_bytes(found.key) == b"x"

    async def test_a_bucket_is_created_once_and_then_found(self, config: S3Config) -> None:
        async with S3Storage(config.but(bucket_name=f"docnats-{uuid4().hex}")) as storage:
            try:
                await storage.ensure_bucket()
                await storage.ensure_bucket()
                assert [found async for found in storage.list("")] == []
            finally:
                await raw(storage, "delete_bucket")

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"aws_access_key_id": "NOBODY"}, "AWS_ACCESS_KEY_ID"),
            ({"aws_secret_access_key": "a-wrong-secret"}, "AWS_SECRET_ACCESS_KEY"),
        ],
    )
    async def test_wrong_credentials_are_told_apart_and_kept_secret(
        self, config: S3Config, wrong: dict[str, str], named: str, tmp_path: Path
    ) -> None:
        async with S3Storage(config.but(**wrong)) as storage:
            for refused in (storage.ensure_bucket(), storage.get_file("k", tmp_path / "out")):
                with pytest.raises(StorageError, match=f"wrong credentials.*{named}") as caught:
                    await refused
                assert not caught.value.transient
                shown = "".join(traceback.format_exception(caught.value))
                assert "a-wrong-secret" not in shown

    async def test_an_altered_url_is_refused_and_shown_nowhere(
        self, s3: S3Storage, http: PresignedHttp, tmp_path: Path
    ) -> None:
        await s3.put_bytes("k", b"x")
        url = (await s3.presign_get("k")).replace("Signature=", "Signature=0")
        with pytest.raises(StorageError, match="presign_expiry") as caught:
            await http.get_file(url, tmp_path / "out")
        assert f"{s3.bucket}/k" in str(caught.value)
        assert "Signature=" not in "".join(traceback.format_exception(caught.value))

    async def test_an_expired_url_says_so_and_is_refused(
        self, s3: S3Storage, config: S3Config, http: PresignedHttp, tmp_path: Path
    ) -> None:
        await s3.put_bytes("k", b"x")
        async with S3Storage(config.but(presign_expiry=1)) as hasty:
            urls = await hasty.presign_get("k"), await hasty.presign_put("k")
        assert not expired(await s3.presign_get("k"))
        await until(lambda: all(map(expired, urls)))
        with pytest.raises(UrlRefused):
            await http.get_file(urls[0], tmp_path / "out")
        with pytest.raises(UrlRefused):
            await http.put(urls[1], b"y")
        assert await s3.get_bytes("k") == b"x"


async def test_a_server_killed_during_an_upload_is_a_passing_error(
    s3_server: RestartableServer, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(some_bytes(12 * MIB))
    config = s3_server.config.but(
        multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_attempts=1
    )
    async with S3Storage(config) as storage:
        await storage.ensure_bucket()

        def kill(offset: int) -> None:
            if offset == 5 * MIB:
                s3_server.signal(signal.SIGKILL)

        with pytest.raises(StorageError, match=str(config.endpoint_url)) as caught:
            await storage._put_stream("k", ObservedFile(tmp_path / "in", kill))
        assert caught.value.transient
        await asyncio.to_thread(s3_server.kill)
        await asyncio.to_thread(s3_server.restart)
        stored = await storage.put_file("k", tmp_path / "in")
        assert await storage.get_bytes("k") == (tmp_path / "in").read_bytes()
        assert stored.size == 12 * MIB


async def test_a_patient_upload_and_download_outlast_a_restart_of_the_server(
    s3_server: RestartableServer, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(data := some_bytes(12 * MIB))
    config = s3_server.config.but(
        multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_attempts=1
    )
    async with S3Storage(config) as storage:
        await storage.ensure_bucket()
        await storage.put_file("old", tmp_path / "in")
        await asyncio.to_thread(s3_server.kill)
        patient = storage.patient()
        both = asyncio.gather(patient.put_file("new", tmp_path / "in"), patient.get_bytes("old"))
        await until(lambda: storage.outage)
        with pytest.raises(StorageError):
            await storage.get_bytes("old")
        await asyncio.to_thread(s3_server.restart)
        _, old = await asyncio.wait_for(both, 60)
        assert old == await storage.get_bytes("new") == data
        assert storage.outage is None


class ObservedFile(LocalFile):
    """A file that tells where it is read, before it is."""

    def __init__(self, path: Path, on_read: Callable[[int], object] = lambda _: None) -> None:
        super().__init__(path)
        self.reads: list[tuple[int, int]] = []
        self._on_read = on_read

    def read(self, offset: int, length: int) -> bytes:
        self._on_read(offset)
        data = super().read(offset, length)
        self.reads.append((offset, len(data)))
        return data
