"""The progress panel: which one opens, what it writes, and that it never harms a batch."""

from __future__ import annotations

import io
import os
import re
import select
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from types import SimpleNamespace

import pytest

from docnats.errors import ErrorType
from docnats.models import (
    JobRecord,
    JobState,
    Outage,
    Progress,
    RunningJob,
    Unserved,
    WorkerActivity,
    utc_now,
)
from docnats.panel import open_panel
from docnats.panel.summary import COLOURS, html_summary
from docnats.panel.widget import (
    NAMES_SHOWN,
    BatchWidget,
    WidgetPanel,
    failure_rows,
    numbers,
    worker_rows,
)
from docnats.panel.words import (
    BAR_ORDER,
    display_name,
    doing,
    text_summary,
    tiles,
)

NASTY = "<img src=x onerror=alert(1)>\n\x1b[31m\u202e\udcff costs $5 & $6.pdf"


def progress(
    done: int = 0, *, total: int = 10, elapsed: float = 0, failures: tuple[JobRecord, ...] = ()
) -> Progress:
    counts = {
        JobState.DONE: done,
        JobState.FAILED: len(failures),
        JobState.QUEUED: total - done - len(failures),
    }
    codes = {state: bytes([code]) for code, state in enumerate(JobState)}
    return Progress(
        "20260131-094500-3f9a1c",
        total,
        counts,
        done * 3,
        100,
        0,
        elapsed,
        failures,
        snapshot=b"".join(codes[state] * count for state, count in counts.items()),
        pages_per_second=done * 3 / elapsed if done and elapsed else None,
    )


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


class Meeting(io.StringIO):
    """A stream in which writers wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.expected = 1
        self._here = threading.Condition()

    def write(self, text: str) -> int:
        with self._here:
            self.expected -= 1
            self._here.notify_all()
            assert self._here.wait_for(lambda: self.expected <= 0, timeout=20)
            return super().write(text)


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


def test_a_log_says_that_no_worker_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    panel = open_panel(progress())
    panel.update(replace(progress(elapsed=10), workers=()))
    panel.finish(replace(progress(10, elapsed=20), workers=()))
    first, second, summary, *_ = capsys.readouterr().err.splitlines()
    assert second == (
        "docnats: 0 of 10 documents done, 10 queued (waiting for a live worker, 0 pages, 10 s)"
    )
    assert "worker" not in first + summary


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


@pytest.mark.parametrize(("total", "said"), [(0, "No documents"), (1, "1 of 1 document done")])
def test_a_bar_can_be_drawn_for_hardly_any_jobs(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, total: int, said: str
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress(total=total))
    panel.finish(progress(total, total=total))
    terminal.read_until(f"docnats: {said}")


def test_a_terminal_whose_user_types_on_gets_lines_only(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bar is drawn over the prompt: a line at the start, one a minute, the summary."""
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress(), background=True)
    for second in range(1, 100):
        panel.update(progress(5, elapsed=second), "reconnecting" if second > 90 else None)
    panel.finish(progress(10, elapsed=100))
    written = terminal.read_until("(30 pages, 0.3 pages/s, 1 min 40 s)\r\n")
    assert written.splitlines() == [
        "docnats: 0 of 10 documents done, 10 queued (0 pages, 0.0 s)",
        "docnats: 5 of 10 documents done, 5 queued (15 pages, 0.2 pages/s, 1 min 0 s)",
        "docnats: reconnecting",
        "docnats: 10 of 10 documents done (30 pages, 0.3 pages/s, 1 min 40 s)",
    ]


def test_a_bar_is_taken_away_when_the_user_gets_the_prompt_back(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interrupt the batch goes on, but nothing may be drawn over what is typed."""
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress())
    panel.release(progress(2))
    terminal.read_until("docnats: 2 of 10 documents done, 8 queued")
    panel.update(progress(5, elapsed=1))
    panel.finish(progress(10))
    written = terminal.read_until("docnats: 10 of 10 documents done (30 pages, 0.0 s)\r\n")
    assert written.count("docnats") == 1


def test_a_panel_may_be_released_while_it_is_updated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The user's thread and the loop's may be in the panel at once."""
    monkeypatch.setattr(sys, "stderr", stream := Meeting())
    panel = open_panel(progress())
    stream.expected = 2
    updating = threading.Thread(target=lambda: panel.update(progress(5, elapsed=60)))
    updating.start()
    panel.update(progress(6, elapsed=120))
    updating.join(20)
    assert not caplog.records


def test_lines_go_to_what_is_stderr_at_that_moment(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IPython prompt puts a stream there that keeps what is being typed."""
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress(), background=True)
    monkeypatch.setattr(sys, "stderr", at_the_prompt := io.StringIO())
    panel.finish(progress(10))
    assert at_the_prompt.getvalue().startswith("docnats: 10 of 10")


def test_a_bar_shows_a_note_while_it_holds(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress())
    panel.update(progress(), "reconnecting\x07")
    terminal.read_until("reconnecting\N{REPLACEMENT CHARACTER}")
    panel.finish(progress(10))
    assert "reconnecting" not in terminal.read_until("10 of 10 documents done")


def out_of_reach(*outages: Outage, elapsed: float = 0) -> Progress:
    return replace(progress(5, elapsed=elapsed), outages=outages)


def test_a_bar_says_which_server_is_waited_for_and_for_how_long(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress())
    panel.update(out_of_reach(Outage("NATS", 12.7)))
    terminal.read_until("Reconnecting to NATS (12 s)")
    panel.update(progress(6))
    terminal.read_until("6/10")
    panel.finish(progress(10))
    assert "NATS" not in terminal.read_until("10 of 10 documents done")


def test_the_lines_of_a_long_outage_say_for_how_long_it_lasts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    panel = open_panel(progress(elapsed=0))
    for second in (5, 15):
        panel.update(out_of_reach(Outage("NATS", second), elapsed=second))
    first, *_, last = capsys.readouterr().err.splitlines()
    assert "NATS" not in first
    assert "(Reconnecting to NATS (15 s), " in last


def test_a_log_says_once_that_a_server_is_waited_for_and_once_that_it_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    panel = open_panel(progress())
    for second in range(1, 6):
        panel.update(out_of_reach(Outage("S3", second), elapsed=second))
    panel.update(out_of_reach(Outage("NATS", 1), Outage("S3", 6), elapsed=6))
    panel.update(progress(6, elapsed=7))
    panel.finish(progress(10, elapsed=8))
    assert capsys.readouterr().err.splitlines()[1:-1] == [
        "docnats: Waiting for S3",
        "docnats: Reconnecting to NATS, waiting for S3",
        "docnats: Connected again",
    ]


def test_a_widget_is_told_of_outages_with_and_without_their_seconds() -> None:
    """What is seen counts; what is read aloud does not change every second."""
    told = numbers(out_of_reach(Outage("NATS", 75), Outage("S3", 3.9)))
    assert told["waiting"] == "Reconnecting to NATS (1 min 15 s), waiting for S3 (3 s)"
    assert told["waiting_for"] == "Reconnecting to NATS, waiting for S3"
    told = numbers(progress())
    assert (told["waiting"], told["waiting_for"]) == ("", "")


def unserved(*jobs: Unserved, elapsed: float = 0) -> Progress:
    return replace(progress(5, elapsed=elapsed), unserved=jobs)


DOCLING = "3 jobs wait for a worker that offers docling"


def test_a_bar_says_which_jobs_wait_for_another_worker(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    panel = open_panel(progress())
    panel.update(unserved(Unserved("docling", False, 3)))
    terminal.read_until(DOCLING)
    panel.finish(progress(10))
    assert "wait" not in terminal.read_until("10 of 10 documents done")


def test_a_log_says_at_once_and_in_every_line_which_jobs_wait_for_another_worker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    panel = open_panel(progress())
    panel.update(unserved(Unserved("docling", False, 1), elapsed=1))
    for second in range(2, 13):
        panel.update(unserved(Unserved("docling", False, 3), elapsed=second))
    panel.update(progress(6, elapsed=13))
    panel.finish(unserved(Unserved("docling", False, 3), elapsed=14))
    start = "docnats: 5 of 10 documents done, 5 queued"
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"{start} (1 job waits for a worker that offers docling, 15 pages, 15 pages/s, 1.0 s)",
        f"{start} ({DOCLING}, 15 pages, 1.4 pages/s, 11 s)",
        f"{start} ({DOCLING}, 15 pages, 1.1 pages/s, 14 s)",
    ]


def test_a_widget_and_the_static_html_say_which_jobs_wait_for_another_worker() -> None:
    kinds = [Unserved(NASTY, False, 2), *(Unserved(f"p{place}", True, 1) for place in range(4))]
    told = numbers(unserved(*kinds))["unserved"]
    assert told.startswith("2 jobs wait for a worker that offers <img src=x onerror=alert(1)>")
    assert told.endswith(", 1 job waits for a worker that offers p1 and a language model, …")
    assert told.isprintable()
    read = Tags(html_summary(unserved(*kinds)))
    assert told in read.text
    assert "img" not in read.tags
    assert numbers(progress())["unserved"] == ""


def test_none_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    panel = open_panel(progress(), kind="none")
    panel.update(progress(5, elapsed=60))
    panel.finish(progress(10), "a note")
    assert capsys.readouterr().err == ""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it look as if this were a Jupyter kernel."""
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("marimo", SimpleNamespace(running_in_notebook=lambda: True)),
        ("google.colab", SimpleNamespace()),
    ],
)
@pytest.mark.usefixtures("kernel")
def test_where_widgets_stand_still_there_is_text(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
    content: SimpleNamespace,
) -> None:
    monkeypatch.setitem(sys.modules, module, content)
    open_panel(progress())
    assert capsys.readouterr().err.startswith("docnats: 0 of 10")


def test_a_widget_outside_a_shell_falls_back_to_text(capsys: pytest.CaptureFixture[str]) -> None:
    open_panel(progress(), kind="widget")
    assert capsys.readouterr().err.startswith("docnats: 0 of 10")


@pytest.mark.usefixtures("kernel")
def test_a_kernel_whose_widgets_are_broken_gets_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "docnats.panel.widget", None)
    panel = open_panel(progress())
    panel.finish(progress(10))
    assert capsys.readouterr().err.splitlines()[-1].startswith("docnats: 10 of 10")


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
    assert read.tags <= {"div", "span", "strong", "code", "details", "summary", "ul", "li"}
    assert read.text.count("<img src=x onerror=alert(1)>") == 3
    assert page.isprintable()
    assert "http" not in page
    page.encode()


def test_the_static_html_reads_well_without_its_styles() -> None:
    """Sites such as GitHub drop them; what styles hide is then there to set things apart."""
    read = Tags(html_summary(progress(9, elapsed=60, failures=(failure(),))))
    assert read.text == (
        "9 of 10 documents done 20260131-094500-3f9a1c● 9 done ● 1 failed "
        "Pages 27 · 0.5 pages/sTime 1 min 0 s "
        "1 failed documentbad.pdf encrypted: it needs a password"
    )


@pytest.mark.parametrize("total", [0, 1, 13, 50_000])
@pytest.mark.parametrize("failed", [0, 5_000])
def test_every_summary_is_of_bounded_length(total: int, failed: int) -> None:
    shown = replace(progress(total, total=total), failures=(failure("x" * 9000),) * failed)
    assert len(html_summary(shown)) < 100_000
    assert len(text_summary(shown)) < 10_000


def test_a_batch_without_documents_says_just_that() -> None:
    assert Tags(html_summary(progress(total=0))).text == "No documents 20260131-094500-3f9a1c"


def test_long_lists_of_failures_are_closed_and_say_how_many_there_are() -> None:
    shown = Progress("b", 400, {JobState.FAILED: 312}, 0, 0, 0, 0, (failure(),) * 100)
    page = html_summary(shown)
    assert "<details open" not in page
    assert "312 failed documents, the newest 100" in page
    assert text_summary(shown).splitlines()[-1] == "  and 302 more failed"


def test_reasons_and_names_are_of_bounded_length() -> None:
    rows = failure_rows(progress(failures=(failure("y" * 5000, error="x" * 10_000),) * 120))
    assert {len(row["reason"]) for row in rows} == {300}
    assert {len(row["filename"]) for row in rows} == {160}
    assert len(rows) == 100


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    name = display_name(f"2021/{'very-' * 100}long.pdf")
    assert name.startswith("2021/very-")
    assert name.endswith("-long.pdf")
    assert "…" in name


def test_the_widget_gets_clean_text_and_every_state_in_the_order_of_the_bar() -> None:
    worker = WorkerActivity(NASTY, 2, (RunningJob(NASTY),))
    shown = replace(progress(4, failures=(failure(NASTY),)), workers=(worker,))
    assert list(numbers(shown)["counts"]) == [state.value for state in BAR_ORDER]
    assert set(BAR_ORDER) == set(JobState)
    assert numbers(shown, NASTY)["note"].isprintable()
    assert failure_rows(shown)[0]["filename"].isprintable()
    (row,) = worker_rows(shown)["rows"]
    assert (row["worker"] + row["jobs"][0]["filename"]).isprintable()


def test_the_numbers_say_what_is_known_and_no_more() -> None:
    """Uploads are left out where nothing is uploaded; workers may be unknown, or none."""
    unknown = progress()
    assert [tile.label for tile in tiles(unknown)] == ["Pages", "Workers", "Time left"]
    assert [tile.value for tile in tiles(unknown)] == ["0", "\N{EN DASH}", "\N{EN DASH}"]
    known = replace(
        progress(5, elapsed=75.9),
        bytes_sent=40_000_000,
        bytes_total=90_000_000,
        bytes_sent_per_second=3_140_000.0,
        remaining=(65.0, 171.0),
        workers=(WorkerActivity("a", 2), WorkerActivity("b", 4)),
    )
    assert [tuple(tile) for tile in tiles(known)] == [
        ("Pages", "15", "0.2 pages/s"),
        ("Uploaded", "40 MB", "3.1 MB/s"),
        ("Workers", "2", "6 parsers"),
        ("Time left", "1 to 3 min", "1 min 16 s so far"),
    ]
    assert tiles(replace(known, workers=()))[2] == ("Workers", "none", "waiting for one")


def test_a_worker_is_shown_with_what_it_does() -> None:
    long_one = RunningJob("long.pdf", 210, 32, ((33, 64), (65, 96)))
    worker = WorkerActivity("host-1-ab", 2, (long_one, RunningJob("new.pdf")), other_jobs=3)
    shown = worker_rows(replace(progress(), workers=(worker, WorkerActivity("host-2-cd", 1))))
    assert [row["detail"] for row in shown["rows"]] == [
        "2 parsers · 3 documents of other batches",
        "1 parser · idle",
    ]
    assert [(job["filename"], job["doing"]) for job in shown["rows"][0]["jobs"]] == [
        ("long.pdf", "pages 33-64, 65-96 of 210"),
        ("new.pdf", "starting"),
    ]


def test_of_many_workers_the_busy_ones_are_shown() -> None:
    busy = WorkerActivity("busy", 2, (RunningJob("a.pdf", 4, 1), RunningJob("b.pdf")))
    idle = [WorkerActivity(f"idle-{number}", 2) for number in range(100)]
    shown = worker_rows(replace(progress(), workers=(*idle, busy)))
    assert shown["rows"][0]["worker"] == "busy"
    assert shown["rows"][0]["detail"] == "2 parsers · 1 more document"
    assert len(shown["rows"]) == 6
    assert shown["more"] == "and 95 more workers"


def test_page_ranges_are_said_shortly() -> None:
    many = tuple((page, page + 1) for page in range(1, 400, 32))
    assert doing(RunningJob("a.pdf", 4000, 0, many)) == "pages 1-2, 33-34, 65-66, … of 4,000"
    assert doing(RunningJob("a.pdf", 4, 1, ((2, 2),))) == "page 2 of 4"
    assert doing(RunningJob("a.pdf", 1, 1)) == "1 of 1 page"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The traits of each message a widget sends in an update."""
    messages: list[list[str]] = []

    def send(widget: BatchWidget, keys: set[str] | str) -> None:
        if not isinstance(keys, str):  # one that anywidget sends while a widget is made
            messages.append(sorted(keys))

    monkeypatch.setattr(BatchWidget, "send_state", send)
    return messages


def test_an_update_sends_one_message_and_only_what_changed(sent: list[list[str]]) -> None:
    """The snapshot and the failures, which are many bytes, travel when they differ."""
    panel = WidgetPanel(progress(), ["a.pdf"] * 10)
    panel.update(progress(3))
    panel.update(progress(3, elapsed=1))
    panel.update(progress(3, elapsed=1), "reconnecting")
    panel.update(progress(4, failures=(failure(),)))
    panel.update(progress(4, failures=(failure(),)))
    assert sent == [
        ["progress", "snapshot"],
        ["progress"],
        ["progress"],
        ["failures", "progress", "snapshot"],
        [],
    ]


def test_large_snapshots_are_sent_less_often(sent: list[list[str]]) -> None:
    """A million bytes five times a second would be too much for a connection."""
    panel = WidgetPanel(progress(total=1_000_000))
    for tick in range(1, 51):
        panel.update(progress(tick, total=1_000_000, elapsed=tick / 5))
    assert len(sent) == 50
    assert [number for number, keys in enumerate(sent, 1) if "snapshot" in keys] == [20, 40]


def test_names_are_sent_once_and_up_to_a_number(sent: list[list[str]]) -> None:
    panel = WidgetPanel(progress(), (f"{NASTY}{number}" for number in range(NAMES_SHOWN + 5)))
    panel.update(progress(3))
    names = panel._widget.filenames
    assert len(names) == NAMES_SHOWN
    assert all(name.isprintable() for name in names[:10])
    assert not any("filenames" in keys for keys in sent)


def test_a_frontend_without_widgets_shows_a_sentence() -> None:
    assert repr(BatchWidget(progress=numbers(progress(3)))) == (
        "docnats: 3 of 10 documents done, 7 queued"
    )


SCRIPT = str(BatchWidget._esm)


def test_the_script_is_one_module_that_loads_nothing() -> None:
    """Of the modules it is made of, each is in it, and none is asked for by the browser."""
    for part in files("docnats.panel").joinpath("script").iterdir():
        exported = re.findall(r"^export (?:function|const) (\w+)", part.read_text(), re.MULTILINE)
        for name in exported:
            assert re.search(rf"^(function|const) {name}\b", SCRIPT, re.MULTILINE), name
    assert len(re.findall(r"^export ", SCRIPT, re.MULTILINE)) == 1
    assert not re.search(r"innerHTML|insertAdjacentHTML|\bimport\b|https?:|fetch\(", SCRIPT)


def test_no_two_modules_of_the_script_declare_the_same_name() -> None:
    names = re.findall(r"^(?:function|const|let) (\w+)", SCRIPT, re.MULTILINE)
    assert sorted(names) == sorted(set(names))


def test_the_script_knows_the_states_by_their_bytes() -> None:
    (listed,) = re.findall(r"^const STATES = \[(.*)\];$", SCRIPT, re.MULTILINE)
    assert re.findall(r'"(\w+)"', listed) == [state.value for state in JobState]


def test_the_style_sheet_loads_nothing_and_has_the_colours_of_the_static_html() -> None:
    sheet = (files("docnats.panel") / "widget.css").read_text()
    assert not re.search(r"@import|url\(", sheet)
    found = dict(re.findall(r"--docnats-(\w+): (#[0-9a-f]{6});", sheet))
    assert found == {state.value: colour for state, colour in COLOURS.items()}
