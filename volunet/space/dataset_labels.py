"""Labels as the `dataset.json` of nnU-Net and of the Decathlon declare them."""

from __future__ import annotations

from typing import Any

from volunet.config import build
from volunet.errors import ConfigError
from volunet.space.labels import Labels


def labels_of_nnunet(table: Any) -> Labels:
    """Labels from nnU-Net's table of name to value, or name to the values that a region unites.

    A value that occurs in regions only becomes a structure of its own: called by the region that
    holds it alone, else by its number.

    Raises:
        ConfigError: something else than whole numbers from 0 up, or lists of them.
    """
    if not isinstance(table, dict):
        raise ConfigError(f'dataset.json: labels are like {{"liver": 1}}, got {table!r}.')
    structures: dict[str, int] = {}
    regions: dict[str, tuple[int, ...]] = {}
    for name, value in table.items():
        united = value if isinstance(value, list) else [value]
        if not united or not all(type(v) is int for v in united):
            raise ConfigError(f"dataset.json: label {name!r} needs whole numbers, got {value!r}.")
        if len(united) == 1:
            structures[name] = united[0]
        else:
            regions[name] = tuple(united)
    ignore = structures.pop("ignore", None)
    named = {0, *structures.values()}
    for value in sorted({v for region in regions.values() for v in region} - named):
        structures[str(value)] = value
    values = {"structures": structures, "regions": regions, "ignore": ignore}
    return build(Labels, values, at="dataset.json: labels")


def labels_of_msd(table: Any) -> Labels:
    """Labels from value to name ({"1": "liver"}); or from name to value, as nnU-Net has it.

    Raises:
        ConfigError: the values are no whole numbers, or two have one name.
    """
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        return labels_of_nnunet(table)
    if not all(str(value).isdecimal() for value in table):
        raise ConfigError(f'dataset.json: labels are like {{"1": "liver"}}, got {table!r}.')
    structures = {name: int(value) for value, name in table.items()}
    if len(structures) < len(table):
        raise ConfigError(f"dataset.json: two labels have the same name in {table!r}.")
    return build(Labels, {"structures": structures}, at="dataset.json: labels")
