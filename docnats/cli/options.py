"""Options that several commands have: what documents are put through."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

__all__ = ["Options", "Processor"]


def _option(given: str) -> tuple[str, Any]:
    """Read an option of a processor; lists and mappings are JSON."""
    name, separator, value = given.partition("=")
    if not name or not separator:
        raise typer.BadParameter(f"{given!r}: it is NAME=VALUE")
    if not value.startswith(("[", "{")):
        return name, value  # the processor's own model makes a number of it, or a switch
    try:
        return name, json.loads(value)
    except ValueError as error:
        raise typer.BadParameter(f"{name}: {error}") from error


Processor = Annotated[
    str, typer.Option(help="What to put them through, for example [bold]pypdfium2[/].")
]
Options = Annotated[
    list[Any] | None,
    typer.Option(
        "--option", parser=_option, metavar="NAME=VALUE", help="Of the processor; repeatable."
    ),
]
