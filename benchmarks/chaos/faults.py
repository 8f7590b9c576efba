"""Do to a running stack what was planned."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass

import psutil

from benchmarks.chaos.schedule import Fault, FaultKind
from docnats.stack import LocalStack, ProcessStatus

__all__ = ["Inflicted", "inflict"]

VICTIM_SECONDS = 60.0
"""How long to wait for somebody to kill: what was killed a moment ago may be starting."""

STALL = 1.2, 1.8
"""Length of a stall, in leases."""


@dataclass(frozen=True, slots=True)
class Inflicted:
    """A fault that happened: when (Unix time), to whom, and how many jobs had ended."""

    kind: FaultKind
    time: float
    victim: str
    pid: int
    ended: int


async def inflict(stack: LocalStack, fault: Fault, ack_wait: float, ended: int) -> Inflicted:
    """Let a fault happen; returns when it is over.

    Raises
    ------
    TimeoutError
        There was nobody to do it to.
    """
    await asyncio.sleep(fault.delay)
    async with asyncio.timeout(VICTIM_SECONDS):
        while (victim := _signal(stack, fault)) is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    name, process = victim
    happened = Inflicted(fault.kind, time.time(), name, process.pid, ended)
    if fault.kind is FaultKind.STALL_WORKER:
        shortest, longest = STALL
        try:
            await asyncio.sleep(ack_wait * (shortest + fault.number * (longest - shortest)))
        finally:
            _send(process, signal.SIGCONT)
    return happened


def _signal(stack: LocalStack, fault: Fault) -> tuple[str, psutil.Process] | None:
    """Choose a process and signal it; None if there is none."""
    victims = _victims(stack, fault.kind)
    if not victims:
        return None
    name, process = victims[int(fault.number * len(victims))]
    number = signal.SIGSTOP if fault.kind is FaultKind.STALL_WORKER else signal.SIGKILL
    return (name, process) if _send(process, number) else None


def _victims(stack: LocalStack, kind: FaultKind) -> list[tuple[str, psutil.Process]]:
    if kind is FaultKind.KILL_PARSER:
        return _parsers(stack)
    if kind is FaultKind.KILL_FORK_SERVER:
        return _fork_servers(stack)
    wanted = {FaultKind.KILL_NATS: "nats", FaultKind.KILL_S3: "s3"}.get(kind, "worker-")
    return [
        (status.name, process)
        for status in stack.processes()
        if status.name.startswith(wanted) and (process := _process(status)) is not None
    ]


def _fork_servers(stack: LocalStack) -> list[tuple[str, psutil.Process]]:
    """Return the parents of the parser processes; a resource tracker has no children."""
    return [
        (f"fork server of {name}", child)
        for name, worker in _victims(stack, FaultKind.KILL_WORKER)
        for child in _children(worker)
        if _children(child)
    ]


def _parsers(stack: LocalStack) -> list[tuple[str, psutil.Process]]:
    """Return the parser processes, those at work if there are any."""
    found = [
        (f"parser of {name}", parser)
        for name, worker in _victims(stack, FaultKind.KILL_WORKER)
        for child in _children(worker)
        for parser in _children(child)
    ]
    at_work = [(name, parser) for name, parser in found if _status(parser) == psutil.STATUS_RUNNING]
    return at_work or found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def _process(status: ProcessStatus) -> psutil.Process | None:
    """Return a process that runs and is not stalled already."""
    if not status.running:
        return None
    try:
        process = psutil.Process(status.pid)
        idle = process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED}
    except psutil.NoSuchProcess:
        return None
    return None if idle else process


def _status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_DEAD


def _send(process: psutil.Process, number: int) -> bool:
    """Signal a process; False if it is gone."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True
