"""Rows of the job table, written as a test needs them."""

from __future__ import annotations

from collections.abc import Iterable

from docnats.bus import Bus, StateEntry
from docnats.models import JobRecord


async def write_new(bus: Bus, records: Iterable[JobRecord]) -> list[int]:
    """Write rows that are not there yet, as a submission does; return their revisions, in order."""
    return await _write(bus, [StateEntry(record, 0) for record in records])


async def overwrite(bus: Bus, records: Iterable[JobRecord]) -> list[int]:
    """Write rows in place of those that are there; return their revisions, in order."""
    entries = []
    for record in records:
        entry = await bus.get_state(record.batch, record.job_id)
        assert entry is not None, f"there is no row of {record.job_id}"
        entries.append(StateEntry(record, entry.revision))
    return await _write(bus, entries)


async def _write(bus: Bus, entries: list[StateEntry]) -> list[int]:
    revisions = await bus.update_states(entries)
    assert None not in revisions, "somebody else wrote a row meanwhile"
    return [revision for revision in revisions if revision is not None]
