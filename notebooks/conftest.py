"""Notebooks under test get servers and data of their own, never the developer's."""

from __future__ import annotations

import os
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment the kernel inherits; a fixture would not reach nbval's cells."""
    home = tempfile.TemporaryDirectory(prefix="docnats-notebooks-", ignore_cleanup_errors=True)
    os.environ["DOCNATS_HOME"] = home.name
    config.add_cleanup(home.cleanup)
    config.option.randomly_reorganize = False  # cells build on one another
