"""Requests on their way to their answers: sent, and sent again until each has one.

On a cluster a request can meet a moment without a leader. Then nobody takes it, or a server
says that it cannot do it now, or nobody says anything: it was meant for a leader that is dead.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nats.aio.msg import Msg

from docnats.bus.inbox import LinkLost
from docnats.bus.link import Expected, Link, Request
from docnats.errors import BusError

__all__ = ["Answer", "Exchange", "Refusal"]

SILENCE_SECONDS, LONGEST_SILENCE = 1.0, 8.0
"""Time without any answer after which requests are sent again; doubles each time."""

PASSING = frozenset(
    {
        10004,  # incomplete results
        10005,  # no suitable peers for placement: a server has just begun or ended
        10007,  # cluster not assigned to this server
        10008,  # temporarily unavailable: no leader
        10009,  # not the leader
        10023,  # insufficient resources: also when too few servers are known yet
        10118,  # stream is offline
        10119,  # consumer is offline
        10158,  # a message of this id is in process
        10163,  # the subject's last sequence is temporarily unavailable
    }
)
"""JetStream's errors, from its errors.json, for what it may do a moment later."""


class Refusal(BusError):  # noqa: N818 - what happened, as in docnats.errors
    """JetStream answered with an error.

    Attributes
    ----------
    code : int
        JetStream's own error code, for example 10071.
    description : str
        The server's words.
    """

    def __init__(self, message: str, code: int, description: str) -> None:
        super().__init__(message)
        self.code = code
        self.description = description


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes
    ----------
    resent : bool
        The request was sent more than once, so it may have been done more than once.
    """

    request: Request
    data: bytes
    resent: bool

    def json(self) -> dict[str, Any]:
        """Return JetStream's answer; raises :class:`Refusal` when it is an error."""
        body: dict[str, Any] = json.loads(self.data)
        if "error" in body:
            error = body["error"]
            description = error.get("description", "no description")
            about = self.request.about or self.request.subject
            message = f"NATS refused {about}: {description} (error {error.get('err_code')})"
            raise Refusal(message, error.get("err_code", 0), description)
        return body


class Exchange:
    """Some requests and the answers that came so far.

    Parameters
    ----------
    requests : sequence of Request
        They must bear being done twice.

    Attributes
    ----------
    answers : dict of int to Answer
        By the place of their requests.
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self.answers: dict[int, Answer] = {}
        self._missing = dict(enumerate(requests))
        self._refused: dict[int, Answer] = {}
        self._link: Link | None = None
        self._expected: dict[int, Expected] = {}
        self._sent: set[int] = set()
        self._resent: set[int] = set()
        self._silence = SILENCE_SECONDS

    @property
    def missing(self) -> Mapping[int, Request]:
        """The requests without an answer."""
        return self._missing

    @property
    def refused(self) -> Mapping[int, Answer]:
        """What JetStream said last to those of them that it cannot do now."""
        return self._refused

    @property
    def untaken(self) -> bool:
        """Whether nobody takes them at all: not even somebody who then says nothing."""
        return not (self._refused or self._expected)

    def close(self) -> None:
        """Expect no more answers."""
        for expected in self._expected.values():
            if not expected.answer.cancel() and not expected.answer.cancelled():
                expected.answer.exception()  # there may be one that nobody waits for any more
        self._expected.clear()

    async def over(self, link: Link, deadline: float) -> None:
        """Send what is missing over a link, and take answers until no more come.

        When nothing came at all, the link is lost afterwards unless its server lives. Until
        then late answers count, also when the request was sent again.
        """
        if link is not self._link:
            self.close()
            self._link = link
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(deadline):  # a server that takes nothing blocks
                await self._send(link)
        except (LinkLost, TimeoutError):
            pass  # what was answered before it counts
        while self._expected:
            wait = max(0.0, min(self._silence, deadline - clock()))
            done, _ = await asyncio.wait(
                [expected.answer for expected in self._expected.values()],
                timeout=wait,
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._collect()
            if not done:
                break
        if self._expected and link.alive and clock() < deadline:
            self._silence = min(2 * self._silence, LONGEST_SILENCE)
            await link.check(deadline - clock())

    async def _send(self, link: Link) -> None:
        for i, request in self._missing.items():
            if i in self._sent:
                self._resent.add(i)
            self._sent.add(i)
            if i not in self._expected:
                self._expected[i] = link.expect()
            await link.send(request, self._expected[i])

    def _collect(self) -> None:
        for i, expected in tuple(self._expected.items()):
            if not expected.answer.done():
                continue
            del self._expected[i]
            if not expected.answer.cancelled():
                self._take(i, expected.answer.result())

    def _take(self, i: int, message: Msg) -> None:
        if message.headers and message.headers.get("Status") == "503":
            return  # nobody took it
        answer = Answer(self._missing[i], message.data, i in self._resent)
        if _passing(message.data):
            self._refused[i] = answer
            return
        self.answers[i] = answer
        del self._missing[i]
        self._refused.pop(i, None)


def _passing(data: bytes) -> bool:
    if b'"error":{' not in data:  # answers are many, and errors few
        return False
    return json.loads(data)["error"].get("err_code") in PASSING
