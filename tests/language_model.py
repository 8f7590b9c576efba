"""A real HTTP server that speaks OpenAI's protocol, as far as docnats uses it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from docnats.config import LlmConfig

__all__ = ["KEY", "LanguageModel", "language_model"]

KEY = "sk-very-secret-1234"

Answer = Callable[[str, str], str]
"""Makes an answer of the system's and the user's message."""


@dataclass
class LanguageModel:
    """What a test says the server does, and what it was asked.

    Attributes
    ----------
    faults : deque of (int, str)
        Status codes, and what is said with them, for the next requests; 0 never answers.
    """

    url: str
    answer: Answer = lambda instructions, text: f"{len(text)} characters"
    faults: deque[tuple[int, str]] = field(default_factory=deque)
    finish_reason: str = "stop"
    counts_tokens: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def config(self, **changes: Any) -> LlmConfig:
        """How to reach it."""
        return LlmConfig(
            **{"base_url": self.url, "model": "tiny", "api_key": KEY, "max_attempts": 3, **changes}
        )

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The system's and the user's message of each request."""
        return [
            tuple(message["content"] for message in request["messages"])  # type: ignore[misc]
            for request in self.requests
        ]

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request."""
        system, user = (message["content"] for message in request["messages"])
        content = self.answer(system, user)
        used = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": self.finish_reason,
                }
            ],
            **({"usage": used} if self.counts_tokens else {}),
        }


@contextmanager
def language_model() -> Iterator[LanguageModel]:
    """Run one on a free port of 127.0.0.1."""
    model = LanguageModel(url="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            model.authorizations.append(self.headers["Authorization"])
            model.requests.append(json.loads(body))
            status, said = model.faults.popleft() if model.faults else (200, "")
            if not status:
                model.released.wait(30)
                self.close_connection = True
                return
            if self.path != "/v1/chat/completions":
                status, said = 404, "there is no such path"
            answer = model.completion(model.requests[-1]) if status == 200 else _error(said)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Retry-After-Ms", "10")  # tests need not wait for the usual pauses
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield model
    finally:
        model.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _error(said: str) -> dict[str, Any]:
    return {"error": {"message": said, "type": "error", "code": None, "param": None}}
