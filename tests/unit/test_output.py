"""What the commands print of files, errors and keys that somebody else has named."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from docnats.cli.output import print_dead_letters, print_jobs, print_leftovers, print_taste

EVIL = "a\x1b]0;mine\x07\x1b[2J\n\u202e[bold]b"
SHOWN = "a�]0;mine��[2J��[bold]b"
NOW = pd.Timestamp("2026-01-02 03:04", tz="UTC")

JOBS = {
    "filename": [EVIL],
    "state": ["failed"],
    "pages": [pd.NA],
    "bytes": [1],
    "seconds": [1.0],
    "error_type": ["malformed"],
    "error": [EVIL],
}
LETTERS = {
    "id": [1],
    "at": [NOW],
    "kind": ["refused"],
    "filename": [EVIL],
    "job_id": [EVIL],
    "reason": [EVIL],
}
LEFTOVERS = {"kind": ["raw"], "key": [EVIL], "bytes": [1], "modified": [NOW], "why": ["no job"]}


def test_a_terminal_is_told_nothing_but_what_it_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A name or an error may hold what clears the screen, or turns the rest of a line round."""
    print_jobs(pd.DataFrame(JOBS), as_json=False)
    print_dead_letters(pd.DataFrame(LETTERS), as_json=False)
    print_leftovers(pd.DataFrame(LEFTOVERS), deleted=False, as_json=False)
    print_taste(pd.DataFrame({"filename": [EVIL], "text": [EVIL]}))
    printed = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(printed)
    assert printed.count(SHOWN) == 7


def test_programs_get_everything(capsys: pytest.CaptureFixture[str]) -> None:
    print_jobs(pd.DataFrame(JOBS), as_json=True)
    assert json.loads(capsys.readouterr().out)["error"] == EVIL
