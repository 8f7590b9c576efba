"""The bus on a real server when something goes wrong, and what is NATS' alone."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from operator import not_
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg

from docnats.bus import NatsBus, PoisonEntry, StateEntry, bucket, schema
from docnats.bus.link import Link
from docnats.config import NatsConfig, StackConfig
from docnats.errors import BusError, ConfigError, StateConflict
from docnats.models import JobState, PageProgress
from docnats.names import Names
from docnats.stack.binaries import find_nats_server
from tests.conftest import RestartableServer
from tests.job_table import write_new
from tests.ports.test_bus import (
    KEY,
    LIMIT,
    begun_hearing,
    begun_pull,
    counted,
    message,
    poison,
    pull_all,
    pull_one,
    record,
    worker,
)
from tests.waiting import eventually, until


@pytest_asyncio.fixture
async def bus(nats_config: NatsConfig) -> AsyncIterator[NatsBus]:
    async with NatsBus(nats_config) as bus:
        await bus.ensure()
        yield bus


@pytest_asyncio.fixture
async def fragile(nats_server: RestartableServer) -> AsyncIterator[NatsBus]:
    """Yield a bus to the server that ``nats_server`` kills and restarts."""
    async with NatsBus(nats_server.config.but(request_timeout=LIMIT)) as bus:
        await bus.ensure()
        yield bus


async def api(bus: NatsBus, endpoint: str, **body: Any) -> dict[str, Any]:
    return await bus._connection.api(endpoint, body)


def names_of(bus: NatsBus) -> Names:
    return Names(bus._connection.config.namespace)


async def crash(server: RestartableServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.restart)


async def noticed_outage(bus: NatsBus) -> None:
    await until(lambda: bus.outage, within=LIMIT)


# --- reaching a server


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def connecting(config: NatsConfig) -> str:
    """Return the error of connecting, which must come."""
    with pytest.raises(BusError) as caught:
        async with NatsBus(config):
            pass
    return str(caught.value)


async def test_where_nothing_listens_the_error_names_the_servers_and_nats_url() -> None:
    servers = [f"nats://127.0.0.1:{free_port()}" for _ in range(2)]
    error = await connecting(NatsConfig(servers=servers, connect_timeout=2))
    assert all(f"nothing listens at {server}" in error for server in servers)
    assert "NATS_URL" in error


async def test_the_users_random_numbers_are_left_alone_while_it_connects_again(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    """Who has seeded them gets the same ones, whatever goes on in the background."""
    before = random.getstate()
    await asyncio.to_thread(nats_server.kill)
    await noticed_outage(fragile)
    await asyncio.to_thread(nats_server.restart)
    await fragile.round_trip()
    assert random.getstate() == before


async def test_an_unknown_host_is_named() -> None:
    error = await connecting(NatsConfig(servers="nats://no-such-host.invalid:4222"))
    assert "no-such-host.invalid" in error


async def test_a_server_that_says_nothing_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        error = await connecting(NatsConfig(servers=url, connect_timeout=0.3))
    assert f"{url} did not answer within 0.3 s" in error


@pytest.mark.parametrize("wrong", [{"password": "not-it"}, {"user": None, "password": None}])
async def test_wrong_credentials_are_told_without_showing_them(
    nats_config: NatsConfig, wrong: dict[str, Any]
) -> None:
    error = await connecting(nats_config.but(**wrong))
    assert "refuses us" in error
    assert "NATS_PASSWORD" in error
    assert "not-it" not in error


async def test_of_several_servers_one_that_lives_is_enough(nats_config: NatsConfig) -> None:
    dead = [f"nats://127.0.0.1:{free_port()}" for _ in range(3)]
    async with NatsBus(nats_config.but(servers=[*dead, *nats_config.servers])) as bus:
        await bus.ensure()


@contextmanager
def nats_server_with(folder: Path, settings: str = "") -> Iterator[str]:
    """Run a nats-server and yield its ``host:port``; it is ready then."""
    config = folder / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:-1"\n{settings}')
    command = [find_nats_server(StackConfig()), "-c", config, "--ports_file_dir", folder]
    with subprocess.Popen([*map(str, command), "-l", str(folder / "nats.log")]) as server:
        try:
            ports = folder / f"nats-server_{server.pid}.ports"
            eventually(lambda: ports.exists() and ports.read_text(), within=LIMIT, what=str(ports))
            yield urlsplit(json.loads(ports.read_text())["nats"][0]).netloc
        finally:
            server.terminate()


async def test_a_server_without_jetstream_is_told_at_once(tmp_path: Path) -> None:
    with nats_server_with(tmp_path) as server:
        async with asyncio.timeout(LIMIT), NatsBus(NatsConfig(servers=server)) as bus:
            with pytest.raises(BusError, match="JetStream is not available"):
                await bus.ensure()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate for 127.0.0.1; its key is in ``key.pem`` beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on PATH")
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = "-keyout key.pem -out cert.pem -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [openssl, *command.split(), *files.split()], cwd=tmp_path, check=True, capture_output=True
    )
    return tmp_path / "cert.pem"


async def test_a_token_and_a_private_certificate_authority_are_used(
    tmp_path: Path, certificate: Path
) -> None:
    settings = f"""
        authorization {{ token: "s3cret" }}
        tls {{ cert_file: "{certificate}", key_file: "{tmp_path / "key.pem"}" }}
        jetstream {{ store_dir: "{tmp_path / "js"}" }}
    """
    with nats_server_with(tmp_path, settings) as server:
        good = NatsConfig(servers=f"tls://s3cret@{server}", ca_file=certificate)
        async with NatsBus(good) as bus:
            await bus.ensure()
            assert await bus.round_trip() > 0
        assert "NATS_TOKEN" in await connecting(good.but(token="not-it"))  # noqa: S106
        assert "NATS_CA" in await connecting(good.but(ca_file=None))


async def test_nothing_works_before_entering_and_after_leaving(nats_config: NatsConfig) -> None:
    bus = NatsBus(nats_config)
    with pytest.raises(BusError, match="closed"):
        await bus.round_trip()
    async with bus:
        await bus.ensure()
    with pytest.raises(BusError, match="closed"):
        await bus.publish([message()])


async def test_leaving_ends_every_wait_and_leaves_no_task(nats_config: NatsConfig) -> None:
    before = asyncio.all_tasks()
    async with NatsBus(nats_config) as bus:
        await bus.ensure()
        watch, cancels = bus.watch("b"), bus.cancellations()
        assert await anext(watch) is None
        waiting = [asyncio.ensure_future(anext(it)) for it in (watch, cancels)]
        waiting.append(asyncio.create_task(bus.pull(1, 600)))  # type: ignore[arg-type]
        bus.tell_progress(PageProgress(job_id="j", batch="b", pages_done=1, pages=2))
        await bus.round_trip()
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), LIMIT)
    assert [type(outcome) for outcome in ended] == [BusError] * 3
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


# --- what is created


async def test_ensure_may_be_called_again_and_by_many(nats_config: NatsConfig) -> None:
    async with NatsBus(nats_config) as bus, NatsBus(nats_config) as other:
        await asyncio.gather(*(b.ensure() for b in (bus, other) for _ in range(4)))
        await bus.publish([message()])
        await other.ensure()
        assert await counted(other, 1) == (1, 0)


async def test_ensure_updates_what_the_server_lets_it(nats_config: NatsConfig) -> None:
    async with NatsBus(nats_config) as bus:
        await bus.ensure()
        names = names_of(bus)
        await api(bus, f"STREAM.PURGE.{names.jobs_stream}")
        info = await api(bus, f"STREAM.INFO.{names.dead_letters_stream}")
        config = {**info["config"], "max_age": 0, "max_bytes": 10_000_000}
        await api(bus, f"STREAM.UPDATE.{names.dead_letters_stream}", **config)
    changed = nats_config.but(ack_wait=77, max_deliver=9, max_ack_pending=123)
    async with NatsBus(changed) as bus:
        await bus.ensure()
        info = await api(bus, f"CONSUMER.INFO.{names.jobs_stream}.{names.consumer()}")
        assert info["config"]["ack_wait"] == 77e9
        assert info["config"]["max_deliver"] == 9 + schema.HAND_BACKS
        assert info["config"]["max_ack_pending"] == 123
        info = await api(bus, f"STREAM.INFO.{names.dead_letters_stream}")
        assert info["config"]["max_age"] == schema.KEPT
        assert info["config"]["max_bytes"] == 10_000_000, "an operator's own setting stays"


async def test_an_incompatible_stream_is_named(nats_config: NatsConfig) -> None:
    async with NatsBus(nats_config) as bus:
        names = names_of(bus)
        await api(
            bus,
            f"STREAM.CREATE.{names.jobs_stream}",
            name=names.jobs_stream,
            subjects=[names.jobs_filter],
            storage="memory",
        )
        with pytest.raises(BusError, match=f"{names.jobs_stream}.*DOCNATS_NAMESPACE"):
            await bus.ensure()


async def test_more_replicas_than_servers_are_refused_with_the_servers_words(
    nats_config: NatsConfig,
) -> None:
    async with NatsBus(nats_config.but(replicas=3)) as bus:
        with pytest.raises(BusError, match="replicas"):
            await bus.ensure()


async def test_two_namespaces_do_not_see_each_other(nats_config: NatsConfig) -> None:
    other_config = nats_config.but(namespace=f"{nats_config.namespace}-2")
    async with NatsBus(nats_config) as bus, NatsBus(other_config) as other:
        await asyncio.gather(bus.ensure(), other.ensure())
        await bus.publish([message()])
        await write_new(bus, [record()])
        assert await other.pull(1, 0.1) == []
        assert await other.states() == []


async def test_a_lease_is_counted_from_the_moment_it_was_asked_for(
    nats_config: NatsConfig,
) -> None:
    """A process that was stopped meanwhile cannot know how long a message lay there."""
    async with NatsBus(nats_config.but(ack_wait=1)) as bus:
        await bus.ensure()
        pull = await begun_pull(bus, 1, LIMIT)
        await asyncio.sleep(1.1)
        await bus.publish([message()])
        (lease,) = await pull
        assert lease.lapsed


# --- much at a time


async def test_2000_queued_jobs_are_dropped_at_once(bus: NatsBus) -> None:
    await bus.publish([message("gone") for _ in range(2000)])
    await bus.publish([kept := message("kept")])
    assert await counted(bus, 2001) == (2001, 0)
    assert await bus.drop_queued("gone") == 2000
    assert await counted(bus, 1) == (1, 0)
    assert (await pull_one(bus)).message == kept


async def test_many_jobs_of_a_batch_are_dropped_and_cancelled_in_one_call(bus: NatsBus) -> None:
    jobs = [message() for _ in range(600)]
    await bus.publish(jobs)
    *gone, kept = [job.request_id for job in jobs]
    assert await bus.drop_queued("b", gone) == 599
    assert await bus.drop_queued("b", [*gone, kept]) == 1
    assert await bus.drop_queued("b", []) == 0
    async with asyncio.timeout(LIMIT), aclosing(bus.cancellations()) as cancels:
        first = await begun_hearing(bus, cancels)
        await bus.broadcast_cancel("b", gone)
        heard = {(await first)[1]}
        while not heard.issuperset(gone):
            heard.add((await anext(cancels))[1])
    assert heard == set(gone)


async def test_more_records_than_one_pull_brings_are_read_and_watched(
    bus: NatsBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when their number is a multiple of it."""
    monkeypatch.setattr(bucket, "_WHAT_IS_THERE", bucket._Pull.of(10, 10, no_wait=True))
    jobs = [record() for _ in range(25)]
    written: dict[str, int] = {}
    for some in jobs[:20], jobs[20:]:
        revisions = await write_new(bus, some)
        written |= zip((job.job_id for job in some), revisions, strict=True)
        assert {e.record.job_id: e.revision for e in await bus.states("b")} == written
        watched: dict[str, int] = {}
        async with asyncio.timeout(LIMIT), aclosing(bus.watch("b")) as entries:
            async for entry in entries:
                if entry is None:
                    break
                watched[entry.record.job_id] = entry.revision
        assert watched == written


async def test_pulls_cancelled_at_any_moment_lose_nothing(nats_config: NatsConfig) -> None:
    """Jobs that had arrived come back at once, not only when their lease of 30 s is over."""
    sent = [message() for _ in range(40)]
    async with NatsBus(nats_config.but(max_deliver=100)) as bus:
        await bus.ensure()
        publishing = asyncio.create_task(slowly(bus, sent))
        for i in range(60):
            pull = asyncio.create_task(bus.pull(5, 5))
            await asyncio.sleep(random.Random(i).random() / 100)  # noqa: S311 - spreads the cancels
            pull.cancel()
            (outcome,) = await asyncio.gather(pull, return_exceptions=True)
            if isinstance(outcome, list):
                await asyncio.gather(*(lease.release() for lease in outcome))
        await publishing
        leases = await pull_all(bus, 40)
    assert {lease.message.request_id for lease in leases} == {job.request_id for job in sent}


async def set_up(server: RestartableServer) -> None:
    """Create the streams with the usual patience; what comes next has little."""
    async with NatsBus(server.config) as bus:
        await bus.ensure()


async def slowly(bus: NatsBus, jobs: list[Any]) -> None:
    for job in jobs:
        await bus.publish([job])
        await asyncio.sleep(0.01)


# --- a lost answer


class Losses:
    """Loses the connection in place of the next answers."""

    def __init__(self) -> None:
        self.coming = 0

    def __call__(self) -> bool:
        self.coming -= 1
        return self.coming >= 0


@pytest_asyncio.fixture
async def lossy(
    nats_config: NatsConfig, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[NatsBus, Losses]]:
    """Yield a bus that loses as many of the next answers as it is told to."""
    lost = Losses()
    answer = Link._on_answer

    async def take(link: Link, arrived: Msg) -> None:
        if lost():
            link.lose()
        else:
            await answer(link, arrived)

    monkeypatch.setattr(Link, "_on_answer", take)
    async with NatsBus(nats_config.but(request_timeout=2)) as bus:
        await bus.ensure()
        yield bus, lost


async def test_an_update_whose_answer_was_lost_is_known_as_ones_own(
    lossy: tuple[NatsBus, Losses],
) -> None:
    bus, lost = lossy
    (revision,) = await write_new(bus, [job := record()])
    running = job.but(state=JobState.RUNNING)
    lost.coming = 1
    written = await bus.update_state(running, revision)
    assert await bus.get_state("b", job.job_id) == StateEntry(running, written)
    lost.coming = 1
    with pytest.raises(StateConflict):
        await bus.update_state(job.but(state=JobState.DONE), revision)
    assert lost.coming < 0


async def test_a_job_whose_answer_was_lost_is_queued_once(
    lossy: tuple[NatsBus, Losses],
) -> None:
    bus, lost = lossy
    lost.coming = 1
    await bus.publish([message(), message()])
    assert lost.coming < 0
    assert await counted(bus, 2) == (2, 0)


async def test_an_ack_whose_answer_was_lost_is_sent_again(
    lossy: tuple[NatsBus, Losses],
) -> None:
    bus, lost = lossy
    await bus.publish([message()])
    lease = await pull_one(bus)
    lost.coming = 1
    await lease.ack()
    assert lost.coming < 0
    assert await bus.backlog() == (0, 0)


async def test_when_no_answer_ever_comes_the_wait_is_bounded(
    lossy: tuple[NatsBus, Losses],
) -> None:
    bus, lost = lossy
    lost.coming = 1_000_000
    with pytest.raises(BusError):
        await bus.round_trip()
    lost.coming = 0
    assert await bus.round_trip() > 0


# --- a server that dies


async def test_a_waiting_pull_survives_a_crash_of_the_server(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    pull = await begun_pull(fragile, 1, 2 * LIMIT)
    await crash(nats_server)
    await fragile.publish([sent := message()])
    (lease,) = await asyncio.wait_for(pull, LIMIT)
    assert (lease.message, lease.attempt) == (sent, 1)


async def test_queue_leases_and_states_survive_a_crash_of_the_server(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    jobs = [message(), message()]
    await fragile.publish(jobs)
    lease = await pull_one(fragile)
    (revision,) = await write_new(fragile, [state := record()])
    await crash(nats_server)
    await lease.renew()
    await lease.ack()
    assert (await pull_one(fragile)).message == jobs[1]
    assert await fragile.states("b") == [StateEntry(state, revision)]
    assert await fragile.update_state(state.but(state=JobState.QUEUED), revision) > revision


async def test_what_is_asked_during_an_outage_is_done_after_it(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    await asyncio.to_thread(nats_server.kill)
    jobs = [message() for _ in range(50)]
    asked = asyncio.gather(
        fragile.publish(jobs), write_new(fragile, [record()]), fragile.announce(worker("w"))
    )
    await noticed_outage(fragile)
    assert not asked.done()
    await asyncio.to_thread(nats_server.restart)
    await asyncio.wait_for(asked, LIMIT)
    assert await counted(fragile, 50) == (50, 0)
    assert len(await fragile.states()) == 1


async def test_a_crash_amid_ten_thousand_writes_loses_none(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    stream = names_of(fragile).states_stream
    jobs = [record(position=i) for i in range(10_000)]
    writing = asyncio.create_task(write_new(fragile, jobs))
    stored = 0
    while not stored:
        stored = (await api(fragile, f"STREAM.INFO.{stream}"))["state"]["messages"]
    assert stored < 10_000
    await crash(nats_server)
    revisions = await asyncio.wait_for(writing, 2 * LIMIT)
    entries = {entry.record.position: entry for entry in await fragile.states("b")}
    assert [entries[i].record for i in range(10_000)] == jobs
    assert [entries[i].revision for i in range(10_000)] == revisions


async def test_a_watch_gives_current_and_later_states_after_a_crash(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    one, two = record(), record()
    async with asyncio.timeout(2 * LIMIT), aclosing(fragile.watch("b")) as entries:
        await write_new(fragile, [one])
        seen = [await anext(entries), await anext(entries)]
        assert None in seen
        following = asyncio.create_task(entries_up_to(entries, two.job_id))
        await crash(nats_server)
        await write_new(fragile, [two])
        found = await following
    assert None not in found, "the mark comes once"
    assert {entry.record.job_id for entry in found if entry} >= {one.job_id, two.job_id}


async def entries_up_to(entries: Any, job_id: str) -> list[StateEntry | None]:
    found = []
    async for entry in entries:
        found.append(entry)
        if entry is not None and entry.record.job_id == job_id:
            break
    return found


async def test_progress_and_cancels_are_heard_after_a_crash(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    told = PageProgress(job_id="j", batch="b", pages_done=1, pages=2)
    async with (
        asyncio.timeout(2 * LIMIT),
        aclosing(fragile.progress("b")) as progress,
        aclosing(fragile.cancellations()) as cancels,
    ):
        heard: list[asyncio.Future[Any]] = [
            await begun_hearing(fragile, progress),
            await begun_hearing(fragile, cancels),
        ]
        await crash(nats_server)
        while not all(future.done() for future in heard):
            fragile.tell_progress(told)
            await fragile.broadcast_cancel("b", ["j"])
            await asyncio.sleep(0.02)
        assert [future.result() for future in heard] == [told, ("b", "j")]


async def test_an_outage_is_waited_out_only_for_so_long(
    nats_server: RestartableServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Each call fails with the server's name; afterwards the same bus works again."""
    caplog.set_level(logging.DEBUG, "docnats")
    await set_up(nats_server)
    async with NatsBus(nats_server.config.but(request_timeout=0.5)) as bus:
        await asyncio.to_thread(nats_server.kill)
        with pytest.raises(BusError, match=rf"{nats_server.config.servers[0]}.* 0.5 s"):
            await bus.publish([message()])
        with pytest.raises(BusError):
            await bus.pull(1, 0.1)
        bus.tell_progress(PageProgress(job_id="j", batch="b", pages_done=1, pages=2))
        await asyncio.to_thread(nats_server.restart)
        async with asyncio.timeout(LIMIT):
            await bus._connection.link(LIMIT)
            assert await bus.backlog() == (0, 0)
    assert any("connecting again" in line.message for line in caplog.records)
    assert any("connected to NATS again" in line.message for line in caplog.records)
    assert capfd.readouterr() == ("", "")


async def test_a_watch_of_poison_goes_on_after_a_crash_and_tells_what_was_removed(
    fragile: NatsBus, nats_server: RestartableServer
) -> None:
    await fragile.put_poison(KEY, known := poison())
    async with asyncio.timeout(2 * LIMIT), aclosing(fragile.watch_poison()) as entries:
        assert await anext(entries) == PoisonEntry(KEY, known)
        assert await anext(entries) is None
        following = asyncio.ensure_future(anext(entries))
        await crash(nats_server)
        await fragile.remove_poison(KEY)
        while await following != PoisonEntry(KEY, None):
            following = asyncio.ensure_future(anext(entries))


async def test_a_frozen_server_is_not_waited_for_for_ever(nats_server: RestartableServer) -> None:
    await set_up(nats_server)
    async with NatsBus(nats_server.config.but(request_timeout=0.5)) as bus:
        nats_server.signal(signal.SIGSTOP)
        try:
            await until(
                psutil.Process(nats_server.pid).status, lambda found: found == psutil.STATUS_STOPPED
            )
            with pytest.raises(BusError, match=r"nobody at .* answered the state record of job"):
                await write_new(bus, [record()])
        finally:
            nats_server.signal(signal.SIGCONT)
        assert await bus.round_trip() > 0


async def test_a_patient_call_waits_for_a_frozen_server_and_the_bus_calls_it_an_outage(
    nats_server: RestartableServer,
) -> None:
    await set_up(nats_server)
    config = nats_server.config.but(request_timeout=0.5, connect_timeout=1)
    async with NatsBus(config, outage_limit=10 * LIMIT) as bus:
        nats_server.signal(signal.SIGSTOP)
        try:
            writing = asyncio.create_task(bus.patient().update_state(job := record(), 0))
            await noticed_outage(bus)
            assert not writing.done()
        finally:
            nats_server.signal(signal.SIGCONT)
        revision = await asyncio.wait_for(writing, LIMIT)
        assert await bus.patient().states() == [StateEntry(job, revision)]


async def test_patient_calls_and_watches_outlast_what_others_do_not(
    nats_server: RestartableServer,
) -> None:
    await set_up(nats_server)
    config = nats_server.config.but(request_timeout=0.3)
    async with NatsBus(config, outage_limit=10 * LIMIT) as bus:
        patient = bus.patient()
        assert bus.outage is None
        (revision,) = await write_new(bus, [job := record()])
        async with aclosing(patient.watch("b")) as entries:
            assert [await anext(entries), await anext(entries)] == [StateEntry(job, revision), None]
            following = asyncio.ensure_future(anext(entries))
            await asyncio.to_thread(nats_server.kill)
            running = job.but(state=JobState.RUNNING)
            writing = asyncio.create_task(patient.update_state(running, revision))
            publishing = asyncio.create_task(patient.publish([message()]))
            with pytest.raises(BusError):
                await bus.round_trip()
            assert not any(task.done() for task in (writing, publishing, following))
            assert bus.outage == pytest.approx(patient.outage or 0, abs=1)
            await asyncio.to_thread(nats_server.restart)
            written = await asyncio.wait_for(writing, LIMIT)
            assert await asyncio.wait_for(following, LIMIT) in (
                StateEntry(job, revision),
                StateEntry(running, written),
            )
            await asyncio.wait_for(publishing, LIMIT)
        assert (bus.outage, patient.outage) == (None, None)
        assert await counted(bus, 1) == (1, 0)


async def test_after_the_limit_patient_calls_and_watches_say_since_when_nats_is_lost(
    nats_server: RestartableServer,
) -> None:
    await set_up(nats_server)
    config = nats_server.config.but(request_timeout=0.2)
    async with NatsBus(config, outage_limit=0.5) as bus:
        patient = bus.patient()
        async with aclosing(patient.watch("b")) as entries:
            assert await anext(entries) is None
            await asyncio.to_thread(nats_server.kill)
            for waiting in anext(entries), write_new(patient, [record()]):
                with pytest.raises(BusError, match=r"lost at \d\d:\d\d:\d\d UTC and not back"):
                    await waiting


async def test_closing_during_an_outage_ends_at_once(nats_server: RestartableServer) -> None:
    before = asyncio.all_tasks()
    async with NatsBus(nats_server.config) as bus:
        await bus.ensure()
        waiting = await begun_pull(bus, 1, 600)
        await asyncio.to_thread(nats_server.kill)
        await noticed_outage(bus)
    (outcome,) = await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), LIMIT)
    assert isinstance(outcome, BusError)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


async def test_workers_that_stop_announcing_themselves_are_forgotten(
    nats_config: NatsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WORKER_TTL", 1.0)
    async with NatsBus(nats_config) as bus:
        await bus.ensure()
        await bus.announce(worker("w"))
        assert len(await bus.workers()) == 1
        await until(bus.workers, not_, within=LIMIT)


async def test_other_clients_may_read_the_state_bucket_as_a_kv_bucket(bus: NatsBus) -> None:
    """The state bucket is a plain NATS KV bucket, for tools and other languages."""
    (revision,) = await write_new(bus, [job := record()])
    client: Client = (await bus._connection.link())._client
    bucket = await client.jetstream().key_value(names_of(bus).states_bucket)
    entry = await bucket.get(names_of(bus).state_key("b", job.job_id))
    assert (entry.value, entry.revision) == (job.to_json(), revision)
    await bucket.delete(names_of(bus).state_key("b", job.job_id))
    assert await bus.states() == []


async def test_entries_nobody_understands_are_passed_over(
    bus: NatsBus, caplog: pytest.LogCaptureFixture
) -> None:
    names = names_of(bus)
    await bus._connection.ask(names.state_subject("b", "odd"), b"not a record")
    await bus._connection.ask(names.worker_subject("odd"), b"not a worker")
    await write_new(bus, [job := record()])
    await bus.announce(worker("w"))
    assert [entry.record for entry in await bus.states("b")] == [job]
    assert [found.worker for found in await bus.workers()] == ["w"]
    with pytest.raises(BusError, match="cannot be read"):
        await bus.get_state("b", "odd")
    assert {names.state_subject("b", "odd"), names.worker_subject("odd")} == {
        line.args[0] for line in caplog.records if isinstance(line.args, tuple)
    }


@pytest.mark.parametrize("batch", ["*", ">", "a.b", "a b", ""])
async def test_a_batch_that_is_no_name_reaches_no_subject(bus: NatsBus, batch: str) -> None:
    await bus.publish([message()])
    for refused in bus.states(batch), bus.drop_queued(batch), bus.get_state(batch, "j"):
        with pytest.raises(ConfigError):
            await refused
    with pytest.raises(ConfigError):
        await anext(bus.watch(batch))
    assert await counted(bus, 1) == (1, 0)


# --- somebody removes what docnats created


async def test_a_pull_from_a_removed_consumer_says_so_and_works_once_it_is_back(
    bus: NatsBus,
) -> None:
    names = names_of(bus)
    await bus.publish([message()])
    await api(bus, f"CONSUMER.DELETE.{names.jobs_stream}.{names.consumer()}")
    with pytest.raises(BusError, match=rf"{names.consumer()}.*restart"):
        await bus.pull(1, 0.2)
    await bus.ensure()
    await pull_one(bus)


async def test_a_watch_whose_consumer_was_removed_begins_anew(bus: NatsBus) -> None:
    stream = names_of(bus).states_stream
    async with asyncio.timeout(LIMIT), aclosing(bus.watch("b")) as entries:
        assert await anext(entries) is None
        (consumer,) = (await api(bus, f"CONSUMER.NAMES.{stream}"))["consumers"]
        await api(bus, f"CONSUMER.DELETE.{stream}.{consumer}")
        (revision,) = await write_new(bus, [job := record()])
        assert await anext(entries) == StateEntry(job, revision)


async def test_a_watch_leaves_no_consumer_behind(bus: NatsBus) -> None:
    stream = names_of(bus).states_stream
    async with aclosing(bus.watch("b")) as entries:
        assert await anext(entries) is None
    await bus.states()
    await bus.round_trip()
    assert not (await api(bus, f"CONSUMER.NAMES.{stream}"))["consumers"]


async def test_what_nobody_can_be_told_of_stays_on_the_queue(nats_config: NatsConfig) -> None:
    """And does not hold up the jobs that came with it."""
    async with NatsBus(nats_config.but(request_timeout=0.5)) as bus:
        await bus.ensure()
        names = names_of(bus)
        await api(bus, f"STREAM.DELETE.{names.advisories_stream}")
        await bus._connection.ask(names.job_subject("b", "j"), b"not a message")
        await bus.publish([good := message()])
        assert (await pull_one(bus)).message == good
        assert await counted(bus, 2) == (0, 2)


# --- other namespaces


async def test_the_jobs_of_other_namespaces_are_known_by_their_ids(
    bus: NatsBus, nats_config: NatsConfig
) -> None:
    """Two installations may share a bucket: neither may take the other's objects for rubbish."""
    mine, theirs = record(), record()
    await write_new(bus, [mine])
    other = nats_config.but(namespace=f"{nats_config.namespace}-other")
    async with NatsBus(other) as neighbour:
        await neighbour.ensure()
        await write_new(neighbour, [theirs])
        assert {mine.job_id, theirs.job_id} & await bus.foreign_jobs() == {theirs.job_id}
        assert {mine.job_id, theirs.job_id} & await neighbour.foreign_jobs() == {mine.job_id}


async def test_the_queue_is_read_beyond_what_the_server_lists_at_a_time(
    bus: NatsBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [message() for _ in range(5)]
    await bus.publish(jobs)
    ask = bus._connection.api

    async def two_at_a_time(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await ask(endpoint, body)
        first = body["offset"]
        subjects = sorted((await ask(endpoint, {**body, "offset": 0}))["state"]["subjects"])
        answer["state"]["subjects"] = dict.fromkeys(subjects[first : first + 2], 1)
        answer["total"] = len(subjects)
        return answer

    monkeypatch.setattr(bus._connection, "api", two_at_a_time)
    assert await bus.queued("b") == {(job.batch, job.request_id) for job in jobs}
