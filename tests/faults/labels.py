"""Faults of a label map, row by row; read against `DECLARED`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.faults.corpus import SHAPE, Fault, header_fault, setting, voxel_fault
from volunet.space.labels import Labels

DECLARED = Labels(
    structures={"left lung": 1, "right lung": 2, "core": 4}, pairs=(("left lung", "right lung"),)
)


def mask(*values: float, dtype: str = "uint8") -> NDArray[Any]:
    """Background with a block of twenty voxels of each value."""
    voxels = np.zeros(SHAPE, dtype=dtype)
    for place, value in enumerate(values):
        voxels[2:4, :5, 2 * place : 2 * place + 2] = value
    return voxels


def scaled() -> Any:
    return setting(scl_slope=1.0000001, scl_inter=0)


FAULTS: list[Fault] = [
    voxel_fault("values with gaps", "", "fine", lambda: mask(1, 2, 4), role="labels"),
    voxel_fault(
        "whole numbers as floats", "", "fine", lambda: mask(1, 2, dtype="float32"), role="labels"
    ),
    header_fault(
        "a slope of 1.0000001",
        "LBL-ROUNDED",
        "info",
        scaled(),
        voxels=lambda: mask(1, 2, 4, dtype="int16"),
        role="labels",
    ),
    voxel_fault(
        "values of 0.9995",
        "LBL-ROUNDED",
        "info",
        lambda: mask(0.9995, dtype="float32"),
        role="labels",
    ),
    voxel_fault(
        "values of 0.99",
        "LBL-FRACTION",
        "refuse",
        lambda: mask(0.99, 2, dtype="float32"),
        role="labels",
    ),
    voxel_fault(
        "NaN", "LBL-FRACTION", "refuse", lambda: mask(np.nan, 1, dtype="float32"), role="labels"
    ),
    voxel_fault(
        "infinity",
        "LBL-FRACTION",
        "refuse",
        lambda: mask(np.inf, 1, dtype="float32"),
        role="labels",
    ),
    voxel_fault(
        "values past any label",
        "LBL-FRACTION",
        "refuse",
        lambda: mask(3e30, 1, dtype="float32"),
        role="labels",
    ),
    voxel_fault("an undeclared value", "LBL-UNKNOWN", "refuse", lambda: mask(1, 3), role="labels"),
    voxel_fault("0, 1 and 255", "LBL-UNKNOWN", "refuse", lambda: mask(1, 255), role="labels"),
    voxel_fault("0 and 255", "LBL-255", "refuse", lambda: mask(255), role="labels"),
    voxel_fault(
        "a negative value",
        "LBL-NEGATIVE",
        "refuse",
        lambda: mask(1, -1, dtype="int16"),
        role="labels",
    ),
    voxel_fault("all background", "LBL-EMPTY", "warn", lambda: mask(), role="labels"),
    voxel_fault(
        "a label of one voxel",
        "LBL-TINY",
        "warn",
        lambda: mask(1) + 2 * (np.arange(720).reshape(SHAPE) == 700).astype("uint8"),
        role="labels",
    ),
    header_fault(
        "sides without forms",
        "GEO-NOFORM",
        "refuse",
        setting(sform_code=0, qform_code=0),
        voxels=lambda: mask(1, 2),
        role="labels",
        waivable=True,
    ),
    header_fault(
        "colours",
        "IMG-COLOUR",
        "refuse",
        setting(datatype=128, bitpix=24),
        voxels=lambda: mask(1),
        role="labels",
    ),
    header_fault(
        "a plane",
        "IMG-2D",
        "refuse",
        setting(dim={0: 2}),
        voxels=lambda: mask(1)[:, :, :1],
        role="labels",
        waivable=True,
    ),
]
