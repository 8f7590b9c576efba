"""S3 against the NATS Object Store: ``python -m benchmarks.backends``."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import docnats
from benchmarks.measure import MIB, arguments, finish, peak_memory, print_table
from benchmarks.rounds import Rounds, Side, print_rounds, run_rounds
from docnats.config import ProcessingConfig
from docnats.service import S3DocumentService
from docnats.stack import LocalStack

S3, NATS = "S3", "NATS Object Store"

LISTINGS = 20

AT_A_TIME = 8
"""Small objects on their way at a time, as of a submission."""

CHILD = """
import asyncio, sys
from pathlib import Path
from benchmarks.measure import peak_memory
from docnats.service import S3DocumentClient

async def main(source, target):
    async with S3DocumentClient() as client:
        connected = peak_memory()
        await client.storage.put_file("large", Path(source))
        await client.storage.get_file("large", Path(target))
        print(connected, peak_memory())

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Work:
    """What both do; ``count`` of the unit."""

    name: str
    unit: str
    count: int
    run: Callable[[S3DocumentService], Any]


@dataclass(frozen=True, slots=True)
class Backend:
    """One of the two: a stack with a worker, and an open client of it in this process."""

    stack: LocalStack
    service: S3DocumentService
    runner: asyncio.Runner

    def side(self, work: Callable[[S3DocumentService], Any]) -> Side:
        """Return a side that does some work."""
        processes = (process.pid for process in self.stack.processes())
        return Side(lambda _: self.runner.run(work(self.service)), (os.getpid(), *processes))

    def memory(self) -> dict[str, float]:
        """Return the peak of each server and of the worker so far, in MiB."""
        return {
            process.name: peak_memory(process.pid) / MIB
            for process in self.stack.processes()
            if process.running
        }


def main() -> int:
    """Do the same with both, in turn, and print how fast it was and what it took."""
    options = _options()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="docnats-benchmark-")))
        sides = {name: opened.enter_context(backend(name)) for name in (S3, NATS)}
        idle = {name: one.memory() for name, one in sides.items()}
        large = _file(folder / "large", options.megabytes)
        works = (
            Work("end to end", "document", options.documents, _documents(options.documents)),
            Work("small, write", "object", options.small, _put_many(options)),
            Work("small, read", "object", options.small, _get_many(options)),
            Work("large, write", "MiB", options.megabytes, _put(large)),
            Work("large, read", "MiB", options.megabytes, _get(folder / "back")),
        )
        results = {work: _compare(sides, work, options.rounds) for work in works}
        clients = {name: _client(one, large, folder / "back") for name, one in sides.items()}
        memory = {name: one.memory() | clients[name] for name, one in sides.items()}
        listing = {
            name: one.runner.run(_list_one(one, options.many)) for name, one in sides.items()
        }
        filled = {name: one.memory() for name, one in sides.items()}
    for work, rounds in results.items():
        print(f"\n{work.name}:")
        print_rounds(rounds, work.unit, NATS)
    _print_memory(idle, memory)
    for name, seconds in listing.items():
        servers = ", ".join(f"{server} {peak:.0f} MiB" for server, peak in filled[name].items())
        took = f"one of them listed in {1000 * seconds:.1f} ms"
        print(f"{name} with {options.many:,} objects: {took}; peaks then: {servers}")
    by_name = {work.name: rounds for work, rounds in results.items()}
    measured = {"idle_mib": idle, "peak_mib": memory, "listing": listing, "filled_mib": filled}
    finish(options.json, {"results": by_name, **measured})
    return 0


def _options() -> Any:
    parser = arguments("backends", __doc__, rounds=3)
    parser.add_argument("--documents", type=int, default=100, help="samples, end to end")
    parser.add_argument("--small", type=int, default=500, help="objects")
    parser.add_argument("--kilobytes", type=int, default=20, help="of a small one")
    parser.add_argument("--megabytes", type=int, default=256, help="of the large one")
    parser.add_argument("--many", type=int, default=20_000, help="objects that are kept at a time")
    return parser.parse_args()


@contextmanager
def backend(name: str) -> Iterator[Backend]:
    """Start a stack of one kind and connect to it."""
    use_s3 = name == S3
    config = ProcessingConfig(use_s3_storage=use_s3)
    with (
        LocalStack(workers=1, use_s3=use_s3, embedded=True) as stack,
        asyncio.Runner() as runner,
    ):
        service = S3DocumentService(stack.s3 if use_s3 else None, stack.nats, config)
        runner.run(service.connect())
        assert runner.run(service.health_check(wait=60)).healthy
        yield Backend(stack, service, runner)
        runner.run(service.close())


def _compare(sides: dict[str, Backend], work: Work, rounds: int) -> dict[str, Rounds]:
    print(f"\n{work.name}:")
    by_name = {name: one.side(work.run) for name, one in sides.items()}
    return run_rounds(by_name, None, work.count, rounds)


def _documents(count: int) -> Callable[[S3DocumentService], Any]:
    samples = [path.read_bytes() for path in docnats.sample_paths()]
    sources = {f"{n:05}.pdf": samples[n % len(samples)] for n in range(count)}

    async def run(service: S3DocumentService) -> None:
        table = await (await service.submit(sources, force=True)).follow(timeout=600)
        assert all(job.state == "done" for job in table.records())

    return run


def _put_many(options: Any) -> Callable[[S3DocumentService], Any]:
    data = random.Random(1).randbytes(options.kilobytes * 1024)  # noqa: S311 - test data
    count = options.small

    async def run(service: S3DocumentService) -> None:
        await _at_a_time(service.storage.put_bytes(f"small/{n}", data) for n in range(count))

    return run


def _get_many(options: Any) -> Callable[[S3DocumentService], Any]:
    async def run(service: S3DocumentService) -> None:
        await _at_a_time(service.storage.get_bytes(f"small/{n}") for n in range(options.small))

    return run


async def _list_one(side: Backend, many: int) -> float:
    """Store many objects, and return the seconds that it then takes to list one of them."""
    storage = side.service.storage
    await _at_a_time(storage.put_bytes(f"many/{n}/", b"1234") for n in range(many))
    seconds = []
    for number in range(LISTINGS):
        started = time.perf_counter()
        found = [stored.key async for stored in storage.list(f"many/{number}/")]
        seconds.append(time.perf_counter() - started)
        assert found == [f"many/{number}/"]
    return median(seconds)


async def _at_a_time(calls: Iterable[Any]) -> None:
    slots = asyncio.Semaphore(AT_A_TIME)

    async def one(call: Any) -> None:
        async with slots:
            await call

    await asyncio.gather(*map(one, calls))


def _put(path: Path) -> Callable[[S3DocumentService], Any]:
    return lambda service: service.storage.put_file("large", path)


def _get(path: Path) -> Callable[[S3DocumentService], Any]:
    return lambda service: service.storage.get_file("large", path)


def _file(path: Path, megabytes: int) -> Path:
    block = random.Random(2).randbytes(MIB)  # noqa: S311 - test data
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(block)
    return path


def _client(side: Backend, source: Path, target: Path) -> dict[str, float]:
    """Return the peak of a process that sends and gets the large object, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, source, target],
        env=os.environ | side.stack.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    connected, peak = (int(number) / MIB for number in done.stdout.split())
    return {"client, connected": connected, "client, with the large object": peak}


def _print_memory(idle: dict[str, dict[str, float]], memory: dict[str, dict[str, float]]) -> None:
    print("\npeak memory, MiB; of servers and worker in brackets before any work")
    names = list(dict.fromkeys(name for peaks in memory.values() for name in peaks))
    rows = [
        [name, *(_cell(memory[side].get(name), idle[side].get(name)) for side in memory)]
        for name in names
    ]
    print_table(["", *memory], rows)


def _cell(peak: float | None, before: float | None) -> str:
    if peak is None:
        return "-"
    return f"{peak:.0f}" if before is None else f"{peak:.0f} ({before:.0f})"


if __name__ == "__main__":
    sys.exit(main())
