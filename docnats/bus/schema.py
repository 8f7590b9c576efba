"""What docnats creates on the server: streams, the workers' consumer, buckets.

The settings are those of JetStream's wire API, in which durations are nanoseconds and a KV
bucket is a stream named ``KV_…`` that keeps one message a subject.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from docnats.bus.connection import Connection
from docnats.bus.exchange import Refusal
from docnats.bus.inbox import Denied
from docnats.config import NatsConfig
from docnats.errors import BusError
from docnats.names import Names

__all__ = ["HAND_BACKS", "MAX_POISON", "WORKER_TTL", "check_there", "ensure", "ensure_stream"]

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_DAY = 24 * 3600 * _SECOND

WORKER_TTL = 15.0
"""Seconds after which the registry forgets a worker: three of its heartbeats."""

DEDUP_WINDOW = 120 * _SECOND
"""How long JetStream remembers a ``Nats-Msg-Id``; its own default."""

KEPT = 30 * _DAY
"""How long dead letters and advisories are kept for the operator, and notes on poison."""

MAX_POISON = 10_000
"""Notes on poison, 13 MB in each worker, which holds them all. The oldest make room."""

MAX_RESULTS = 1_000_000
"""Known results, about half a GB on disk; the oldest make room."""

MAX_WAITING = 8192
"""Workers that may wait for a job at a time; it cannot be changed later."""

HAND_BACKS = 430
"""Deliveries beside those that workers die of, which are counted in the job's record: 360 for jobs
that are passed on by workers without their processor, or wait for somebody who signs URLs, 14
retries after passing faults, the rest for workers that are told to stop and for messages lost with
a connection. A job that uses them all up is beyond the workers' help: a dead letter."""

RECONCILE_SECONDS = 30
"""Time to put one advisory right; after it somebody else gets it."""

NAME_TAKEN = 10058
"""JetStream's error for a stream that exists with other settings."""


_QUEUE = {
    "retention": "workqueue",
    "discard": "new",
    "discard_new_per_subject": True,
    "max_msgs_per_subject": 1,
    "duplicate_window": DEDUP_WINDOW,
}

_NOTICES = {"retention": "limits", "discard": "old", "max_age": KEPT}

_BUCKET = {
    "retention": "limits",
    "discard": "new",
    "max_msgs_per_subject": 1,
    "allow_rollup_hdrs": True,
    "allow_direct": True,
    "deny_delete": True,
}


async def ensure(connection: Connection, names: Names) -> None:
    """Create what is missing and update what differs; safe to call from many at a time.

    Settings that docnats does not set, such as placement, stay as an operator made them. A user
    who may not create anything goes on with what is there.

    Raises
    ------
    BusError
        JetStream is not enabled, something of that name exists and cannot be changed, or
        something is missing that this user may not create.
    """
    await _check_jetstream(connection)
    streams = _streams(names, connection.config.replicas)
    consumers = {
        names.jobs_stream: _workers(names, connection.config),
        names.advisories_stream: _reconcilers(names),
    }
    try:
        for settings in streams:
            await ensure_stream(connection, settings)
        for stream, settings in consumers.items():
            await _ensure_consumer(connection, stream, settings)
    except Denied as denied:
        log.debug("streams and consumers are left as they are: %s", denied)
        for settings in streams:
            await check_there(connection, f"STREAM.INFO.{settings['name']}")
        for stream, settings in consumers.items():
            await check_there(connection, f"CONSUMER.INFO.{stream}.{settings['name']}")


async def _check_jetstream(connection: Connection) -> None:
    """Ask JetStream how it is; where there is none, nobody answers or the account is refused."""
    try:
        await connection.api("INFO", patience=0)
    except Denied:  # it is there
        raise
    except BusError as error:
        raise BusError(
            f"JetStream is not available: {error}. Start nats-server with -js, or with a "
            "jetstream block for this user's account"
        ) from error


async def ensure_stream(connection: Connection, settings: Mapping[str, Any]) -> None:
    """Create a stream, or update what differs; see :func:`ensure`."""
    name = settings["name"]
    try:
        await connection.api(f"STREAM.CREATE.{name}", settings)
    except Refusal as refusal:
        if refusal.code != NAME_TAKEN:
            raise _incompatible(f"stream {name}", refusal) from refusal
        await _update_stream(connection, settings)


async def _update_stream(connection: Connection, settings: Mapping[str, Any]) -> None:
    name = settings["name"]
    current = (await connection.api(f"STREAM.INFO.{name}"))["config"]
    different = ", ".join(key for key, value in settings.items() if current.get(key) != value)
    if not different:
        return
    try:
        await connection.api(f"STREAM.UPDATE.{name}", {**current, **settings})
    except Refusal as refusal:
        raise _incompatible(f"stream {name} ({different})", refusal) from refusal
    log.info("updated %s of the stream %s", different, name)


async def _ensure_consumer(
    connection: Connection, stream: str, settings: Mapping[str, Any]
) -> None:
    endpoint = f"{stream}.{settings['name']}"
    if "filter_subject" in settings:
        endpoint += f".{settings['filter_subject']}"
    try:
        await connection.api(
            f"CONSUMER.CREATE.{endpoint}", {"stream_name": stream, "config": settings}
        )
    except Refusal as refusal:
        raise _incompatible(f"consumer {settings['name']} of {stream}", refusal) from refusal


async def check_there(connection: Connection, info: str) -> None:
    """Raise a :class:`BusError` unless a stream or consumer that may not be created exists."""
    try:
        await connection.api(info)
    except Refusal as refusal:
        kind, _, name = info.partition(".INFO.")
        raise BusError(
            f"there is no {kind.lower()} {name}, and this user may not create it: run `docnats "
            "health` once as a user who may, see deploy/nats"
        ) from refusal


def _incompatible(what: str, refusal: Refusal) -> BusError:
    return BusError(
        f"NATS does not create or change the {what}: {refusal.description}. If it exists with "
        "other settings, remove it with the `nats` tool or set another DOCNATS_NAMESPACE"
    )


def _streams(names: Names, replicas: int) -> list[dict[str, Any]]:
    ttl = int(WORKER_TTL * _SECOND)
    streams: list[tuple[str, list[str], Mapping[str, Any]]] = [
        (names.jobs_stream, [names.jobs_filter], _QUEUE),
        (names.dead_letters_stream, [names.dead_letters_filter], _NOTICES),
        (names.advisories_stream, [*names.advisories_filters], _NOTICES),
        (names.states_stream, [names.states_filter], _BUCKET),
        (
            names.workers_stream,
            [names.workers_filter],
            {**_BUCKET, "max_age": ttl, "duplicate_window": ttl},
        ),
        (
            names.poison_stream,
            [names.poison_filter],
            {**_BUCKET, "discard": "old", "max_msgs": MAX_POISON, "max_age": KEPT},
        ),
        (
            names.results_stream,
            [names.results_filter],
            {**_BUCKET, "discard": "old", "max_msgs": MAX_RESULTS},
        ),
        (names.sending_stream, [names.sending_filter], _BUCKET),
        (names.archives_stream, [names.archives_filter], _BUCKET),
    ]
    common = {"num_replicas": replicas, "storage": "file"}
    return [
        {**common, "name": name, "subjects": subjects, **settings}
        for name, subjects, settings in streams
    ]


def _workers(names: Names, config: NatsConfig) -> dict[str, Any]:
    # Without a filter: with one, nats-server looks through all subjects for each job it hands
    # out. A second priority would be a stream of its own.
    return {
        "name": names.consumer(),
        "durable_name": names.consumer(),
        "ack_policy": "explicit",
        "ack_wait": int(config.ack_wait * _SECOND),
        "max_deliver": config.max_deliver + HAND_BACKS,
        "max_ack_pending": config.max_ack_pending,
        "max_waiting": MAX_WAITING,
    }


def _reconcilers(names: Names) -> dict[str, Any]:
    return {
        "name": names.reconcilers,
        "durable_name": names.reconcilers,
        "ack_policy": "explicit",
        "ack_wait": RECONCILE_SECONDS * _SECOND,
    }
