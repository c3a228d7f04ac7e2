"""Tiny scans and datasets written with nibabel, for the tests of this room."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nibabel as nib
import numpy as np

from volunet.space.grid import Grid

SHAPE = (6, 5, 4)
AFFINE = np.diag([2.0, 1.5, 3.0, 1.0])
META = b"""ObjectType = Image
NDims = 3
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 1 1 1
DimSize = 4 3 2
ElementType = MET_UCHAR
ElementDataFile = a.raw
"""


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def write_image(path: Path, *, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Path:
    rng = np.random.default_rng([seed, *path.name.encode("utf-8", "surrogateescape")])
    return write_nifti(path, rng.integers(-200, 200, shape).astype(np.int16))


def write_label(path: Path, values: tuple[int, ...] = (1, 2), shape: tuple = SHAPE) -> Path:
    voxels = np.zeros(shape, dtype=np.uint8)
    for value, row in zip(values, range(1, shape[0]), strict=False):
        voxels[row] = value
    return write_nifti(path, voxels)


def write_pairs(root: Path, names: list[str], *, suffix: str = ".nii.gz") -> Path:
    for name in names:
        write_image(root / "images" / f"{name}{suffix}")
        write_label(root / "labels" / f"{name}{suffix}")
    return root


def finer_grid(finer=(1, 1, 1)) -> Grid:
    """The grid of a target of the usual scan."""
    fine = tuple(n * by for n, by in zip(SHAPE, finer, strict=True))
    return Grid(SHAPE, AFFINE).with_shape(fine)


def write_target(path: Path, *, finer=(1, 1, 1), seed: int = 1, affine=None, parts: int = 1):
    """Noise that is no image's, on the usual grid or a finer one."""
    grid = finer_grid(finer)
    rng = np.random.default_rng([seed, *path.name.encode()])
    voxels = rng.normal(100, 20, (*grid.shape, parts)).astype(np.float32)
    return write_nifti(
        path,
        voxels[..., 0] if parts == 1 else voxels,
        grid.affine if affine is None else affine,
    )


def write_aimed(root: Path, names: str = "abc", **how) -> Path:
    """Images and targets of equal names."""
    for name in names:
        write_image(root / "images" / f"{name}.nii.gz")
        write_target(root / "targets" / f"{name}.nii.gz", **how)
    return root


def write_detached(path: Path, voxels: bytes = bytes(24)) -> Path:
    """A MetaImage header of 4 x 3 x 2 bytes that lie in a.raw beside it."""
    touch(path.with_name("a.raw"), voxels)
    return touch(path, META)


def write_json(path: Path, values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def touch(path: Path, content: bytes = b"x") -> Path:
    """A file for tests that only look at names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@contextmanager
def pipe_at(path: Path, *, patience_s: float = 5.0) -> Iterator[Path]:
    """A pipe that nobody writes to, and for which nobody may wait, or is let go after a time."""
    done, waited = threading.Event(), threading.Event()

    def let_go() -> None:
        done.wait(patience_s)
        while not done.wait(0.05):
            with suppress(OSError):  # nobody waits
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                waited.set()

    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    watch = threading.Thread(target=let_go)
    watch.start()
    try:
        yield path
    finally:
        done.set()
        watch.join()
    assert not waited.is_set()
