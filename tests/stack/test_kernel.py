"""Real kernels: the stop button, the second notebook, the kernel that dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernels import Kernel
from tests.pdfs import text_pdf


@pytest.fixture
def long_pdf(tmp_path: Path) -> Path:
    """A document that takes long enough to be interrupted."""
    path = tmp_path / "long.pdf"
    path.write_bytes(text_pdf(400, lines=40))
    return path


@pytest.mark.usefixtures("on_the_stack")
@pytest.mark.parametrize(
    ("on_interrupt", "pages", "message", "state"),
    [
        ("continue", 400, "docnats.attach(", "done"),
        ("cancel", 8_000, "1 job cancelled", "cancelled"),
    ],
)
def test_the_stop_button_gives_control_back(
    start_kernel: Callable[[], Kernel],
    tmp_path: Path,
    on_interrupt: str,
    pages: int,
    message: str,
    state: str,
) -> None:
    """The message says how to go on, and the next call works."""
    long_pdf = tmp_path / "long.pdf"
    long_pdf.write_bytes(text_pdf(pages, lines=40))
    kernel = start_kernel()
    kernel.run("import docnats")
    cell = kernel.begin(
        f"docnats.submit_many('{long_pdf}', batch='b-{on_interrupt}', progress='text', "
        f"on_interrupt='{on_interrupt}')"
    )
    kernel.hear(cell, "0 of 1 document")
    kernel.interrupt()
    reply = kernel.end(cell)
    assert reply.error == "Interrupted"
    assert message in reply.message
    ended = kernel.run(
        f"print(list(docnats.attach('b-{on_interrupt}', wait=True, progress='none').state))"
    )
    assert (ended.error, ended.printed) == ("", f"['{state}']\n")


def test_what_one_kernel_began_another_one_sees_to_the_end(
    start_kernel: Callable[[], Kernel], long_pdf: Path
) -> None:
    """They share the embedded stack; a SIGKILL of the first does not harm the second."""
    first, second = start_kernel(), start_kernel()
    begun = first.run(
        f"import docnats\n"
        f"jobs = docnats.submit_many(['{long_pdf}'] * 3, batch='b', wait=False)\n"
        f"import time\n"
        f"while 'uploading' in set(jobs.state): jobs = docnats.jobs('b'); time.sleep(0.1)"
    )
    assert begun.error == ""
    seen = second.run("import docnats\nprint(len(docnats.attach('b')))")
    assert (seen.error, seen.printed) == ("", "3\n")
    first.kill()
    ended = second.run("print(list(docnats.attach('b', wait=True, progress='none').state))")
    assert (ended.error, ended.printed) == ("", "['done', 'done', 'done']\n")
    second.kill()
    history = start_kernel().run(
        "import docnats\nprint(list(docnats.batches().batch), len(docnats.jobs(state='done')))"
    )
    assert (history.error, history.printed) == ("", "['b'] 3\n")


AWAITED = """
import docnats

async with docnats.create_document_service() as service:
    batch = await service.submit({"a.pdf": open(path, "rb").read()})
    await batch.follow(timeout=60)
    (job,) = await service.jobs(batch.id, state="done")
    words = await service.fetch_table([job.job_id], "words.parquet", ["text"])
    print(job.filename, len(words) > 0, await service.cancel([job]))
"""

NESTED = """
import asyncio, docnats

async def answer():
    return 42

docnats.allow_nested_asyncio()
print(asyncio.run(answer()))
"""


@pytest.mark.usefixtures("on_the_stack")
def test_a_cell_can_await_the_service_on_its_own_loop(
    start_kernel: Callable[[], Kernel], tmp_path: Path
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(text_pdf())
    reply = start_kernel().run(f"path = {str(path)!r}\n{AWAITED}")
    assert (reply.error, reply.printed) == ("", "a.pdf True 0\n")


def test_asyncio_run_is_allowed_in_a_cell_on_request(start_kernel: Callable[[], Kernel]) -> None:
    kernel = start_kernel()
    refused = kernel.run("import asyncio\nasyncio.run(asyncio.sleep(0))")
    assert (refused.error, "running event loop" in refused.message) == ("RuntimeError", True)
    allowed = kernel.run(NESTED)
    assert (allowed.error, allowed.printed) == ("", "42\n")
