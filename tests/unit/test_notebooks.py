"""What is saved in ``notebooks/``: what a reader sees who never runs them."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

FOREIGN = re.compile(
    r"(?<![\w./])/(?:home|root|tmp|work|Users|var/folders)/|[A-Z]:\\Users"
    r"|nats://[^/\s]*:[^/\s]*@(?!nats\.example\.org)",
)
"""A path of somebody's machine, or a URL with a password."""


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    """One of them as it is in the repository."""
    return nbformat.read(request.param, as_version=4)


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the outputs of all cells."""
    return [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]


def test_every_cell_was_run_from_top_to_bottom(notebook: nbformat.NotebookNode) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert outputs(notebook)


def test_no_output_is_an_error_or_a_warning(notebook: nbformat.NotebookNode) -> None:
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert not [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


def test_no_live_widget_is_saved(notebook: nbformat.NotebookNode) -> None:
    """Run it in JupyterLab and save it once every batch has ended: then none is."""
    assert "widgets" not in notebook.metadata
    assert not [output for output in outputs(notebook) if WIDGET_VIEW in output.get("data", {})]


def test_nothing_tells_of_the_machine_it_was_run_on(notebook: nbformat.NotebookNode) -> None:
    texts = [
        part
        for output in outputs(notebook)
        for part in (output.get("text"), *output.get("data", {}).values())
        if isinstance(part, str)
    ]
    assert not [found for text in texts for found in FOREIGN.findall(text)]


def test_every_link_to_a_file_has_its_file(notebook: nbformat.NotebookNode) -> None:
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", prose) if "://" not in link]
    assert links
    assert not [link for link in links if not (FOLDER / link).is_file()]
