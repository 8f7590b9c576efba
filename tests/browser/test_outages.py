"""What a person sees while a server is away."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pdfs import text_pdf

if TYPE_CHECKING:
    from tests.browser.notebook import Notebook

    Open = Callable[..., Notebook]

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
expect = sync_api.expect

FILES = 40
MINUTE = 60_000

START = """
import docnats
from docnats.notebook.session import current_session
docnats.health()
pids = {process.name: process.pid for process in current_session()._stack.processes()}
print(pids["nats"], pids["s3"])
"""


@pytest.fixture(autouse=True)
def pdfs(folder: Path) -> None:
    pile = folder / "pdfs"
    pile.mkdir()
    document = text_pdf(150, lines=40)
    for number in range(FILES):
        (pile / f"{number:02}.pdf").write_bytes(document)


def test_the_panel_says_which_server_it_waits_for_until_it_is_back(open_notebook: Open) -> None:
    """Both servers are frozen; NATS, missed first, is named with the seconds, and nothing fails."""
    notebook = open_notebook([START, "jobs = docnats.submit_many('pdfs', wait=False)"])
    nats, s3 = map(int, notebook.run(0).inner_text().split()[-2:])
    output = notebook.run(1)
    expect(output.get_by_text("Workers").first).to_be_visible()
    os.kill(s3, signal.SIGSTOP)
    os.kill(nats, signal.SIGSTOP)
    try:
        waiting = output.locator(".docnats-waiting")
        expect(waiting).to_contain_text("Reconnecting to NATS", timeout=MINUTE)
        expect(waiting).to_contain_text(" s)")
        expect(output.get_by_role("status")).to_contain_text("Reconnecting to NATS")
        notebook.picture("reconnecting", cell=1)
    finally:
        os.kill(s3, signal.SIGCONT)
        os.kill(nats, signal.SIGCONT)
    expect(waiting).to_be_hidden(timeout=MINUTE)
    expect(output.get_by_role("status")).to_contain_text("documents done")
    expect(output).to_contain_text(f"{FILES} of {FILES} documents done", timeout=2 * MINUTE)
    assert notebook.error(1) is None
