"""How settings are read, checked and refused, whatever they are about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from docnats.errors import ConfigError

__all__ = ["GIB", "MIB", "Settings", "existing_file", "is_url"]

MIB = 1024 * 1024
GIB = 1024 * MIB

_PREFIX = "DOCNATS_"

_URL_CREDENTIALS = re.compile(r"//[^/]*@")


class Settings(BaseSettings):
    """Frozen settings whose errors name the field, the value and what is accepted."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        env_ignore_empty=True,
        # By name a field is read from the environment too: without this, HOME and USER are.
        env_prefix=_PREFIX,
        hide_input_in_errors=True,
    )
    secret_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields whose values no error shows."""
    credential_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that belong together: one given by keyword keeps the environment's away."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError("\n".join(self._explain(dict(e)) for e in error.errors())) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read a field that has variables from these alone.

        By name each would be read from one with the prefix too, and DOCNATS_PASSWORD, which opens
        PDFs, be the password of NATS.
        """
        variables = cls.variables()
        own = {name for names in variables.values() for name in names}
        foreign = {f"{_PREFIX}{field}".lower() for field in variables} - {n.lower() for n in own}
        environment = EnvSettingsSource(settings_cls)
        environment.env_vars = {
            name: text for name, text in environment.env_vars.items() if name not in foreign
        }
        return init_settings, environment

    @model_validator(mode="before")
    @classmethod
    def _keep_foreign_credentials_away(cls, values: dict[str, Any]) -> dict[str, Any]:
        if all(values.get(field) is None for field in cls.credential_fields):
            return values
        variables = cls.variables()
        foreign = {name for field in cls.credential_fields for name in variables[field]}
        return {name: value for name, value in values.items() if name not in foreign}

    @classmethod
    def variables(cls) -> dict[str, tuple[str, ...]]:
        """Return the environment variables of each field that has some."""
        return {
            name: tuple(str(choice) for choice in field.validation_alias.choices)
            for name, field in cls.model_fields.items()
            if isinstance(field.validation_alias, AliasChoices)
        }

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one.

        Examples
        --------
        >>> from docnats.config import ProcessingConfig
        >>> ProcessingConfig().but(timeout=60).timeout
        60.0
        """
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def _explain(cls, error: dict[str, Any]) -> str:
        given = str(error["loc"][0]) if error["loc"] else ""
        variables = cls.variables()
        field = next((f for f, names in variables.items() if given in (f, *names)), given)
        if error["type"] == "extra_forbidden":
            known = ", ".join(cls.model_fields)
            return f"{cls.__name__} has no field {field!r}; it has: {known}"
        message = cls._accepted(field) or error["msg"].removeprefix("Value error, ")
        if not field:
            return f"{cls.__name__}: {message}"
        shown = _URL_CREDENTIALS.sub("//***@", repr(error["input"]))
        value = "**********" if field in cls.secret_fields else shown
        names = variables.get(field, ())
        source = f" (environment: {', '.join(names)})" if names else ""
        return f"{cls.__name__}.{field}={value}: {message}{source}"

    @classmethod
    def _accepted(cls, field: str) -> str | None:
        """Return in words what a number or a switch may be."""
        if field not in cls.model_fields:
            return None
        info = cls.model_fields[field]
        if info.annotation is bool:
            return "must be true or false"
        limits = {
            sign: getattr(rule, sign)
            for rule in info.metadata
            for sign in ("ge", "gt", "le")
            if hasattr(rule, sign)
        }
        if "le" not in limits:
            return None
        kind = "a whole number" if info.annotation is int else "a number"
        low = f"{limits['ge']}" if "ge" in limits else f"more than {limits['gt']}"
        return f"must be {kind} from {low} to {limits['le']}"


def existing_file(value: Path | None) -> Path | None:
    """Return a path with ``~`` expanded; a ValueError if no file is there."""
    path = value.expanduser() if value else None
    if path is not None and not path.is_file():
        raise ValueError("must be a file that exists")
    return path


def is_url(text: str, *schemes: str) -> bool:
    """Tell whether a text is the URL of a server: scheme, host, perhaps port and path."""
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = text.isprintable() and not set(text) & set(" ?#") and "@" not in parts.path
    return usable and plain and parts.scheme in schemes
