"""The notebook experience in a real JupyterLab, through its real face."""

from __future__ import annotations

import os
import re
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.pdfs import text_pdf
from tests.plugins import EXAMPLE, write_metadata

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.notebook import Notebook

    Open = Callable[..., Notebook]

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
expect = sync_api.expect

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"

START = "import docnats; docnats.health().healthy"

FILES = 40
"""They take one worker some seconds: time enough to look, interrupt and kill."""

EVIL_NAME = "<img src=x onerror=alert(1)>.pdf"

ALL_DONE = f"{FILES} of {FILES} documents done"

MINUTE = 60_000


@pytest.fixture(autouse=True)
def pdfs(folder: Path) -> Path:
    """A pile of PDFs, in the folder ``pdfs`` beside the notebook."""
    pile = folder / "pdfs"
    pile.mkdir()
    document = text_pdf(60, lines=40)
    for number in range(FILES):
        (pile / f"{number:02}.pdf").write_bytes(document)
    return pile


def ended_values(output: Locator) -> Iterator[int]:
    """Yield how many documents have ended, as the bar tells, each time that it has moved."""
    bar = output.get_by_role("progressbar")
    last = None
    while True:
        value = int(bar.get_attribute("aria-valuenow"))
        if value != last:
            last = value
            yield value


def unfold(output: Locator) -> None:
    """Open what can be opened in an output."""
    for summary in output.locator("details:not([open]) > summary:visible").all():
        summary.click()


def test_the_quickstart_runs_to_its_end(open_notebook: Open) -> None:
    notebook = open_notebook(QUICKSTART)
    notebook.run_all()
    expect(notebook.output(1)).to_contain_text("lost-letter.pdf")
    notebook.picture("quickstart", cell=1)


def test_the_bar_moves_while_the_cell_runs(open_notebook: Open) -> None:
    notebook = open_notebook([START, "jobs = docnats.submit_many('pdfs')"])
    notebook.run(0)
    notebook.begin(1)
    seen = []
    for value in ended_values(notebook.output(1)):
        assert notebook.is_busy(1), f"the cell returned when the bar had only been at {seen}"
        seen.append(value)
        if len(seen) == 6:
            break
    assert seen == sorted(seen)
    notebook.picture("running", cell=1)
    notebook.wait(1)
    expect(notebook.output(1)).to_contain_text(ALL_DONE)
    notebook.picture("finished", cell=1)


def test_the_bar_moves_after_the_cell_has_returned(open_notebook: Open) -> None:
    begin, cancel = "jobs = docnats.submit_many('pdfs', wait=False)", "jobs.docnats.cancel();"
    notebook = open_notebook([START, begin, "6 * 7", cancel])
    notebook.run(0)
    output = notebook.run(1)
    values = ended_values(output)
    seen = [next(values) for _ in range(4)]
    assert seen == sorted(seen)
    expect(notebook.run(2)).to_contain_text("42")
    notebook.picture("after-the-cell")
    notebook.run(3)
    expect(output.get_by_role("progressbar")).to_have_count(0)
    expect(output).to_contain_text("cancelled")
    notebook.picture("cancelled", cell=1)


def test_the_stop_button_gives_control_back_and_the_next_call_works(open_notebook: Open) -> None:
    again = "docnats.jobs().docnats.cancel()\ndocnats.submit_many('pdfs/00.pdf').state.tolist()"
    notebook = open_notebook([START, "jobs = docnats.submit_many('pdfs')", again])
    notebook.run(0)
    notebook.begin(1)
    next(value for value in ended_values(notebook.output(1)) if value > 0)
    notebook.interrupt()
    notebook.wait(1)
    expect(notebook.output(1)).to_contain_text("docnats.attach(")
    notebook.picture("interrupted", cell=1)
    expect(notebook.run(2)).to_contain_text("['done']")


def test_a_running_batch_is_still_shown_after_a_reload(open_notebook: Open) -> None:
    notebook = open_notebook([START, "jobs = docnats.submit_many('pdfs', wait=False)"])
    notebook.run(0)
    notebook.run(1)
    notebook.reload()
    values = ended_values(notebook.output(1))
    assert [next(values) for _ in range(3)]
    notebook.picture("reloaded-running", cell=1)
    expect(notebook.output(1)).to_contain_text(ALL_DONE, timeout=MINUTE)


def test_a_finished_batch_is_shown_after_a_reload_and_saved_without_widgets(
    open_notebook: Open,
) -> None:
    notebook = open_notebook(["import docnats\njobs = docnats.submit_many('pdfs/00.pdf')"])
    notebook.run(0)
    notebook.reload()
    expect(notebook.output(0)).to_contain_text("1 of 1 document done")
    notebook.picture("reloaded", cell=0)
    saved = nbformat.read(notebook.path, as_version=4)
    assert "widgets" not in saved.metadata
    (output,) = saved.cells[0].outputs
    assert set(output.data) == {"text/html", "text/plain"}


def test_the_name_of_a_failed_file_is_only_text(open_notebook: Open) -> None:
    sources = f"[({EVIL_NAME!r}, b'<html>'), 'pdfs']"
    begin, cancel = f"jobs = docnats.submit_many({sources}, wait=False)", "jobs.docnats.cancel();"
    notebook = open_notebook([START, begin, cancel])
    notebook.run(0)
    output = notebook.run(1)

    def check() -> None:
        expect(output).to_contain_text(EVIL_NAME)
        unfold(output)
        expect(output.get_by_text(EVIL_NAME).first).to_be_visible()
        expect(output.locator("img")).to_have_count(0)

    check()
    expect(output.get_by_role("progressbar")).to_be_visible()
    notebook.picture("failure-running", cell=1)
    notebook.run(2)
    expect(output.get_by_role("progressbar")).to_have_count(0)
    check()
    notebook.picture("failure", cell=1)
    notebook.reload()
    check()


def test_jobs_are_said_to_wait_for_a_worker_that_can_do_them(
    open_notebook: Open, folder: Path
) -> None:
    """Their plugin is there for the notebook alone."""
    write_metadata(EXAMPLE, folder / "site")
    plugin = f"import sys\nsys.path += ['site', {str(EXAMPLE)!r}]"
    submit = "jobs = docnats.submit_many('pdfs', processor='wordcount', wait=False)"
    notebook = open_notebook([f"{START}\n{plugin}", submit, "jobs.docnats.cancel();"])
    notebook.run(0)
    output = notebook.run(1)
    told = f"{FILES} jobs wait for a worker that offers wordcount"
    expect(output.locator(".docnats-unserved")).to_have_text(told, timeout=MINUTE)
    expect(output.get_by_role("status")).to_contain_text(told, timeout=MINUTE)
    notebook.picture("unserved", cell=1)
    notebook.run(2)
    expect(output.get_by_role("progressbar")).to_have_count(0)
    expect(output).to_contain_text(f"{FILES} cancelled")
    expect(output).not_to_contain_text("wait for a worker")


ALL_SENT = """
import time
end = time.monotonic() + 60
while (docnats.jobs("shared").state == "uploading").any():
    assert time.monotonic() < end
    time.sleep(0.1)
"""


def test_another_kernel_attaches_to_a_batch_whose_kernel_is_killed(open_notebook: Open) -> None:
    submit = "import docnats, os\njobs = docnats.submit_many('pdfs', batch='shared', wait=False)"
    first = open_notebook([f"{submit}\nos.getpid()"], name="first")
    kernel = int(re.findall(r"\d+", first.run(0).inner_text())[-1])
    attach = "import docnats\njobs = docnats.attach('shared')"
    rest = "docnats.attach('shared', wait=True).state.unique()"
    second = open_notebook([attach, ALL_SENT, rest], name="second")
    output = second.run(0)
    values = ended_values(output)
    assert [next(values) for _ in range(3)]
    second.picture("attached", cell=0)
    second.run(1)

    os.kill(kernel, signal.SIGKILL)
    assert next(values) < FILES
    expect(second.run(2)).to_contain_text("['done']")
    expect(output).to_contain_text(ALL_DONE)


def test_a_page_is_shown_with_boxes_that_can_be_switched_off(open_notebook: Open) -> None:
    source = """
    import docnats
    paths = [path for path in docnats.sample_paths() if path.name == "invoice.pdf"]
    jobs = docnats.submit_many(paths)
    jobs.docnats.show(jobs.job_id[0])
    """
    notebook = open_notebook([textwrap.dedent(source).strip()])
    output = notebook.run(0)
    for _ in range(2):
        page = output.get_by_role("img", name=re.compile(r"page 1 of invoice.pdf"))
        expect(page).to_be_visible()
        assert page.evaluate("image => image.naturalWidth") > 500
        word = output.locator("figure").get_by_title(re.compile(".")).first
        expect(word).to_be_visible()
        notebook.reload()
    notebook.picture("page", cell=0)
    output.get_by_text(re.compile(r"\d+ words in boxes")).click()
    expect(page).to_be_visible()
    expect(word).to_be_hidden()
