"""Faults of where a scan says it lies, row by row; RAS+ mm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.faults.corpus import AFFINE, Fault, header_fault, setting, voxels_of


def sform(affine: NDArray[Any], *, qform: int = 1) -> Any:
    """A change of the sform alone; pixdim and qform stay as they were."""

    def change(header: Any) -> None:
        header.set_sform(affine, code=1)
        header["qform_code"] = qform

    return change


def moved(millimetres: float) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[0, 3] += millimetres
    return affine


def turned(degrees: float) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() @ affine[:3, :3]
    return affine


def sheared(by: float) -> NDArray[np.float64]:
    """Axis i leans towards j: an angle of arctan(by) is missing; pixdim still fits."""
    affine = AFFINE.copy()
    affine[:3, 0] = 1.5 * np.array([-1, by, 0]) / np.hypot(1, by)
    return affine


def scaled(*factors: float) -> NDArray[np.float64]:
    return AFFINE @ np.diag([*factors, 1.0])


def with_entry(row: int, column: int, value: float) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[row, column] = value
    return affine


def spaced(spacing: tuple[float, float, float], units: str = "mm") -> Any:
    """A sound header of this spacing in these units."""

    def change(header: Any) -> None:
        affine = np.diag([*spacing, 1.0])
        header.set_qform(affine, code=1)
        header.set_sform(affine, code=1)
        header.set_xyzt_units(units, "sec")

    return change


def only_qform(**fields: Any) -> Any:
    return setting(sform_code=0, **fields)


FAULTS: list[Fault] = [
    header_fault("pixdim 0", "GEO-SPACING", "refuse", setting(pixdim={2: 0}), waivable=True),
    header_fault(
        "pixdim negative", "GEO-SPACING", "refuse", setting(pixdim={2: -2.0}), waivable=True
    ),
    header_fault(
        "pixdim NaN, with sform",
        "GEO-SPACING",
        "refuse",
        setting(pixdim={2: np.nan}),
        waivable=True,
    ),
    header_fault("pixdim NaN, no sform", "GEO-SPACING", "refuse", only_qform(pixdim={2: np.nan})),
    header_fault("pixdim 0, no sform", "GEO-SPACING", "refuse", only_qform(pixdim={3: 0})),
    header_fault("NaN sform", "GEO-AFFINE", "refuse", sform(with_entry(0, 0, np.nan))),
    header_fault("NaN origin", "GEO-AFFINE", "refuse", sform(with_entry(2, 3, np.nan))),
    header_fault("NaN offset of the qform", "GEO-QUATERN", "refuse", only_qform(qoffset_x=np.nan)),
    header_fault(
        "singular sform",
        "GEO-AFFINE",
        "refuse",
        sform(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
    ),
    header_fault("zero sform", "GEO-AFFINE", "refuse", sform(np.diag([0.0, 0, 0, 1]))),
    header_fault(
        "shear of 11 degrees", "GEO-SHEAR", "refuse", sform(sheared(0.2), qform=0), waivable=True
    ),
    header_fault(
        "shear of 0.11 degrees", "GEO-SHEAR-SMALL", "warn", sform(sheared(0.002), qform=0)
    ),
    header_fault("shear of rounding", "", "fine", sform(sheared(5e-6), qform=0)),
    header_fault(
        "shear with a good qform", "GEO-SHEAR", "refuse", sform(sheared(0.02)), waivable=True
    ),
    header_fault("sform moved by 50 mm", "GEO-FORMS", "refuse", sform(moved(50)), waivable=True),
    header_fault(
        "sform turned by 30 degrees", "GEO-FORMS", "refuse", sform(turned(30)), waivable=True
    ),
    header_fault(
        "sform flipped",
        "GEO-FORMS",
        "refuse",
        sform(np.diag([-1.0, 1, 1, 1]) @ AFFINE),
        waivable=True,
    ),
    header_fault("sform moved by half a voxel", "GEO-FORMS-SMALL", "warn", sform(moved(0.75))),
    header_fault("sform moved by rounding", "", "fine", sform(moved(1e-4))),
    header_fault(
        "pixdim 1, sform other",
        "GEO-PIXDIM",
        "refuse",
        setting(pixdim={1: 1.0, 2: 1.0, 3: 1.0}, qform_code=0),
        waivable=True,
    ),
    header_fault("no forms at all", "GEO-NOFORM", "warn", only_qform(qform_code=0)),
    header_fault("only the qform", "", "fine", only_qform()),
    header_fault("only the sform", "", "fine", setting(qform_code=0)),
    header_fault(
        "qfac 0",
        "NII-HEADER",
        "warn",
        only_qform(pixdim={0: 0}, quatern_b=0, quatern_c=0, quatern_d=0),
    ),
    header_fault(
        "bad quaternion, no sform",
        "GEO-QUATERN",
        "refuse",
        only_qform(quatern_b=0.9, quatern_c=0.9, quatern_d=0.9),
    ),
    header_fault(
        "bad quaternion, good sform",
        "GEO-QUATERN",
        "refuse",
        setting(quatern_b=0.9, quatern_c=0.9, quatern_d=0.9),
        waivable=True,
    ),
    header_fault("NaN quaternion", "GEO-QUATERN", "refuse", only_qform(quatern_b=np.nan)),
    header_fault("metres", "GEO-UNITS", "warn", spaced((0.001, 0.001, 0.003), "meter")),
    header_fault("micrometres", "GEO-UNITS", "warn", spaced((500.0, 500.0, 3000.0), "micron")),
    header_fault(
        "mm called metres",
        "GEO-UNITS-ODD",
        "refuse",
        spaced((1.0, 1.0, 3.0), "meter"),
        waivable=True,
    ),
    header_fault(
        "mm called micrometres",
        "GEO-UNITS-ODD",
        "refuse",
        spaced((1.0, 1.0, 3.0), "micron"),
        waivable=True,
    ),
    header_fault("unknown units", "", "fine", setting(xyzt_units=0)),
    header_fault("voxels of 25 mm", "GEO-SPACING-ODD", "warn", spaced((25.0, 25.0, 25.0))),
    header_fault(
        "voxels of 5 micrometres", "GEO-SPACING-ODD", "warn", spaced((0.005, 0.005, 0.005))
    ),
    header_fault("anisotropy of 12", "GEO-SPACING-ODD", "warn", spaced((0.5, 0.5, 6.0))),
    header_fault(
        "three slices", "GEO-THIN", "warn", setting(), voxels=lambda: voxels_of(shape=(8, 9, 3))
    ),
]
