"""What the documentation site says by reading the code: settings, errors, the command line."""

from __future__ import annotations

import ast
import html
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Literal, get_args, get_origin

from typer.main import get_command

from docnats import config
from docnats.cli.app import app
from docnats.cli.status import EPILOG
from docnats.config.settings import GIB, MIB, Settings
from docnats.errors import ErrorType
from docnats.service.explain import advice_on

__all__ = ["PAGES", "SETTINGS", "cli_page", "error_table", "fill", "parameters", "settings_table"]

PAGES = [Path(__file__).parents[1] / name for name in ("configuration.md", "results.md")]
"""Those that are read in the repository too, and have their tables there."""

SETTINGS: Mapping[str, type[Settings]] = {
    name: model
    for name, model in vars(config).items()
    if isinstance(model, type) and issubclass(model, Settings)
}

_PLACE = re.compile(
    r"^<!-- generated: (\w+)(?: (\w+))? -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL
)
_PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"^(\w[\w, ]*) : .*\n((?:(?: {4}.*)?\n)*)", re.MULTILINE)
_VARIABLE_TOLD = re.compile(r"[;.]?\s*\b[Ee]nvironment\b[^.;]*")
"""The clause that names a field's variables: they have a column of their own."""
_UNITS = {GIB: "GiB", MIB: "MiB"}


def fill(markdown: str) -> str:
    """Renew what is between ``<!-- generated: settings S3Config -->`` and ``<!-- end -->``.

    The other ones are ``errors`` and ``cli``.

    Raises
    ------
    ValueError
        A line names something else.
    """

    def renewed(place: re.Match[str]) -> str:
        first = place[0].partition("\n")[0]
        match place.groups():
            case "settings", name if name in SETTINGS:
                made = settings_table(SETTINGS[name])
            case "errors", None:
                made = error_table()
            case "cli", None:
                made = cli_page()
            case _:
                known = f"settings ({', '.join(SETTINGS)}), errors and cli"
                raise ValueError(f"{first}: known are {known}")
        return f"{first}\n\n{made.strip()}\n\n<!-- end -->"

    return _PLACE.sub(renewed, markdown)


def settings_table(model: type[Settings]) -> str:
    """Return a row for each field: name, variable, default, meaning and range.

    Raises
    ------
    ValueError
        The docstring of the model does not tell of a field.
    """
    told = parameters(inspect.getdoc(model) or "")
    rows = []
    for name, field in model.model_fields.items():
        meaning = _VARIABLE_TOLD.sub("", told.get(name, "")).strip().rstrip(".")
        if not meaning:
            raise ValueError(f"{model.__name__}: the docstring does not say what {name} means")
        variables = model.variables().get(name, (f"DOCNATS_{name.upper()}",))
        limits = _choices(field.annotation) or _range(field.metadata)
        rows.append(
            (
                f"`{name}`",
                ", ".join(f"`{variable}`" for variable in variables),
                _shown(field.get_default(call_default_factory=True)),
                f"{meaning} ({limits})" if limits else meaning,
            )
        )
    return _table(("Field", "Variable", "Default", "Meaning"), rows)


def parameters(docstring: str) -> dict[str, str]:
    """Return what a numpydoc docstring says of each parameter, on one line."""
    section = _PARAMETERS.search(f"{docstring}\n")
    return {
        name.strip(): " ".join(text.replace("``", "`").split())
        for names, text in _PARAMETER.findall(section[1] if section else "")
        for name in names.split(",")
    }


def error_table() -> str:
    """Return a row for each error type: what it means and what to do."""
    told = _docstrings_of(ErrorType)
    rows = ((f"`{kind}`", told[kind.name], advice_on(kind)) for kind in ErrorType)
    return _table(("Value", "Meaning", "What to do"), rows)


def cli_page() -> str:
    """Return the help of all commands, by typer's own means, below the heading of the page."""
    command = (sys.executable, "-m", "typer", "docnats.cli.app", "utils", "docs")
    text = subprocess.run(  # noqa: S603 - ourselves
        (*command, "--name", "docnats"), capture_output=True, text=True, check=True
    ).stdout
    until, once, after = text.partition(EPILOG)
    text = f"{until}{once}{after.replace(EPILOG, '')}".removeprefix("# `docnats`\n\n")
    text = re.sub(r"^\* `([a-z][a-z-]*)`: .*$", _in_full, text, flags=re.MULTILINE)
    # Indented by two in the docstrings, which a terminal shows as it is.
    return re.sub(r"^  (docnats .*)$", _as_code, text, flags=re.MULTILINE)


def _in_full(line: re.Match[str]) -> str:
    """Return what a command is for, which typer cuts."""
    commands = get_command(app).commands
    return f"* `{line[1]}`: {commands[line[1]].get_short_help_str(limit=sys.maxsize)}"


def _as_code(line: re.Match[str]) -> str:
    return f"    {html.unescape(line[1])}"


def _choices(annotation: object) -> str:
    kinds = annotation if get_origin(annotation) is Literal else None
    return " or ".join(f"`{choice}`" for choice in get_args(kinds))


def _range(rules: Iterable[object]) -> str:
    """Return the least and the most that a number may be; nothing of other fields."""
    limits = {
        sign: getattr(rule, sign)
        for rule in rules
        for sign in ("ge", "gt", "le")
        if hasattr(rule, sign)
    }
    if "le" not in limits:
        return ""
    low = _shown(limits["ge"]) if "ge" in limits else f"over {_shown(limits['gt'])}"
    return f"{low} to {_shown(limits['le'])}"


def _shown(default: object) -> str:
    match default:
        case None | "":
            return ""
        case bool():
            return "`true`" if default else "`false`"
        case int() | float():
            unit = next((u for u in _UNITS if default >= u and default % u == 0), None)
            return f"{default / unit:,g} {_UNITS[unit]}" if unit else f"{default:,.10g}"
        case tuple():
            return ", ".join(f"`{part}`" for part in default)
        case str() | PurePath():
            return f"`{default}`"
    raise ValueError(f"no way is known to show the default {default!r}")


def _docstrings_of(kind: type) -> dict[str, str]:
    """Return the strings below the members of a class, which Python itself forgets."""
    source = Path(inspect.getsourcefile(kind) or "").read_text(encoding="utf-8")
    classes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))
    body = next(node.body for node in classes if node.name == kind.__name__)
    told = {}
    for member, below in pairwise(body):
        match member, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                told[name] = " ".join(text.replace("``", "`").split())
    return told


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header)]
    lines.append(["---"] * len(lines[0]))
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Renew the tables in the pages as they are in the repository."""
    for page in PAGES:
        page.write_text(fill(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
