"""The NATS Object Store as storage: the port's suite but for presigned URLs, then its own."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import nats
import pytest
import pytest_asyncio
from nats.js.errors import ObjectNotFoundError
from nats.js.object_store import ObjectStore

from docnats.bus import NatsObjects
from docnats.bus import objects as objects_module
from docnats.bus.object_format import described
from docnats.bus.stream import last_message, purge
from docnats.config import NatsConfig
from docnats.errors import ObjectMissing, StorageError
from docnats.models import UnfinishedUpload, utc_now
from docnats.names import Names, ObjectNames, kept_in_nats
from docnats.stack.environment import nats_variables, storage_variables
from docnats.storage import ObjectStorage
from docnats.storage.content import LocalFile, Outgoing
from tests.conftest import RestartableServer
from tests.ports.test_storage import BeginUpload, LeanTransfers, StoragePort, sha256, some_bytes
from tests.waiting import until

MIB = 1024 * 1024


@pytest_asyncio.fixture
async def objects(nats_config: NatsConfig) -> AsyncIterator[NatsObjects]:
    bucket = NatsObjects(nats_config)
    async with bucket:
        await bucket.ensure()
        yield bucket


@asynccontextmanager
async def opened(config: NatsConfig) -> AsyncIterator[ObjectStorage]:
    bucket = NatsObjects(config)
    async with ObjectStorage(bucket, outage_limit=60) as storage:
        await storage.ensure_bucket()
        yield storage


@pytest_asyncio.fixture
async def store(nats_config: NatsConfig) -> AsyncIterator[ObjectStorage]:
    async with opened(nats_config) as storage:
        yield storage


@asynccontextmanager
async def other_client(config: NatsConfig, bucket: str) -> AsyncIterator[ObjectStore]:
    """Open a bucket with nats-py's own client."""
    client = await nats.connect(nats_variables(config)["NATS_URL"])
    try:
        yield await client.jetstream().object_store(bucket)
    finally:
        await client.close()


async def begin_upload(objects: NatsObjects, key: str, size: int) -> None:
    """Send chunks and no description, as a writer that dies on the way."""
    await objects._writer(key).send(some_bytes(size))


def begin_upload_on(storage: ObjectStorage) -> BeginUpload:
    objects = storage._objects
    assert isinstance(objects, NatsObjects)
    return lambda key: begin_upload(objects, key, 5 * MIB)


class TestObjectStorage(StoragePort, LeanTransfers):
    most_memory = 120

    @pytest.fixture
    def variables(self, store: ObjectStorage, nats_config: NatsConfig) -> dict[str, str]:
        return storage_variables(None) | nats_variables(nats_config)

    @pytest.fixture
    def storage(self, store: ObjectStorage) -> ObjectStorage:
        return store

    @pytest.fixture
    def begin_upload(self, storage: ObjectStorage) -> BeginUpload:
        return begin_upload_on(storage)

    async def test_it_says_that_it_has_no_presigned_urls(self, storage: ObjectStorage) -> None:
        for presigning in (storage.presign_get("k"), storage.presign_put("k")):
            with pytest.raises(StorageError, match="Use S3") as caught:
                await presigning
            assert not caught.value.transient


class TestObjectStorageOnACluster(StoragePort):
    """Three copies: what was written is read, whichever server answers."""

    @pytest_asyncio.fixture
    async def storage(self, cluster_config: NatsConfig) -> AsyncIterator[ObjectStorage]:
        async with opened(cluster_config) as storage:
            yield storage

    @pytest.fixture
    def begin_upload(self, storage: ObjectStorage) -> BeginUpload:
        return begin_upload_on(storage)


# --- the format


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 3 * MIB + 1])
async def test_nats_py_reads_what_docnats_wrote(
    store: ObjectStorage, nats_config: NatsConfig, size: int
) -> None:
    stored = await store.put_bytes("raw/Grüße №1.pdf", data := some_bytes(size))
    async with other_client(nats_config, store.bucket) as other:
        got = await other.get("raw/Grüße №1.pdf")
        assert got.data == data
        assert got.info.size == stored.size == size
        assert [info.name for info in await other.list()] == ["raw/Grüße №1.pdf"]
        await store.delete(["raw/Grüße №1.pdf"])
        with pytest.raises(ObjectNotFoundError):
            await other.get("raw/Grüße №1.pdf")


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 1])
async def test_docnats_reads_what_nats_py_wrote(
    store: ObjectStorage, nats_config: NatsConfig, size: int, tmp_path: Path
) -> None:
    data = some_bytes(size)
    async with other_client(nats_config, store.bucket) as other:
        await other.put("k", io.BytesIO(data))
        stored = await store.get_file("k", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert (stored.size, stored.sha256) == (size, sha256(data))
        await store.put_bytes("k", b"ours")
        assert (await other.get("k")).data == b"ours"
        await other.delete("k")
        assert [found async for found in store.list("")] == []
        with pytest.raises(ObjectMissing):
            await store.get_bytes("k")
        await store.put_bytes("k", b"again")
        assert await store.get_bytes("k") == b"again"


async def test_a_bucket_that_another_client_made_is_read(
    nats_config: NatsConfig, store: ObjectStorage
) -> None:
    name = f"theirs-{uuid4().hex[:8]}"
    client = await nats.connect(nats_variables(nats_config)["NATS_URL"])
    other = await client.jetstream().create_object_store(name)
    await other.put("a/1.pdf", b"one")
    assert [found.key async for found in store.list("a/", bucket=name)] == ["a/1.pdf"]
    assert await store.get_bytes("a/1.pdf", bucket=name) == b"one"
    await client.close()


def test_its_bucket_is_never_taken_for_one_in_s3() -> None:
    for namespace in ("default", "a_b", "A-1"):
        assert kept_in_nats(Names(namespace).objects_bucket)
    for bucket in ("documents", "docnats-default-objects", "docnats.default.objects"):
        assert not kept_in_nats(bucket)


# --- whole or not at all


async def messages(objects: NatsObjects) -> int:
    names = ObjectNames(objects.bucket)
    info = await objects._connection.api(f"STREAM.INFO.{names.stream}")
    count: int = info["state"]["messages"]
    return count


async def upload_of(objects: NatsObjects, key: str) -> str:
    """Return what names an object's chunks."""
    names = ObjectNames(objects.bucket)
    last = await last_message(objects._connection, names.stream, names.meta_subject(key))
    found = described(names, last)
    assert found is not None
    return found.upload_id


async def lose_chunks(objects: NatsObjects, key: str) -> str:
    """Delete an object's chunks, as only a fault does; return their subject."""
    names = ObjectNames(objects.bucket)
    subject = names.chunks_subject(await upload_of(objects, key))
    assert await purge(objects._connection, names.stream, [subject]) > 0
    return subject


async def failing(after: int) -> AsyncIterator[bytes]:
    for _ in range(after):
        yield some_bytes(MIB)
    raise OSError("gone")


async def test_a_write_that_fails_leaves_the_object_as_it_was(objects: NatsObjects) -> None:
    store = ObjectStorage(objects)
    await store.put_bytes("k", b"as before")
    before = await messages(objects)
    with pytest.raises(OSError, match="gone"):
        await objects.put("k", failing(3))
    assert await store.get_bytes("k") == b"as before"
    assert await messages(objects) == before


async def test_a_write_that_is_cancelled_leaves_nothing(objects: NatsObjects) -> None:
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield some_bytes(MIB)
        reached.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(objects.put("k", endless()))
    await asyncio.wait_for(reached.wait(), 20)
    assert await messages(objects) == 8
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await messages(objects) == 0
    assert await objects.find("") == []


async def test_a_writer_that_dies_leaves_chunks_that_are_no_object(objects: NatsObjects) -> None:
    await begin_upload(objects, "k", MIB)
    store = ObjectStorage(objects)
    assert [found async for found in store.list("")] == []
    with pytest.raises(ObjectMissing):
        await store.get_bytes("k")
    (upload,) = [upload async for upload in store.unfinished()]
    assert (upload.key, upload.size) == ("k", MIB)
    await store.abort([upload])
    assert await messages(objects) == 0


async def test_chunks_that_became_an_object_meanwhile_are_not_deleted(
    objects: NatsObjects,
) -> None:
    store = ObjectStorage(objects)
    await store.put_bytes("k", b"x")
    await objects.discard([UnfinishedUpload("k", await upload_of(objects, "k"), 1, utc_now())])
    assert await store.get_bytes("k") == b"x"


async def test_nothing_is_left_of_what_was_replaced_or_deleted(objects: NatsObjects) -> None:
    store = ObjectStorage(objects)
    for size in (3 * MIB, 10, 0, MIB):
        await store.put_bytes("k", some_bytes(size))
    assert await messages(objects) == 9
    await store.delete(["k"])
    assert await messages(objects) == 0


async def test_writers_of_one_key_leave_one_whole_object(objects: NatsObjects) -> None:
    """As two workers that have the same job."""
    store = ObjectStorage(objects)
    sizes = [MIB + number for number in range(8)]
    await asyncio.gather(*(store.put_bytes("k", some_bytes(size)) for size in sizes))
    assert len(await store.get_bytes("k")) in sizes
    assert await messages(objects) == 10  # nine chunks and a description
    assert [found async for found in store.unfinished()] == []


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_a_reader_meets_the_old_or_the_new_object_while_it_is_replaced(
    objects: NatsObjects, tmp_path: Path, size: int
) -> None:
    store = ObjectStorage(objects)
    versions = {sha256(some_bytes(size + n)): n for n in range(12)}
    await store.put_bytes("k", some_bytes(size))

    async def replace() -> None:
        for number in range(1, 12):
            await store.put_bytes("k", some_bytes(size + number))

    replacing = asyncio.create_task(replace())
    while not replacing.done():
        stored = await store.get_file("k", tmp_path / "out")
        assert sha256((tmp_path / "out").read_bytes()) == stored.sha256
        assert stored.sha256 in versions
    await replacing


async def test_damage_is_told_and_nothing_is_written(
    objects: NatsObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStorage(objects)
    await store.put_bytes("k", some_bytes(10))
    subject = await lose_chunks(objects, "k")
    (await objects._connection.ask(subject, b"0123456789")).json()
    with pytest.raises(StorageError, match="damaged") as caught:
        await store.get_file("k", tmp_path / "out")
    assert not caught.value.transient
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [10, MIB])
async def test_lost_chunks_are_a_passing_fault_after_a_while(
    objects: NatsObjects, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    store = ObjectStorage(objects)
    await store.put_bytes("k", some_bytes(size))
    await lose_chunks(objects, "k")
    hasty = objects._connection.config.but(request_timeout=0.3)
    monkeypatch.setattr(objects._connection, "config", hasty)
    with pytest.raises(StorageError, match="chunks of it are missing") as caught:
        await store.get_bytes("k")
    assert caught.value.transient


# --- faults


async def test_a_patient_upload_and_download_outlast_a_restart(
    nats_server: RestartableServer, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(data := some_bytes(12 * MIB))
    config = nats_server.config.but(request_timeout=1, connect_timeout=1)
    async with opened(config) as storage:
        await storage.put_file("old", tmp_path / "in")

        class Killing(LocalFile):
            killed = False

            def read(self, offset: int, length: int) -> bytes:
                if offset and not self.killed:
                    self.killed = True
                    nats_server.kill()
                return super().read(offset, length)

        content = Killing(tmp_path / "in")
        patient = storage.patient()
        writing = asyncio.create_task(
            patient._outlast(lambda: storage._objects.put("new", aiter(Outgoing(content))))
        )
        await until(lambda: storage.outage, within=30)
        reading = asyncio.create_task(patient.get_bytes("old"))
        with pytest.raises(StorageError) as caught:
            await storage.get_bytes("old")
        assert caught.value.transient
        await asyncio.to_thread(nats_server.restart)
        await asyncio.wait_for(writing, 60)
        assert await asyncio.wait_for(reading, 60) == data == await storage.get_bytes("new")


async def test_a_full_disk_is_told(nats_config: NatsConfig, objects: NatsObjects) -> None:
    names = ObjectNames(objects.bucket)
    settings = (await objects._connection.api(f"STREAM.INFO.{names.stream}"))["config"]
    await objects._connection.api(f"STREAM.UPDATE.{names.stream}", {**settings, "max_bytes": MIB})
    store = ObjectStorage(objects)
    with pytest.raises(StorageError, match="maximum bytes") as caught:
        await store.put_bytes("k", some_bytes(2 * MIB))
    assert not caught.value.transient
    assert await messages(objects) == 0


async def test_a_server_that_takes_small_messages_only_is_told(
    objects: NatsObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_module, "ROOM", MIB)  # its limit is 1 MiB
    with pytest.raises(StorageError, match="raise max_payload"):
        await objects.ensure()


async def test_many_objects_are_listed_from_their_descriptions(
    objects: NatsObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStorage(objects)
    for name in ("a/2", "a/1", "b/1"):
        await store.put_bytes(name, name.encode())
    one_by_one = await objects.find("a/")
    monkeypatch.setattr(objects_module, "SINGLY", 0)
    together = await objects.find("a/")
    # Not the times: nats-py rounds a nanosecond otherwise.
    assert [(one.key, one.size, one.sha256) for one in together] == [
        (one.key, one.size, one.sha256) for one in one_by_one
    ]
    assert [one.key for one in together] == ["a/1", "a/2"]


async def test_pyarrow_reads_large_objects_and_closes_its_thread(
    store: ObjectStorage, nats_config: NatsConfig
) -> None:
    await store.put_bytes("k", data := some_bytes(3 * MIB))
    files = await store.filesystem()
    with files.open_input_file(f"{store.bucket}/k") as file:
        assert file.size() == len(data)
        file.seek(2 * MIB)
        assert file.read(10) == data[2 * MIB : 2 * MIB + 10]
    assert await store.filesystem() is files
    (info,) = files.get_file_info([f"{store.bucket}/k"])
    assert info.size == len(data)
    with pytest.raises(OSError, match="read here"):
        files.delete_file(f"{store.bucket}/k")
