"""The bucket of known results: which documents were processed before, and where that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from docnats.bus.bucket import record_in
from docnats.bus.connection import Connection
from docnats.bus.link import Request
from docnats.bus.stream import last_messages, purge
from docnats.models import KnownResult
from docnats.names import Names

__all__ = ["KnownResults"]


class KnownResults:
    """The bucket of known results; a part of the bus."""

    _connection: Connection
    _names: Names

    async def put_results(self, results: Mapping[str, KnownResult]) -> None:
        """Note results by the keys of their documents, in place of what was noted before."""
        requests = [
            Request(self._names.result_subject(key), known.to_json())
            for key, known in results.items()
        ]
        for answer in await self._connection.ask_all(requests):
            answer.json()

    async def known_results(self, keys: Sequence[str]) -> list[KnownResult | None]:
        """Return what is noted under some keys, as the leader has it, in their order."""
        subjects = map(self._names.result_subject, keys)
        found = await last_messages(self._connection, self._names.results_stream, subjects)
        return [record_in(KnownResult, one.subject, one.data) if one else None for one in found]

    async def forget_results(self, sha256s: Iterable[str] | None = None) -> None:
        """Forget all that is known of some documents, or of all."""
        names = self._names
        filters = [names.results_filter] if sha256s is None else map(names.results_of, set(sha256s))
        await purge(self._connection, names.results_stream, filters)
