"""Options that several commands have."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "Json",
    "JsonObject",
    "MetricsPort",
    "Options",
    "Parsers",
    "Password",
    "Processor",
    "Workers",
]


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


def _workers(given: str) -> int | Literal["auto"]:
    """Read a number of workers."""
    if given == "auto":
        return "auto"
    if not given.isdecimal():
        raise typer.BadParameter(f"{given!r}: it is a number, 0 or more, or auto")
    return int(given)


Processor = Annotated[
    str, typer.Option(help="What to put them through, for example [bold]pypdfium2[/].")
]
Options = Annotated[
    list[Any] | None,
    typer.Option(
        "--option", parser=_option, metavar="NAME=VALUE", help="Of the processor; repeatable."
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line; bars and logs on stderr.")
]
JsonObject = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Password = Annotated[
    str | None,
    typer.Option(envvar="DOCNATS_PASSWORD", help="Opens encrypted PDFs.", show_envvar=True),
]
Parsers = Annotated[
    int | None, typer.Option(min=1, help="Parser processes a worker; by default one a core.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Serve metrics there, at DOCNATS_METRICS_HOST or 127.0.0.1; 0 is any free port.",
    ),
]
Workers = Annotated[
    Any,
    typer.Option(
        parser=_workers,
        metavar="N|auto",
        help="Workers to start; [bold]auto[/]: as many as the jobs need, of one parser each.",
    ),
]
