"""What the live panel costs the kernel and the browser: ``python -m benchmarks.panel``."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from benchmarks.measure import Target, arguments, finish, print_table
from docnats.models import JobRecord, JobState, Progress, RunningJob, WorkerActivity, utc_now
from docnats.panel import open_panel
from tests.browser.jupyterlab import JupyterLab

UPDATES_A_SECOND = 5
KERNEL_LIMIT = 2.0
"""Percent of a core, as the next one."""
BROWSER_LIMIT = 25.0
IDLE_SECONDS = 5
SPARE_SECONDS = 5
CHROMIUM = "/usr/bin/chromium"
ROOT = Path(__file__).parent.parent
CELL = """
import sys; sys.path.insert(0, {root!r})
from benchmarks.panel import feed
thread = feed({jobs}, {seconds})
"""


def main() -> int:
    """Measure both sides and print the table; fail when one is over its limit."""
    options = _options()
    if not options.no_browser and find_spec("playwright") is None:
        print("needs the extras dev and notebook; or --no-browser", file=sys.stderr)
        return 2
    rows = [kernel_row(options.jobs, options.seconds)]
    if not options.no_browser:
        rows += browser_rows(options.jobs, options.seconds)
    print_table(
        [f"{options.jobs:,} jobs, {UPDATES_A_SECOND} Hz", "idle %", "with panel %", "limit %"],
        [[name, f"{idle:.2f}", f"{busy:.2f}", f"{limit:.0f}"] for name, idle, busy, limit in rows],
    )
    targets = [
        Target(f"{name}, % of a core", busy - idle, limit) for name, idle, busy, limit in rows
    ]
    finish(options.json, {"rows": rows}, targets=targets)
    return 0 if all(target.reached for target in targets) else 1


def _options() -> Any:
    parser = arguments("panel", __doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--no-browser", action="store_true", help="measure the kernel only")
    return parser.parse_args()


def feed(jobs: int, seconds: float) -> threading.Thread:
    """Open a panel in this cell and keep it busy from a thread, as a batch in the background."""
    first, *moments = progress_of(jobs, round(seconds * UPDATES_A_SECOND))
    panel = open_panel(first, filenames=[f"scan-{job:06}.pdf" for job in range(jobs)])

    def run() -> None:
        due = time.monotonic()
        for moment in moments:
            panel.update(moment)
            due += 1 / UPDATES_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def progress_of(jobs: int, updates: int) -> Iterator[Progress]:
    """Yield a batch in which jobs start and end all the time, and one in a hundred fails."""
    codes = {state: code for code, state in enumerate(JobState)}
    snapshot = bytearray([codes[JobState.QUEUED]]) * jobs
    failures: list[JobRecord] = []
    step = max(1, jobs // (updates + 1))
    for update in range(updates + 1):
        ended = min((update + 1) * step, jobs)
        for job in range(update * step, ended):
            snapshot[job] = codes[JobState.FAILED if job % 100 == 99 else JobState.DONE]
            if job % 100 == 99:
                failures.insert(0, _failure(job))
        for job in range(ended, min(ended + 4, jobs)):
            snapshot[job] = codes[JobState.RUNNING]
        yield _progress(bytes(snapshot), tuple(failures[:100]), update / UPDATES_A_SECOND, ended)


def _progress(
    snapshot: bytes, failures: tuple[JobRecord, ...], elapsed: float, ended: int
) -> Progress:
    found = Counter(snapshot)
    size = 1_400_000 * len(snapshot)
    running = tuple(
        RunningJob(f"scan-{ended + place:06}.pdf", 210, (ended + place) % 210, ((33, 64),))
        for place in range(4)
    )
    return Progress(
        batch="20260131-094500-3f9a1c",
        total=len(snapshot),
        counts={state: found[code] for code, state in enumerate(JobState)},
        pages=ended * 9,
        bytes_total=size,
        bytes_done=ended * 1_400_000,
        elapsed=elapsed,
        failures=failures,
        snapshot=snapshot,
        bytes_sent=size,
        pages_per_second=34.0,
        remaining=(60.0, 90.0),
        workers=(WorkerActivity("host-4000-ab12", 4, running),),
    )


def _failure(job: int) -> JobRecord:
    return JobRecord(
        job_id=f"{job:032}",
        batch="20260131-094500-3f9a1c",
        filename=f"scan-{job:06}.pdf",
        state=JobState.FAILED,
        s3_bucket="documents",
        s3_key=f"raw/{job:032}.pdf",
        error="the file is not a PDF: it looks like HTML, perhaps an error page of a download",
        submitted_at=utc_now(),
    )


Row = tuple[str, float, float, float]
"""Who, percent of a core when idle, percent with the panel, the limit of the difference."""


def kernel_row(jobs: int, seconds: float) -> Row:
    """Measure a real ipykernel that runs no cell while the panel goes on."""
    manager, client = start_new_kernel()
    try:
        process = psutil.Process(manager.provisioner.process.pid)
        _run(client, jobs, 0)  # now everything is imported
        (idle,) = cpu_percent([[process]], IDLE_SECONDS)
        _run(client, jobs, seconds + SPARE_SECONDS)
        (busy,) = cpu_percent([[process]], seconds)
        return "kernel", idle, busy, KERNEL_LIMIT
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run(client: BlockingKernelClient, jobs: int, seconds: float) -> None:
    cell = CELL.format(root=str(ROOT), jobs=jobs, seconds=seconds)
    reply = client.execute(cell, reply=True, timeout=60)
    assert reply["content"]["status"] == "ok", reply["content"]


def browser_rows(jobs: int, seconds: float) -> list[Row]:
    """Measure JupyterLab in a headless browser: its pages, and the process that paints."""
    from playwright.sync_api import sync_playwright

    from tests.browser.notebook import Notebook, write_notebook

    cell = CELL.format(root=str(ROOT), jobs=jobs, seconds=seconds + SPARE_SECONDS)
    with tempfile.TemporaryDirectory(prefix="docnats-benchmark-") as folder:
        lab = JupyterLab(Path(folder))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM)
                path = write_notebook(lab.root / "panel.ipynb", [cell])
                notebook = Notebook(browser.new_page(), lab, path, Path(folder))
                time.sleep(SPARE_SECONDS)  # JupyterLab goes on loading for a while
                idle = cpu_percent(_browser_processes(), IDLE_SECONDS)
                notebook.run(0).locator("canvas").wait_for()
                busy = cpu_percent(_browser_processes(), seconds)
        finally:
            lab.stop()
    names = ("browser, pages", "browser, painting")
    return [(*row, BROWSER_LIMIT) for row in zip(names, idle, busy, strict=True)]


def _browser_processes() -> list[list[psutil.Process]]:
    """Return the processes of pages and those that paint; the browser is our descendant."""
    found: dict[str, list[psutil.Process]] = {"renderer": [], "gpu-process": []}
    for process in psutil.Process().children(recursive=True):
        for kind, processes in found.items():
            if f"--type={kind}" in process.cmdline():
                processes.append(process)
    return list(found.values())


def cpu_percent(groups: list[list[psutil.Process]], seconds: float) -> list[float]:
    """Return how much of a core each group of processes uses during some seconds."""
    before = [_cpu_seconds(group) for group in groups]
    started = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - started
    return [
        100 * (_cpu_seconds(group) - used) / passed
        for group, used in zip(groups, before, strict=True)
    ]


def _cpu_seconds(group: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in group)


if __name__ == "__main__":
    sys.exit(main())
