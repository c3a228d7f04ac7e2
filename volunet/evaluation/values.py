"""Scores of predicted values against the right ones: one row for each case and target.

Both lie on one grid and are compared voxel for voxel, nothing masked, scaled or resampled. Errors
are in the values' own unit (HU, counts, grey levels). What PSNR and SSIM measure against is the
range of the reference of that case and target: its largest less its smallest value.

    reference     prediction    MAE, RMSE    PSNR        SSIM
    constant      any           measured     NaN         NaN
    else          equal         0            infinite    1
    else          else          measured     measured    measured
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log10, nan, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from volunet.evaluation.score import refuse_other_grid
from volunet.evaluation.ssim import ssim
from volunet.findings import Refused, Severity, finding
from volunet.space.volume import Volume

ValueStatus = Literal["ok", "missing", "refused"]
PLANES = 16
"""Planes that are compared at a time, which bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueScore:
    """How near the predicted values of one target of one case are; NaN where none is known.

    Args:
        case_id: the case.
        target: the name of what was predicted.
        mae: mean absolute error over voxels, in the values' unit.
        rmse: root of the mean squared error, in the values' unit.
        psnr_db: peak signal-to-noise ratio, 20 log10(value_range / rmse), in dB.
        ssim: structural similarity, -1 to 1, as in `evaluation.ssim`.
        value_range: the reference's largest less its smallest value.
        n_vox: how many voxels were compared.
        status: "ok"; "missing" where the case has no prediction; "refused" where a file could not
            be used. Neither of these has numbers.
    """

    case_id: str
    target: str
    mae: float = nan
    rmse: float = nan
    psnr_db: float = nan
    ssim: float = nan
    value_range: float = nan
    n_vox: int = 0
    status: ValueStatus = "ok"


def score_values(
    case_id: str, reference: Volume, prediction: Volume, targets: Sequence[str]
) -> list[ValueScore]:
    """The scores of one case, one row a target.

    Args:
        reference: (C, I, J, K), the right values, one channel a target.
        prediction: (C, I, J, K), on the same grid.
        targets: names of the channels.

    Raises:
        Refused: GEO-MISMATCH where the grids differ, IMG-CHANNELS where a side has other channels
            than there are targets, IMG-NONFINITE where a value is no number.
    """
    refuse_other_grid(case_id, reference.grid, prediction.grid)
    sides = {"reference": reference, "prediction": prediction}
    for side, volume in sides.items():
        _refuse_other_channels(case_id, side, volume.channels, targets)
        _refuse_no_numbers(case_id, side, volume.voxels)
    channels = zip(targets, reference.voxels, prediction.voxels, strict=True)
    return [_score(case_id, target, right, told) for target, right, told in channels]


def unscored(case_id: str, targets: Sequence[str], status: ValueStatus) -> list[ValueScore]:
    """The rows of a case without numbers, one a target."""
    return [ValueScore(case_id=case_id, target=target, status=status) for target in targets]


def psnr_db(value_range: float, rmse: float) -> float:
    """Peak signal-to-noise ratio in dB; NaN where the range is 0, else infinite without an error.

    Args:
        value_range: of the reference.
        rmse: in the same unit.
    """
    if not value_range > 0 or rmse != rmse:
        return nan
    return 20 * log10(value_range / rmse) if rmse > 0 else inf


def _score(
    case_id: str, target: str, reference: NDArray[Any], prediction: NDArray[Any]
) -> ValueScore:
    """The row of one channel (I, J, K)."""
    value_range = float(reference.max()) - float(reference.min())
    mae, rmse = _errors(reference, prediction)
    return ValueScore(
        case_id=case_id,
        target=target,
        mae=mae,
        rmse=rmse,
        psnr_db=psnr_db(value_range, rmse),
        ssim=ssim(reference, prediction, value_range),
        value_range=value_range,
        n_vox=reference.size,
    )


def _errors(reference: NDArray[Any], prediction: NDArray[Any]) -> tuple[float, float]:
    """Mean absolute error, and root of the mean squared one; unsigned types do not wrap."""
    absolute = squared = 0.0
    for start in range(0, len(reference), PLANES):
        part = slice(start, start + PLANES)
        apart = np.subtract(prediction[part], reference[part], dtype=np.float64)
        absolute += float(np.abs(apart).sum())
        squared += float(np.square(apart).sum())
    return absolute / reference.size, sqrt(squared / reference.size)


def _refuse_other_channels(case_id: str, side: str, channels: int, targets: Sequence[str]) -> None:
    if channels == len(targets):
        return
    message = (
        f"The {side} has {channels} channels, and there are {len(targets)} targets: "
        f"{', '.join(targets)}."
    )
    advice = "Give one channel a target on both sides, and as many names in labels.json."
    needed = len(targets)
    found = finding("IMG-CHANNELS", message, advice=advice, found=channels, needed=needed)
    raise Refused([found.at(case=case_id)])


def _refuse_no_numbers(case_id: str, side: str, voxels: NDArray[Any]) -> None:
    count = voxels.size - int(np.count_nonzero(np.isfinite(voxels)))
    if count:
        found = finding(
            "IMG-NONFINITE",
            f"{count} values of the {side} are NaN or infinite, and have no error.",
            severity=Severity.REFUSE,
            advice=f"Mend the {side}.",
            count=count,
        )
        raise Refused([found.at(case=case_id)])
