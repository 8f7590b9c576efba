"""What the documents say is there is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import AliasChoices, Field
from typer.main import get_command

import docnats
from docnats.cli.app import app
from docnats.config.settings import GIB, Settings
from docs.hooks import generate

ROOT = Path(__file__).parents[2]
NAMED_TEST = re.compile(r"`(?:(tests/[\w/]+\.py))?::(\w+)`")


def documents() -> list[Path]:
    """Return all documents of the repository."""
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]


def named_tests() -> list[tuple[str, str]]:
    """Return the file and the name of every test that docs/reliability.md tells of."""
    found: list[tuple[str, str]] = []
    for path, name in NAMED_TEST.findall((ROOT / "docs/reliability.md").read_text()):
        found.append((path or found[-1][0], name))
    return found


def test_the_promises_name_their_tests() -> None:
    assert len(named_tests()) > 40


@pytest.mark.parametrize(("path", "name"), named_tests())
def test_a_promise_has_the_test_that_is_said_to_prove_it(path: str, name: str) -> None:
    assert re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_links_between_documents_lead_somewhere() -> None:
    for document in documents():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_page_fills_in_what_it_asks_for() -> None:
    """What the site shows, without building it."""
    filled = {page: generate.fill(page.read_text()) for page in ROOT.glob("docs/**/*.md")}
    settings = filled[ROOT / "docs/configuration.md"]
    for model in generate.SETTINGS.values():
        for name in model.model_fields:
            assert f"| `{name}` |" in settings
        for variables in model.variables().values():
            assert all(f"`{variable}`" in settings for variable in variables)
    errors = filled[ROOT / "docs/results.md"]
    assert all(f"| `{error_type}` |" in errors for error_type in docnats.ErrorType)
    assert "docnats dead-letters" in filled[ROOT / "docs/reference/cli.md"]


@pytest.mark.parametrize("page", generate.PAGES, ids=lambda page: page.name)
def test_the_tables_in_the_repository_are_those_of_the_code(page: Path) -> None:
    assert generate.fill(page.read_text()) == page.read_text(), f"run {generate.__file__}"


def test_the_page_about_retries_tells_of_every_error_type() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/howto/retries.md").read_text(), re.M)
    assert {kind for row in rows for kind in re.findall(r"`(\w+)`", row)} >= set(docnats.ErrorType)


def test_the_commands_are_told_of_whole_and_with_headings_for_the_list_of_contents() -> None:
    page = generate.cli_page()
    for name, command in get_command(app).commands.items():
        summary = command.get_short_help_str(limit=1000)
        assert f"\n* `{name}`: {summary}\n" in page
        assert f"\n## `docnats {name}`\n" in page
    assert not re.search(r"^# ", page, re.M)


def test_every_public_name_is_in_the_reference() -> None:
    told = re.findall(
        r"^::: docnats\.(\w+)$", (ROOT / "docs/reference/python.md").read_text(), re.M
    )
    assert set(docnats.__all__) <= set(told)


def test_a_setting_says_its_variable_default_meaning_and_limits() -> None:
    class Invented(Settings):
        """Settings of nothing.

        Parameters
        ----------
        first, second : int
            Bytes of ``both`` | together;
            environment ``DOCNATS_FIRST``. Not less.
        """

        first: int = Field(
            2 * GIB, ge=1, le=4 * GIB, validation_alias=AliasChoices("DOCNATS_FIRST")
        )
        second: Literal["a", "b"] = "a"

    first, second = generate.settings_table(Invented).splitlines()[2:]
    meaning = r"Bytes of `both` \| together. Not less"
    assert first == f"| `first` | `DOCNATS_FIRST` | 2 GiB | {meaning} (1 to 4 GiB) |"
    assert second == f"| `second` | `DOCNATS_SECOND` | `a` | {meaning} (`a` or `b`) |"


def test_a_setting_that_no_docstring_tells_of_stops_the_build() -> None:
    class Silent(Settings):
        """Settings of nothing."""

        depth: int = 3

    with pytest.raises(ValueError, match="does not say what depth means"):
        generate.settings_table(Silent)


def test_a_page_that_asks_for_what_is_not_there_stops_the_build() -> None:
    with pytest.raises(ValueError, match=r"settings Nothing.*known are settings \(.*NatsConfig"):
        generate.fill("before\n\n<!-- generated: settings Nothing -->\n<!-- end -->\n")


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the fenced code of a language in all documents, with the names of these."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(file.name, code) for file in documents() for code in fence.findall(file.read_text())]


def test_code_in_documents_is_python() -> None:
    found = blocks("python")
    assert len(found) > 20
    for name, code in found:
        compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_commands_in_documents_exist_with_their_options() -> None:
    known = get_command(app).commands
    lines = [line for _, code in blocks("sh") for line in code.splitlines()]
    called = [re.match(r"(?:\.venv/bin/)?docnats ([\w-]+)(.*)", line) for line in lines]
    found = [call for call in called if call]
    assert len(found) >= 10
    for call in found:
        options = {name for param in known[call[1]].params for name in param.opts}
        assert set(re.findall(r"(?<= )--[\w-]+", call[2].partition("|")[0])) <= options, call[0]
