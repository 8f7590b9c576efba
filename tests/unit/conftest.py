"""A client and a service on in-memory ports."""

from __future__ import annotations

import pytest

from docnats.service import S3DocumentClient, S3DocumentService
from tests.fakes.bus import FakeBus
from tests.fakes.storage import FakeStorage


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def storage() -> FakeStorage:
    storage = FakeStorage()
    storage.buckets[storage.bucket] = {}
    return storage


@pytest.fixture
def client(bus: FakeBus, storage: FakeStorage) -> S3DocumentClient:
    client = S3DocumentClient()
    client._ports = (bus, storage)
    return client


@pytest.fixture
def service(bus: FakeBus, storage: FakeStorage) -> S3DocumentService:
    service = S3DocumentService()
    service._ports = (bus, storage)
    return service
