"""A cluster that all port tests share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from docnats.bus import schema
from docnats.config import NatsConfig
from tests.cluster import Cluster, running_cluster


@pytest.fixture(autouse=True)
def _fewer_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tests use them all up; those of the real thing take seconds."""
    monkeypatch.setattr(schema, "HAND_BACKS", 50)


@pytest.fixture(scope="session")
def _session_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster_config(_session_cluster: Cluster) -> NatsConfig:
    """Return how to reach a running cluster, with a namespace of the test's own."""
    return _session_cluster.config.but(
        namespace=f"test-{uuid.uuid4().hex[:12]}", connect_timeout=5, request_timeout=10
    )
