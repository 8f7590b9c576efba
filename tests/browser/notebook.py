"""A notebook in JupyterLab as a person uses it: cells, keys, buttons and what they see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, expect

from tests.browser.jupyterlab import JupyterLab

__all__ = ["Notebook", "write_notebook"]

SECONDS = 60.0

UNUSED = "[ ]:"
BUSY = "[*]:"

IS_READY = """path => {
    const panel = window.jupyterapp?.shell.currentWidget;
    const kernel = panel?.sessionContext?.session?.kernel;
    return panel?.context?.path === path && panel.context.isReady
        && kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""
"""Keys sent earlier are lost, and cells run earlier stay without a number."""

IS_SAVED = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"

SET_THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"

HAS_THEME = "isLight => (document.body.dataset.jpThemeLight === 'true') === isLight"


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    """Write a notebook of code cells without outputs."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
    )
    nbformat.write(notebook, path)
    return path


class Notebook:
    """One notebook, open in a browser tab of its own.

    Parameters
    ----------
    path : Path
        A notebook below the server's root.

    Attributes
    ----------
    page : Page
        The browser tab.
    """

    def __init__(self, page: Page, lab: JupyterLab, path: Path, pictures: Path) -> None:
        self.page = page
        self.path = path
        self._lab = lab
        self._pictures = pictures
        self._name = path.relative_to(lab.root).as_posix()
        self.open()

    def open(self) -> None:
        """Load the page, anew if it is open, and wait until the kernel is ready."""
        workspace = re.sub(r"\W+", "-", self._name)
        self.page.goto(f"{self._lab.url}lab/workspaces/{workspace}/tree/{self._name}?reset")
        self.page.wait_for_function(IS_READY, arg=self._name)

    @property
    def code_cells(self) -> Locator:
        """The code cells, from the top."""
        return self.page.locator(".jp-NotebookPanel:visible .jp-CodeCell")

    def prompt(self, cell: int) -> str:
        """Return what stands beside a code cell: ``[ ]:``, ``[*]:`` or its number."""
        return self.code_cells.nth(cell).locator(".jp-InputPrompt").inner_text().strip()

    def is_busy(self, cell: int) -> bool:
        """Tell whether a code cell runs, or waits to run."""
        return self.prompt(cell) == BUSY

    def output(self, cell: int) -> Locator:
        """Return what a code cell shows below its code."""
        return self.code_cells.nth(cell).locator(".jp-Cell-outputWrapper")

    def begin(self, cell: int) -> None:
        """Run a code cell with the keyboard and do not wait for it."""
        editor = self.code_cells.nth(cell).get_by_role("textbox").first
        editor.click()
        self.page.keyboard.press("Control+Enter")
        expect(self.code_cells.nth(cell).locator(".jp-InputPrompt")).not_to_have_text(UNUSED)

    def run(self, cell: int, *, within: float = SECONDS) -> Locator:
        """Run a code cell, wait until it has returned without an error, return its output."""
        self.begin(cell)
        self.wait(cell, within=within)
        assert self.error(cell) is None, self.error(cell)
        return self.output(cell)

    def run_all(self) -> None:
        """Run all cells by the menu, and wait until the last has returned, or one failed."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        prompts = self.code_cells.locator(".jp-InputPrompt")
        expect(prompts.first).not_to_have_text(UNUSED)
        expect(prompts.filter(has_text=BUSY)).to_have_count(0, timeout=SECONDS * 1000)
        for cell in range(self.code_cells.count()):
            assert self.error(cell) is None, self.error(cell)
        assert self.prompt(-1) != UNUSED

    def wait(self, cell: int, *, within: float = SECONDS) -> None:
        """Wait until a code cell has returned: its number stands beside it."""
        prompt = self.code_cells.nth(cell).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=within * 1000)

    def error(self, cell: int) -> str | None:
        """Return the traceback that a code cell shows, if it shows one."""
        messages = self.output(cell).locator("[data-mime-type^='application/vnd.jupyter.']")
        tracebacks = messages.filter(has_text="Traceback")
        return tracebacks.first.inner_text() if tracebacks.count() else None

    def interrupt(self) -> None:
        """Press the stop button of the toolbar."""
        self.page.get_by_role("button", name="Interrupt the kernel").first.click()

    def save(self) -> None:
        """Save with the keyboard; it is on disk on return."""
        self.page.keyboard.press("Control+s")
        self.page.wait_for_function(IS_SAVED)

    def reload(self) -> None:
        """Save, then load the page anew; the kernel goes on."""
        self.save()
        self.open()

    def picture(self, name: str, cell: int | None = None) -> None:
        """Keep a picture of the window, or of one cell in the light and the dark theme."""
        if cell is None:
            self.page.screenshot(path=self._pictures / f"{name}.png")
            return
        for theme in ("Dark", "Light"):
            self.page.evaluate(SET_THEME, f"JupyterLab {theme}")
            self.page.wait_for_function(HAS_THEME, arg=theme == "Light")
            expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)  # it fades out
            target = self._pictures / f"{name}-{theme.lower()}.png"
            self.code_cells.nth(cell).screenshot(path=target)
