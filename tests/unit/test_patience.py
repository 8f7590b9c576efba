"""Storage that waits while the store is out of reach, and for how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from docnats.errors import ObjectMissing, StorageError
from docnats.storage import PatientStorage, StoredObject, patient
from tests.fakes.storage import FakeStorage
from tests.waiting import until


class Fragile(FakeStorage):
    """A store that is out of reach while it is ``down``, and for the keys in ``cursed``."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets[self.bucket] = {}
        self.down = False
        self.cursed: set[str] = set()
        self.attempts = 0
        self.breaks_after: int | None = None

    def check(self, key: str = "") -> None:
        self.attempts += 1
        if self.down or key in self.cursed:
            raise StorageError("no connection", transient=True)

    async def put_bytes(self, key: str, data: bytes) -> StoredObject:
        self.check(key)
        return await super().put_bytes(key, data)

    async def get_bytes(self, key: str, *, bucket: str | None = None) -> bytes:
        self.check(key)
        return await super().get_bytes(key, bucket=bucket)

    async def list(self, prefix: str, *, bucket: str | None = None) -> AsyncIterator[StoredObject]:
        self.check()
        async for stored in super().list(prefix, bucket=bucket):
            if self.breaks_after == 0:
                self.breaks_after = None
                raise StorageError("broke off", transient=True)
            if self.breaks_after is not None:
                self.breaks_after -= 1
            yield stored


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(patient, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def store() -> Fragile:
    return Fragile()


async def waits(storage: PatientStorage) -> None:
    await until(lambda: storage.outage)


async def test_a_call_waits_until_the_store_is_back_and_says_so(store: Fragile) -> None:
    storage = PatientStorage(store, 60)
    assert storage.outage is None
    store.down = True
    putting = asyncio.create_task(storage.put_bytes("k", b"data"))
    await waits(storage)
    assert not putting.done()
    store.down = False
    await putting
    assert storage.outage is None
    assert await storage.get_bytes("k") == b"data"


@pytest.mark.parametrize("error", [StorageError("no credentials"), OSError("gone")])
async def test_what_is_wrong_with_the_call_itself_is_raised_at_once(
    store: Fragile, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def refuse(key: str, path: Path) -> StoredObject:
        raise error

    monkeypatch.setattr(store, "put_file", refuse)
    with pytest.raises(type(error), match=str(error)):
        await PatientStorage(store, 60).put_file("k", Path("x.pdf"))


async def test_the_users_random_numbers_are_left_alone(store: Fragile) -> None:
    """Who has seeded them gets the same ones, whatever goes on in the background."""
    store.down = True
    before = random.getstate()
    with pytest.raises(StorageError):
        await PatientStorage(store, 0.1).put_bytes("k", b"")
    assert store.attempts > 1
    assert random.getstate() == before


async def test_a_missing_object_is_an_answer(store: Fragile) -> None:
    with pytest.raises(ObjectMissing):
        await PatientStorage(store, 60).get_bytes("k")


async def test_after_the_limit_the_error_says_since_when(store: Fragile) -> None:
    storage = PatientStorage(store, 0.05)
    store.down = True
    with pytest.raises(StorageError, match=r"no connection.*since \d\d:\d\d:\d\d UTC") as caught:
        await storage.put_bytes("k", b"data")
    assert caught.value.transient
    assert storage.outage is None


async def test_the_limit_holds_for_all_calls_together(store: Fragile) -> None:
    """Hundreds of files do not each wait for the limit, or for the time-outs of the client."""
    storage = PatientStorage(store, 0.05)
    store.down = True
    with pytest.raises(StorageError):
        await storage.put_bytes("0", b"")
    attempts = store.attempts
    for n in range(1, 500):
        with pytest.raises(StorageError, match=r"not tried any more.* since"):
            await storage.put_bytes(str(n), b"")
    await storage.delete([])
    assert store.attempts == attempts


async def test_after_it_was_given_up_a_later_call_tries_anew(
    store: Fragile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient, "GIVEN_UP_SECONDS", 0.0)
    storage = PatientStorage(store, 0.05)
    store.down = True
    with pytest.raises(StorageError):
        await storage.put_bytes("k", b"")
    putting = asyncio.create_task(storage.put_bytes("k", b"data"))
    await waits(storage)
    store.down = False
    await putting


async def test_one_object_that_alone_fails_is_no_outage_and_has_the_limit_for_itself(
    store: Fragile,
) -> None:
    storage = PatientStorage(store, 0.3)
    store.cursed = {"cursed"}
    putting = asyncio.create_task(storage.put_bytes("cursed", b""))
    await waits(storage)
    await storage.put_bytes("good", b"")
    assert storage.outage is None
    with pytest.raises(StorageError):
        await putting
    await storage.put_bytes("also good", b"")


async def test_a_call_that_is_cancelled_waits_no_more(store: Fragile) -> None:
    storage = PatientStorage(store, 60)
    store.down = True
    putting = asyncio.create_task(storage.put_bytes("k", b""))
    await waits(storage)
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)
    assert storage.outage is None


async def test_a_listing_that_breaks_off_goes_on_where_it_was(store: Fragile) -> None:
    storage = PatientStorage(store, 60)
    keys = [f"raw/{n}" for n in range(5)]
    for key in keys:
        await storage.put_bytes(key, b"")
    store.breaks_after = 3
    assert [stored.key async for stored in storage.list("raw/")] == keys
    assert store.breaks_after is None
