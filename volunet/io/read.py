"""Read scans and label maps: verified to the last byte, or refused with a code and advice."""

from __future__ import annotations

import os
from collections.abc import Collection

from volunet.io.masks import read_mask
from volunet.io.names import SUFFIXES, stem
from volunet.io.pair import check_pair
from volunet.io.reading import Reading
from volunet.io.scan import inspect, read_channels
from volunet.space.grid import Grid
from volunet.space.volume import Volume

__all__ = [
    "SUFFIXES",
    "Reading",
    "check_pair",
    "inspect",
    "read",
    "read_channels",
    "read_mask",
    "stem",
]


def read(path: str | os.PathLike[str], *, accept: Collection[str] = ()) -> Volume:
    """A scan in its own grid and type, by way of MONAI's `LoadImage` with our reader.

    What is found is logged as warnings; `inspect` returns it instead. A model that tells left from
    right refuses a scan whose file does not (GEO-NOFORM), unless that is accepted here or there.

    Args:
        path: NIfTI (.nii.gz, .nii), NRRD, MetaImage, or a picture (PNG, TIFF, JPEG, BMP), which is
            a volume of one slice.
        accept: codes of refusals to waive where there is a way to go on.

    Returns:
        Voxels (C, I, J, K) in the file's own type, float32 where the file scales them.

    Raises:
        Refused: the scan is damaged, or its meaning is in doubt; the findings say why.
    """
    from monai.transforms import LoadImage  # MONAI takes seconds to load

    from volunet.io.monai_reader import VerifiedNiftiReader

    load = LoadImage(reader=VerifiedNiftiReader(accept=accept), dtype=None, image_only=True)
    image = load(os.fspath(path))
    voxels = image.numpy().astype(image.meta["stored_type"], copy=False)
    grid = Grid(voxels.shape[-3:], image.affine.numpy())
    voxels = voxels[None] if voxels.ndim == 3 else voxels
    return Volume(voxels, grid, sides_guessed=image.meta["sides_guessed"])
