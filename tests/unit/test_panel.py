"""The progress panel: which one opens, what it writes, and that it never harms a batch."""

from __future__ import annotations

import io
import os
import re
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from types import SimpleNamespace

import pytest

from docnats.errors import ErrorType
from docnats.models import JobRecord, JobState, Progress, utc_now
from docnats.panel import open_panel
from docnats.panel.summary import BAR_ORDER, COLOURS, duration, html_summary, text_summary
from docnats.panel.widget import WidgetPanel, failure_rows, numbers

NASTY = "<img src=x onerror=alert(1)>\n\x1b[31m\u202e\udcff costs $5 & $6.pdf"


def progress(
    done: int = 0, *, total: int = 10, elapsed: float = 0, failures: tuple[JobRecord, ...] = ()
) -> Progress:
    counts = {
        JobState.DONE: done,
        JobState.FAILED: len(failures),
        JobState.QUEUED: total - done - len(failures),
    }
    return Progress("20260131-094500-3f9a1c", total, counts, done * 3, 100, 0, elapsed, failures)


def failure(filename: str = "bad.pdf", error: str = "it needs a password") -> JobRecord:
    return JobRecord(
        job_id="a" * 32,
        batch="b",
        filename=filename,
        state=JobState.FAILED,
        s3_bucket="documents",
        s3_key="raw/a.pdf",
        error_type=ErrorType.ENCRYPTED,
        error=error,
        submitted_at=utc_now(),
    )


class Terminal:
    """A pseudo-terminal: ``stream`` is what a program writes to."""

    def __init__(self) -> None:
        self._screen, keyboard_side = os.openpty()
        termios.tcsetwinsize(self._screen, (24, 120))
        self.stream = os.fdopen(keyboard_side, "w")

    def read_until(self, end: str) -> str:
        """Return what was written up to and with some text; the kernel hands it on in its time."""
        text = ""
        while end not in text:
            assert select.select([self._screen], [], [], 20)[0], f"only {text!r} was written"
            text += os.read(self._screen, 4096).decode()
        return text

    def close(self) -> None:
        self.stream.close()
        os.close(self._screen)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Return a terminal which a test makes its stderr."""
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_importing_the_panel_loads_no_widgets_and_no_tqdm() -> None:
    code = (
        "import sys, docnats.panel\n"
        "bad = {'ipywidgets', 'anywidget', 'IPython', 'tqdm'} & set(sys.modules)\n"
        "sys.exit(', '.join(bad) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_log_gets_few_lines_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A line at the start, one every ten seconds, and the outcome with its failures."""
    panel = open_panel(progress())
    for tenth in range(1, 250):
        panel.update(progress(5, elapsed=tenth / 10))
    panel.finish(progress(9, elapsed=25, failures=(failure(NASTY),)), "a note\x07")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "docnats: 0 of 10 documents done, 10 queued (0 pages, 0.0 s)",
        "docnats: 5 of 10 documents done, 5 queued (15 pages, 1.5 pages/s, 10 s)",
        "docnats: 5 of 10 documents done, 5 queued (15 pages, 0.8 pages/s, 20 s)",
    ]
    assert lines[3] == "docnats: 9 of 10 documents done, 1 failed (27 pages, 1.1 pages/s, 25 s)"
    assert "encrypted: it needs a password" in lines[4]
    assert lines[5:] == ["docnats: a note\N{REPLACEMENT CHARACTER}"]
    assert all(line.isprintable() for line in lines)


def test_a_batch_that_had_ended_already_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    panel = open_panel(progress(10))
    panel.finish(progress(10))
    assert capsys.readouterr().err.count("\n") == 1


def test_a_terminal_gets_a_bar_and_in_the_end_whole_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress())
    panel.update(progress(4, failures=(failure(),)))
    terminal.read_until("5/10, 1 failed")
    panel.finish(progress(4, failures=(failure(),)), "interrupted")
    written = terminal.read_until("interrupted\r\n")
    bar, _, lines = written.rpartition("\rdocnats: 4 of 10 documents done, 1 failed")
    assert bar.endswith(" ")  # it was wiped
    assert lines.splitlines()[1:] == [
        "docnats:   bad.pdf: encrypted: it needs a password",
        "docnats: interrupted",
    ]


@pytest.mark.parametrize("total", [0, 1])
def test_a_bar_can_be_drawn_for_hardly_any_jobs(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress(total=total))
    panel.finish(progress(total, total=total))
    terminal.read_until(f"{total} of {total} document")


def test_none_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    panel = open_panel(progress(), kind="none")
    panel.update(progress(5, elapsed=60))
    panel.finish(progress(10), "a note")
    assert capsys.readouterr().err == ""


def test_marimo_gets_text_although_a_kernel_seems_to_be_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: True))
    open_panel(progress())
    assert capsys.readouterr().err.startswith("docnats: 0 of 10")


def test_a_widget_outside_a_shell_falls_back_to_text(capsys: pytest.CaptureFixture[str]) -> None:
    open_panel(progress(), kind="widget")
    assert capsys.readouterr().err.startswith("docnats: 0 of 10")


def test_a_display_that_fails_is_logged_once_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    panel = open_panel(progress())
    stream.close()
    panel.update(progress(5, elapsed=60))
    panel.update(progress(6, elapsed=80))
    panel.finish(progress(10))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_nothing_is_shown_after_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    panel = open_panel(progress())
    panel.finish(progress(10))
    assert capsys.readouterr().err != ""
    panel.update(progress(10, elapsed=60))
    panel.finish(progress(10))
    assert capsys.readouterr().err == ""


class Tags(HTMLParser):
    """Collects the tags and the text of a page, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_static_html_escapes_every_text_and_loads_nothing() -> None:
    page = html_summary(progress(9, failures=(failure(NASTY, f"why: {NASTY}"),)), NASTY)
    read = Tags(page)
    assert read.tags <= {"div", "strong", "code", "details", "summary", "ul", "li"}
    assert read.text.count("<img src=x onerror=alert(1)>") == 3
    assert page.isprintable()
    assert "http" not in page
    page.encode()


def test_the_static_html_reads_well_without_its_styles() -> None:
    read = Tags(html_summary(progress(9, elapsed=60, failures=(failure(),))))
    assert read.text == (
        "9 of 10 documents done, 1 failed27 pages · 0.5 pages/s · 1 min 0 s · "
        "20260131-094500-3f9a1c1 failed documentbad.pdf encrypted: it needs a password"
    )


def test_long_lists_of_failures_are_closed_and_say_how_many_there_are() -> None:
    shown = Progress("b", 400, {JobState.FAILED: 312}, 0, 0, 0, 0, (failure(),) * 100)
    page = html_summary(shown)
    assert "<details open" not in page
    assert "312 failed documents, the newest 100" in page
    assert text_summary(shown).splitlines()[-1] == "  and 302 more failed"


def test_reasons_are_of_bounded_length() -> None:
    rows = failure_rows(progress(failures=(failure(error="x" * 10_000),) * 120))
    assert {len(row["reason"]) for row in rows} == {300}
    assert len(rows) == 100


def test_the_widget_gets_clean_text_and_every_state_in_the_order_of_the_bar() -> None:
    shown = progress(4, failures=(failure(NASTY),))
    assert list(numbers(shown)["counts"]) == [state.value for state in BAR_ORDER]
    assert set(BAR_ORDER) == set(JobState)
    assert failure_rows(shown)[0]["filename"].isprintable()


def test_an_update_sends_one_message_and_only_what_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Failures, which are many, travel only when there are new ones."""
    panel = WidgetPanel(progress())
    sent: list[list[str]] = []
    monkeypatch.setattr(
        type(panel._widget), "send_state", lambda _, keys: sent.append(sorted(keys))
    )
    panel.update(progress(3))
    panel.update(progress(4, failures=(failure(),)))
    panel.update(progress(4, failures=(failure(),)))
    assert sent == [["snapshot"], ["failures", "snapshot"], []]


def test_the_assets_come_with_the_package_and_load_nothing() -> None:
    script, sheet = (
        (files("docnats.panel") / name).read_text() for name in ("widget.js", "widget.css")
    )
    assert not re.search(r"innerHTML|insertAdjacentHTML|\bimport\b|https?:|fetch\(", script)
    assert not re.search(r"@import|url\(", sheet)


def test_widget_and_static_html_use_the_same_colours() -> None:
    sheet = (files("docnats.panel") / "widget.css").read_text()
    found = dict(re.findall(r"--docnats-(\w+): (#[0-9a-f]{6});", sheet))
    assert found == {state.value: colour for state, colour in COLOURS.items()}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3599.9, "1 h 0 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
