"""The panel in a real Jupyter kernel: what a frontend is told, and for which cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

SECONDS = 60

OPEN = """
import threading
from docnats.models import JobState, Progress
from docnats.panel import open_panel

def progress(done):
    counts = {JobState.DONE: done, JobState.QUEUED: 10 - done}
    snapshot = bytes([3]) * done + bytes([1]) * (10 - done)
    return Progress("b1", 10, counts, done, 10, done, 1, snapshot=snapshot)

panel = open_panel(progress(0), filenames=[f"{number}.pdf" for number in range(10)])
start = threading.Event()

def follow():
    panel.update(progress(3))
    start.wait(60)
    panel.update(progress(7))
    panel.update(progress(7), "reconnecting")
    panel.finish(progress(10))

threading.Thread(target=follow).start()
"""

Message = dict[str, Any]


@pytest.fixture
def kernel() -> Iterator[BlockingKernelClient]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def of_type(kind: str, messages: list[Message]) -> list[Message]:
    return [message for message in messages if message["msg_type"] == kind]


def listen(
    kernel: BlockingKernelClient, *, until: Callable[[list[Message]], bool]
) -> list[Message]:
    """Return all that the kernel tells its frontends until a condition holds."""
    messages: list[Message] = []
    deadline = time.monotonic() + SECONDS
    while not until(messages):
        left = deadline - time.monotonic()
        assert left > 0, f"the kernel only said {[m['msg_type'] for m in messages]}"
        messages.append(kernel.get_iopub_msg(timeout=left))
    return messages


def test_the_panel_goes_on_after_its_cell_and_ends_as_static_html(
    kernel: BlockingKernelClient,
) -> None:
    """Updates from a thread arrive, and belong to the cell that opened the panel."""
    opener = kernel.execute(OPEN)
    kernel.execute("'another cell'")
    kernel.execute("start.set()")
    messages = listen(kernel, until=lambda heard: len(of_type("comm_msg", heard)) == 4)

    (shown,) = of_type("display_data", messages)
    widget = shown["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    updates = [m for m in of_type("comm_msg", messages) if m["content"]["comm_id"] == widget]
    states = [update["content"]["data"]["state"] for update in updates]
    assert [(state["progress"]["ended"], state["progress"]["note"]) for state in states] == [
        (3, None),
        (7, None),
        (7, "reconnecting"),
        (10, None),
    ]
    assert not any("filenames" in state for state in states)  # they came with the widget
    sent = [list(map(bytes, update["buffers"])) for update in updates]
    assert sent == [[b"\3" * 3 + b"\1" * 7], [b"\3" * 7 + b"\1" * 3], [], [b"\3" * 10]]

    final, again = of_type("update_display_data", messages)
    assert final["content"] == again["content"]  # for those who hear the running cell only
    assert final["content"]["transient"] == shown["content"]["transient"]
    assert sorted(final["content"]["data"]) == ["text/html", "text/plain"]
    assert final["content"]["data"]["text/plain"].startswith("10 of 10 documents done")

    owners = {message["parent_header"]["msg_id"] for message in [shown, *updates, final]}
    assert owners == {opener}
    assert not of_type("error", messages)
    assert not of_type("stream", messages)
