"""A client and a service on in-memory ports; a supervisor of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docnats.service import S3DocumentClient, S3DocumentService
from docnats.stack.client import Supervisor
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


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor.launch(tmp_path)
    yield supervisor
    supervisor.close()
