"""Labels as a labels.json, or the [labels] of a recipe, declares them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volunet.config import build, read_values
from volunet.errors import ConfigError
from volunet.space.labels import Labels

OF_CASES = frozenset({"channels", "labelled", "targets"})
"""Keys of a labels.json that are about images and cases, not about labels."""


def labels_from(values: Mapping[str, Any], *, at: str) -> Labels:
    """Labels from the table of a labels.json or of a recipe's [labels].

    Args:
        values: "labels" name to value, and optionally "colours", "pairs", "regions", "ignore",
            "masks"; what is said of cases (`OF_CASES`) is left to the caller.

    Raises:
        ConfigError: a key, name or colour that is not known.
    """
    named = {k: v for k, v in values.items() if k not in OF_CASES}
    if "labels" in named:
        named["structures"] = named.pop("labels")
    return build(Labels, named, at=at)


def labelled_from(values: Mapping[str, Any], *, at: str) -> dict[str, tuple[str, ...]]:
    """What was drawn in the cases in which not all was: case id to names, from a labels.json.

    Raises:
        ConfigError: its "labelled" is no table of lists of names.
    """
    said = values.get("labelled", {})
    lists = list(said.values()) if isinstance(said, dict) else [None]
    if any(not isinstance(n, list) or not all(isinstance(s, str) for s in n) for n in lists):
        raise ConfigError(f'{at}: labelled is like {{"case_07": ["liver"]}}, got {said!r}.')
    return {case_id: tuple(names) for case_id, names in said.items()}


def read_labels(path: Path) -> Labels:
    """The labels that a labels.json declares.

    Raises:
        ConfigError: the file cannot be read, or says something that labels do not know.
    """
    return labels_from(read_values(path), at=path.name)
