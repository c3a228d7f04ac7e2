"""Labels as the `dataset.json` of nnU-Net and of the Decathlon declare them."""

from __future__ import annotations

from typing import Any

from volunet.config import build
from volunet.errors import ConfigError
from volunet.space.labels import Labels


def labels_of_nnunet(table: Any, order: Any = None) -> Labels:
    """Labels from nnU-Net's table of name to value, or name to the values that a region unites.

    Where a label unites several values, all labels are regions, as nnU-Net has it; those of one
    value are structures as well. A value that no label has alone is called by its number.

    Args:
        order: nnU-Net's regions_class_order: what each region writes into a mask, later ones over
            earlier ones.

    Raises:
        ConfigError: something else than whole numbers from 0 up, or lists of them; or the order is
            not what the regions leave to themselves.
    """
    if not isinstance(table, dict):
        raise ConfigError(f'dataset.json: labels are like {{"liver": 1}}, got {table!r}.')
    named: dict[str, tuple[int, ...]] = {}
    for name, value in table.items():
        united = value if isinstance(value, list) else [value]
        if not united or not all(type(v) is int for v in united):
            raise ConfigError(f"dataset.json: label {name!r} needs whole numbers, got {value!r}.")
        named[name] = tuple(united)
    ignore = named.pop("ignore")[0] if len(named.get("ignore", ())) == 1 else None
    structures = {name: own[0] for name, own in named.items() if len(own) == 1}
    foreground = {name: own for name, own in named.items() if set(own) != {0}}
    regions = foreground if any(len(own) > 1 for own in named.values()) else {}
    for value in sorted({v for own in regions.values() for v in own} - set(structures.values())):
        structures[str(value)] = value
    values = {"structures": structures, "regions": regions, "ignore": ignore}
    labels = build(Labels, values, at="dataset.json: labels")
    _check_order(labels, order)
    return labels


def _check_order(labels: Labels, order: Any) -> None:
    """Sees to it that masks of regions are written as nnU-Net writes them."""
    if order is not None and labels.learns_regions and order != list(labels.written):
        raise ConfigError(
            f"dataset.json: regions_class_order is {order!r}, and the regions {labels.regions} "
            f"leave {list(labels.written)} to themselves, in their order. Write that, or take the "
            "key out."
        )


def labels_of_msd(table: Any, order: Any = None) -> Labels:
    """Labels from value to name ({"1": "liver"}); or from name to value, as nnU-Net has it.

    Args:
        order: nnU-Net's regions_class_order.

    Raises:
        ConfigError: the values are no whole numbers, or two have one name.
    """
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        return labels_of_nnunet(table, order)
    if not all(str(value).isdecimal() for value in table):
        raise ConfigError(f'dataset.json: labels are like {{"1": "liver"}}, got {table!r}.')
    structures = {name: int(value) for value, name in table.items()}
    if len(structures) < len(table):
        raise ConfigError(f"dataset.json: two labels have the same name in {table!r}.")
    return build(Labels, {"structures": structures}, at="dataset.json: labels")
