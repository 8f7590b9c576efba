"""One JupyterLab and one browser for all tests; each test has a folder and kernels of its own.

Not for the same run as the asynchronous tests: playwright's loop would be in their way.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.jupyterlab import JupyterLab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Route

    from tests.browser.notebook import Notebook

PICTURES = Path(__file__).parent / "screenshots"
"""Not in git; kept by CI."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

WINDOW = {"width": 1100, "height": 1500}

failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let fixtures know whether their test failed."""
    report = yield
    item.stash[failed] = item.stash.get(failed, False) or report.failed
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install -e '.[dev]'"
    )
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no chromium on PATH: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program)


@pytest.fixture(scope="session")
def pictures() -> Path:
    """The folder of this run's pictures; those of earlier runs are gone."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir()
    return PICTURES


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """A running JupyterLab; not started where there is no browser."""
    lab = JupyterLab(tmp_path_factory.mktemp("jupyterlab"))
    yield lab
    lab.stop()


@pytest.fixture
def folder(lab: JupyterLab, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The test's folder in JupyterLab; its kernels, and with them its stack, end with it."""
    folder = lab.root / re.sub(r"\W+", "-", request.node.name)
    folder.mkdir()
    yield folder
    lab.stop_kernels(folder)


@pytest.fixture
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A browser window that reaches nothing but this machine and meets no alert."""
    window = browser.new_context(viewport=WINDOW)
    window.set_default_timeout(30_000)
    refused: list[str] = []

    def local_only(route: Route) -> None:
        if re.match(r"https?://127\.0\.0\.1[:/]", route.request.url):
            route.continue_()
        else:
            refused.append(route.request.url)
            route.abort()

    window.route(re.compile("^http"), local_only)
    dialogs: list[str] = []

    def answer(dialog: Dialog) -> None:
        if dialog.type != "beforeunload":  # JupyterLab's own, when something is not saved
            dialogs.append(dialog.message)
        dialog.accept()

    window.on("dialog", answer)
    yield window
    window.close()
    assert not refused, "something was fetched from the network"
    assert not dialogs, "a page ran a script of a document"


@pytest.fixture
def open_notebook(
    window: BrowserContext,
    lab: JupyterLab,
    folder: Path,
    pictures: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Notebook]]:
    """A function that opens a notebook of given cells, or an existing one, in its own tab."""
    from tests.browser.notebook import Notebook, write_notebook

    console: dict[Page, list[str]] = {}

    def open_(cells: Sequence[str] | Path, name: str = "notebook") -> Notebook:
        path = folder / f"{name}.ipynb"
        if isinstance(cells, Path):
            shutil.copy(cells, path)
        else:
            write_notebook(path, cells)
        page = window.new_page()
        lines = console[page] = []
        page.on("console", lambda message: lines.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: lines.append(f"error: {error}"))
        return Notebook(page, lab, path, pictures)

    yield open_
    if request.node.stash.get(failed, False):
        for number, (page, lines) in enumerate(console.items()):
            target = pictures / f"FAILED-{request.node.name}-{number}"
            page.screenshot(path=target.with_suffix(".png"))
            target.with_suffix(".log").write_text("\n".join(lines))
