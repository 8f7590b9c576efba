"""The command line: ``docnats --help``."""

from docnats.cli.app import main

__all__ = ["main"]
