"""The bucket of known results: which documents were processed before, and where that is."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable, Mapping, Sequence

from docnats.bus.connection import Connection
from docnats.bus.exchange import NOT_FOUND, Answer, Refusal
from docnats.bus.link import Request
from docnats.models import KnownResult
from docnats.names import Names

__all__ = ["KnownResults"]

log = logging.getLogger(__name__)


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
        subject = f"$JS.API.STREAM.MSG.GET.{self._names.results_stream}"
        wanted = [{"last_by_subj": self._names.result_subject(key)} for key in keys]
        requests = [Request(subject, json.dumps(body).encode()) for body in wanted]
        return [_known(answer) for answer in await self._connection.ask_all(requests)]

    async def forget_results(self, sha256s: Iterable[str] | None = None) -> None:
        """Forget all that is known of some documents, or of all."""
        names = self._names
        filters = [names.results_filter] if sha256s is None else map(names.results_of, set(sha256s))
        subject = f"$JS.API.STREAM.PURGE.{names.results_stream}"
        requests = [Request(subject, json.dumps({"filter": key}).encode()) for key in filters]
        for answer in await self._connection.ask_all(requests):
            answer.json()


def _known(answer: Answer) -> KnownResult | None:
    try:
        stored = answer.json()["message"]
    except Refusal as refusal:
        if refusal.code != NOT_FOUND:
            raise
        return None
    try:
        return KnownResult.from_json(base64.b64decode(stored.get("data", "")))
    except ValueError:
        log.warning("%s: this note on a result cannot be read", stored.get("subject"))
        return None
