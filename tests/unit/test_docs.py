"""What the documents say is there is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED_TEST = re.compile(r"`(?:(tests/[\w/]+\.py))?::(\w+)`")


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
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
