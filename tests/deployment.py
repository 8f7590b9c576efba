"""Reads the files of ``deploy/`` as docker and Kubernetes do, as far as tests need it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"

SECRETS = {
    "DOCNATS_NATS_USER": "docnats",
    # A number to nats-server, unless it is quoted.
    "DOCNATS_NATS_PASSWORD": "12k",
    "DOCNATS_S3_ACCESS_KEY": "docnats-access",
    "DOCNATS_S3_SECRET_KEY": "0123456789-secret",
}
"""What a person writes into ``deploy/.env``."""

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile; ``stage`` counts the ``FROM`` up to it."""

    stage: int
    word: str
    arguments: str

    @property
    def command(self) -> list[str]:
        """The arguments as an exec form gives them."""
        parsed: list[str] = json.loads(self.arguments)
        return parsed


def dockerfile() -> list[Instruction]:
    """Return the instructions of the Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    found: list[Instruction] = []
    for line in filter(str.strip, lines):
        word, _, arguments = line.strip().partition(" ")
        stage = (found[-1].stage if found else 0) + (word.upper() == "FROM")
        found.append(Instruction(stage, word.upper(), " ".join(arguments.split())))
    return found


def of_the_image(word: str) -> list[Instruction]:
    """Return the instructions of a kind in the last stage, which is what runs."""
    instructions = dockerfile()
    last = instructions[-1].stage
    return [i for i in instructions if i.stage == last and i.word == word]


def health_check() -> list[str]:
    """Return the command of the image's health check."""
    (instruction,) = of_the_image("HEALTHCHECK")
    options, _, command = instruction.arguments.partition("CMD ")
    assert all(option.startswith("--") for option in shlex.split(options))
    parsed: list[str] = json.loads(command)
    return parsed


def compose(variables: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    """Return the compose file with variables filled in; a KeyError names one that it requires."""

    def fill(place: re.Match[str]) -> str:
        name, rule, text = place.groups()
        value = variables.get(name, "")
        if not value and rule == "?":
            raise KeyError(name)
        return value or (text if rule == "-" else "")

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        return _VARIABLE.sub(fill, node) if isinstance(node, str) else node

    filled: dict[str, Any] = walk(compose_as_written())
    return filled


def compose_as_written() -> dict[str, Any]:
    """Return the compose file as it is written."""
    written: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return written


def manifests() -> dict[str, dict[str, Any]]:
    """Return the Kubernetes objects by their kinds; there is one of each."""
    files = (DEPLOY / "kubernetes").glob("*.yaml")
    objects = [thing for file in files for thing in yaml.safe_load_all(file.read_text())]
    by_kind = {thing["kind"]: thing for thing in objects}
    assert len(by_kind) == len(objects)
    return by_kind


def seconds_of_grace(arguments: list[str]) -> float:
    """Return what a command line gives running jobs after SIGTERM."""
    return float(arguments[arguments.index("--grace") + 1])
