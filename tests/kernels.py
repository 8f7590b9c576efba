"""A real Jupyter kernel, driven as a frontend drives it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from jupyter_client.manager import KernelManager

__all__ = ["Kernel", "Reply"]

SECONDS = 90


@dataclass(frozen=True, slots=True)
class Reply:
    """How a cell ended: its error's name and message, or neither; and what it printed."""

    error: str
    message: str
    printed: str


class Kernel:
    """A kernel in a process of its own, with this process's environment as it is now."""

    def __init__(self) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str) -> Reply:
        """Run a cell to its end."""
        return self.end(self.begin(code))

    def begin(self, code: str) -> str:
        """Run a cell; its id is for :meth:`end`."""
        cell: str = self._client.execute(code)
        return cell

    def hear(self, cell: str, text: str) -> None:
        """Wait until the cell has printed a text."""
        heard = ""
        while text not in heard:
            message = self._next(cell)
            assert message["msg_type"] != "error", "\n".join(message["content"]["traceback"])
            heard += message["content"].get("text", "")

    def end(self, cell: str) -> Reply:
        """Wait until the cell has ended."""
        printed, error = "", ("", "")
        while (message := self._next(cell))["content"].get("execution_state") != "idle":
            content = message["content"]
            if message["msg_type"] == "error":
                error = content["ename"], content["evalue"]
            elif message["msg_type"] == "stream":
                printed += content["text"]
        return Reply(*error, printed)

    def interrupt(self) -> None:
        """Do what the stop button does."""
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        """Kill the kernel, as the system does when memory runs out."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def _next(self, cell: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while True:
            message: dict[str, Any] = self._client.get_iopub_msg(
                timeout=max(0, deadline - time.monotonic())
            )
            if message["parent_header"].get("msg_id") == cell:
                return message
