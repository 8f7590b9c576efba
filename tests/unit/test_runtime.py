"""What a worker's process prepares for its parsers."""

from __future__ import annotations

from pathlib import Path

import pytest

from docnats.worker.runtime import prepare_folders


def test_folders_are_those_that_are_there_or_may_come_to_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, models = tmp_path / ".cache/words", tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WORDS", str(models))
    places = ["~/.cache/words", "~/elsewhere", "$WORDS", "$NOT_SET", "$NOT_SET/models", "docs"]
    assert prepare_folders(places) == [cache, models]
    assert cache.is_dir()


def test_a_home_in_which_nothing_can_be_made_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".cache").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert prepare_folders(["~/.cache/words"]) == []
