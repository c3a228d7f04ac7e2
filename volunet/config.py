"""Settings are frozen pydantic models; files are checked against them, name by name, type by type.

A TOML or JSON file gives the values, the model gives the names, types and defaults: "5" is no
number, and true is no 1. There is no other place for a setting: no environment variable, no global,
no keyword that is quietly ignored.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from volunet.errors import ConfigError


class Settings(BaseModel):
    """The parent of every group of settings: frozen, and strict about names and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _take_lists_for_tuples(cls, values: Any) -> Any:
        return _with_tuples(values)


T = TypeVar("T", bound=Settings)


def read_values(path: Path) -> dict[str, Any]:
    """The table in a .toml or .json file.

    Raises:
        ConfigError: the file is missing, is not TOML or JSON, or holds no table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        values = (tomllib if path.suffix == ".toml" else json).loads(text)
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name} is not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path.name} must hold a table of names and values.")
    return values


def read_config(path: Path, kind: type[T]) -> T:
    """The settings in a .toml or .json file.

    Raises:
        ConfigError: the file cannot be read, or says something that `kind` does not know.
    """
    return build(kind, read_values(path), at=path.name)


def to_json(settings: Settings) -> str:
    """The settings as JSON that `read_config` gives back unchanged."""
    return settings.model_dump_json(indent=2) + "\n"


def build(kind: type[T], values: Mapping[str, Any], *, at: str) -> T:
    """`values` as a `kind`, or a ConfigError that says where they are wrong.

    Args:
        at: the name of the file or option, for the message.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_advice(error, kind, at))) from None


def override(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy with "a.b=value" assignments applied; values are read as TOML, else as text.

    Raises:
        ConfigError: an assignment without "=", or one that goes through a value.
    """
    changed = deepcopy(values)
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set takes key=value, got {assignment!r}.")
        *path, last = key.strip().split(".")
        table = changed
        for name in path:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {key}: {name} is a value, not a table.")
        table[last] = _parse(text.strip())
    return changed


def _with_tuples(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _with_tuples(value) for key, value in values.items()}
    return tuple(map(_with_tuples, values)) if isinstance(values, (list, tuple)) else values


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _advice(error: ValidationError, kind: type[BaseModel], at: str) -> Iterable[str]:
    """One line for each mistake, with its place and what is known there."""
    for mistake in error.errors(include_url=False):
        place = ".".join(str(part) for part in mistake["loc"])
        reason = mistake.get("ctx", {}).get("error")
        if isinstance(reason, ConfigError):  # advice already, from settings further in
            yield f"{at}: {reason}"
        elif mistake["type"] == "extra_forbidden":
            known = _names_at(kind, mistake["loc"][:-1])
            near = get_close_matches(str(mistake["loc"][-1]), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            yield f"{at} does not know {place!r}.{hint} It knows {', '.join(known)}."
        elif mistake["type"] == "missing":
            yield f"{at} is incomplete: {place!r} is missing."
        else:
            what, given = mistake["msg"].removeprefix("Value error, "), mistake["input"]
            got = "" if isinstance(given, Mapping) else f" (got {shortened(given)})"
            yield f"{at}: {place}: {what}{got}." if place else f"{at}: {what}{got}."


def _names_at(kind: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The field names known at a place in nested settings."""
    for part in path:
        field = kind.model_fields.get(str(part))
        inner = [field.annotation] if field else []
        while inner and not (isinstance(inner[0], type) and issubclass(inner[0], BaseModel)):
            inner = [*getattr(inner[0], "__args__", ()), *inner[1:]]
        if inner:
            kind = inner[0]  # type: ignore[assignment]
    return list(kind.model_fields)
