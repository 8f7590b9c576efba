"""Three real nats-servers that form one JetStream cluster on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from docnats.bus import NatsBus
from docnats.config import NatsConfig, StackConfig
from docnats.errors import BusError
from docnats.stack.binaries import find_nats_server
from docnats.stack.client import Command, Supervisor
from docnats.stack.home import Home
from docnats.stack.servers import HOST, NatsServer
from tests.conftest import RestartableServer
from tests.waiting import until

SIZE = 3
LIMIT = 60.0
"""Seconds that an election may take on a busy machine; it takes 4 to 9."""


class Node(NatsServer):
    """One server of the cluster; ``peers`` are the route ports of all, its own is the first."""

    def __init__(self, home: Home, name: str, peers: list[int], password: str) -> None:
        super().__init__(home, find_nats_server(StackConfig()), NatsConfig())
        self.name = name
        self._nats = home.nats
        self._peers = peers
        self._password = password

    def choose_ports(self, *, fresh: bool) -> None:
        """Keep the port: it was chosen with those of the others."""

    def take_port(self, port: int) -> None:
        """Use a client port."""
        self._port = port

    def command(self, runtime: Path) -> Command:
        """Write ``nats.conf``, with the cluster in it, and return what to run."""
        command = super().command(runtime)
        path = self._nats / "nats.conf"
        settings = json.loads(path.read_text())
        settings["server_name"] = self.name
        settings["cluster"] = {
            "name": "docnats",
            "host": HOST,
            "port": self._peers[0],
            "authorization": {"user": "route", "password": self._password},
            "routes": [f"nats-route://route:{self._password}@{HOST}:{p}" for p in self._peers[1:]],
            "no_advertise": True,
        }
        path.write_text(json.dumps(settings))
        return command


class Cluster:
    """Three servers; each stays dead when it is killed, until it is restarted."""

    def __init__(self, nodes: list[Node], supervisor: Supervisor) -> None:
        self.nodes = {node.name: RestartableServer(node, supervisor) for node in nodes}
        servers = [url for node in nodes for url in node.config.servers]
        self.config: NatsConfig = nodes[0].config.but(servers=servers, replicas=SIZE)
        self._urls = dict(zip(servers, self.nodes, strict=True))

    async def node_of(self, bus: NatsBus) -> str:
        """Return the node that a bus is connected to."""
        return self._urls[(await bus._connection.link(LIMIT)).url]

    async def leader_of(self, bus: NatsBus, stream: str, consumer: str | None = None) -> str:
        """Return the node that leads a stream or a consumer; waits until there is one."""
        what = f"CONSUMER.INFO.{stream}.{consumer}" if consumer else f"STREAM.INFO.{stream}"
        info = await until(partial(self._led, bus, what), within=LIMIT)
        return str(info["leader"])

    async def settled(self, bus: NatsBus, *streams: str) -> None:
        """Wait until every copy of some streams is alive and has caught up."""
        for stream in streams:
            await until(partial(self._is_whole, bus, stream), within=LIMIT)

    async def _is_whole(self, bus: NatsBus, stream: str) -> bool:
        copies = (await self._led(bus, f"STREAM.INFO.{stream}")).get("replicas", [])
        return [copy["current"] for copy in copies] == [True] * 2

    async def _led(self, bus: NatsBus, what: str) -> dict[str, Any]:
        """Return what is said of the nodes of a stream or a consumer, nothing without a leader."""
        try:
            cluster: dict[str, Any] = (await bus._connection.api(what))["cluster"]
        except BusError:  # there is none to answer: an election is going on
            return {}
        return cluster if cluster.get("leader") else {}

    async def kill(self, name: str) -> None:
        """End a node by SIGKILL; it is gone on return."""
        await asyncio.to_thread(self.nodes[name].kill)

    async def stop(self, name: str) -> None:
        """End a node as an operator does; it is gone on return."""
        await asyncio.to_thread(self.nodes[name].stop)

    async def restart(self, name: str) -> None:
        """Start a node that has ended, with the data it had."""
        await asyncio.to_thread(self.nodes[name].restart)

    def freeze(self, name: str) -> None:
        """Let a node hang."""
        self.nodes[name].signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a node that hangs go on."""
        self.nodes[name].signal(signal.SIGCONT)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Run a cluster; its servers answer on entering, but may have no leader yet."""
    first = Home(folder / "n0")
    ports = _free_ports(first)
    clients, routes = ports[:SIZE], ports[SIZE:]
    password = secrets.token_hex(16)
    nodes = []
    for i, port in enumerate(clients):
        home = first if i == 0 else Home(folder / f"n{i}")
        home.write(home.path / "secrets.json", json.dumps(first.secrets()))
        node = Node(home, f"n{i}", [*routes[i:], *routes[:i]], password)
        node.take_port(port)
        nodes.append(node)
    supervisor = Supervisor.launch(first.logs)
    try:
        yield Cluster(nodes, supervisor)
    finally:
        supervisor.close()


def _free_ports(home: Home) -> list[int]:
    from docnats.stack.servers import _choose_ports

    return _choose_ports(home, home.nats, range(2 * SIZE), fresh=True)
