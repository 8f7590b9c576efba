"""Checks an archived batch against its receipt: every object is read and hashed again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from docnats.errors import ObjectMissing, ungrouped
from docnats.models import HashedObject, Receipt
from docnats.service.archive import HASHED_AT_A_TIME, hash_object, read_receipt
from docnats.service.archives import Archives
from docnats.storage import Storage

__all__ = ["Mismatch", "Verification", "verify_batch"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An object that is not what the receipt says, and what is wrong with it."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of an archived batch.

    Attributes
    ----------
    receipt : Receipt
        What was promised.
    checked : int
        Objects that were read: the receipt, the job table and every result object.
    mismatches : tuple of Mismatch
        In the order of their keys.
    """

    receipt: Receipt
    checked: int
    mismatches: tuple[Mismatch, ...]

    @property
    def intact(self) -> bool:
        """Whether every object is there, byte for byte."""
        return not self.mismatches

    def __repr__(self) -> str:
        """Return the outcome in a line, and one for each mismatch."""
        outcome = "intact" if self.intact else f"{len(self.mismatches)} do not match the receipt"
        lines = [f"batch {self.receipt.batch}: {self.checked} objects checked, {outcome}"]
        return "\n".join([*lines, *(f"  {one.key}: {one.what}" for one in self.mismatches)])

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {
            "batch": self.receipt.batch,
            "intact": self.intact,
            "checked": self.checked,
            "mismatches": [asdict(one) for one in self.mismatches],
        }


async def verify_batch(archives: Archives, batch: str) -> Verification:
    """Check an archived batch.

    Raises
    ------
    ConfigError
        The batch is not archived.
    DocnatsError
        Its receipt is gone, or cannot be read.
    """
    receipt, sha256 = await read_receipt(archives, batch)
    found: list[Mismatch] = []
    entry = await archives.bus.archive(batch)
    if entry is not None and entry.receipt_sha256 != sha256:
        key = archives.names.archive_receipt(batch)
        found.append(Mismatch(key, "it is not the receipt that was written"))
    promised = (receipt.table, *receipt.objects)
    found += await _mismatches(archives.storage.patient(), promised)
    found.sort(key=lambda mismatch: mismatch.key)
    return Verification(receipt, 1 + len(promised), tuple(found))


async def _mismatches(storage: Storage, promised: Iterable[HashedObject]) -> list[Mismatch]:
    slots = asyncio.Semaphore(HASHED_AT_A_TIME)
    found: list[Mismatch] = []

    async def check(expected: HashedObject, path: Path) -> None:
        if what := await _difference(storage, expected, path):
            found.append(Mismatch(expected.key, what))

    with TemporaryDirectory(prefix="docnats-verify-") as folder, ungrouped():
        async with asyncio.TaskGroup() as group:
            for number, expected in enumerate(promised):
                await slots.acquire()
                checking = group.create_task(check(expected, Path(folder, str(number))))
                checking.add_done_callback(lambda _: slots.release())
    return found


async def _difference(storage: Storage, expected: HashedObject, path: Path) -> str | None:
    """Return how an object differs from what it was; None if it does not."""
    try:
        now = await hash_object(storage, expected.key, path)
    except ObjectMissing:
        return "it is not there"
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    if now.size != expected.size:
        return f"it has {now.size:,} bytes instead of {expected.size:,}"
    return None if now == expected else "its SHA-256 differs"
