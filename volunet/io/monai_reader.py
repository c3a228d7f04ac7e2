"""volunet's verified reading as a MONAI image reader, for any MONAI pipeline.

    LoadImaged(keys=("image", "label"), reader=VerifiedNiftiReader(), ensure_channel_first=True)

MONAI 1.6.1 tries its own readers where one raises from `read`, so that a refusal raised there would
be passed over. `read` therefore only takes the paths, and every refusal comes from `get_data`.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.data.image_reader import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple
from numpy.typing import NDArray

from volunet.findings import Severity
from volunet.io.names import is_picture, suffix
from volunet.io.reading import Reading
from volunet.io.scan import inspect, read_channels

log = logging.getLogger(__name__)

Paths = Sequence[str | os.PathLike[str]] | str | os.PathLike[str]
NO_CHANNEL = math.nan
"""MONAI's mark for an array without a channel axis."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Files that a pipeline asked for and that were not looked at yet."""

    paths: tuple[str, ...]


class VerifiedNiftiReader(ImageReader):
    """Reads NIfTI, NRRD and MetaImage to the last byte, or raises `Refused`.

    Several paths are stacked as channels, after their grids were compared.

    Args:
        accept: codes of refusals to waive where there is a way to go on.
        channels_in_file: take a fourth axis for channels.
    """

    def __init__(self, *, accept: Collection[str] = (), channels_in_file: bool = False) -> None:
        super().__init__()
        self.accept = frozenset(accept)
        self.channels_in_file = channels_in_file

    def verify_suffix(self, filename: Paths) -> bool:
        """Whether the names end as those of volumes do; only MONAI's choice of a reader asks."""
        return all(suffix(n) and not is_picture(n) for n in ensure_tuple(filename))

    def read(self, data: Paths, **kwargs: Any) -> Opened:
        """Take the paths; nothing is opened yet, so that nothing can be refused here."""
        return Opened(tuple(str(path) for path in ensure_tuple(data)))

    def get_data(self, img: Opened) -> tuple[NDArray[Any], dict[str, Any]]:
        """The voxels, (I, J, K) or (C, I, J, K), and what MONAI wants to know about them.

        Raises:
            Refused: a file is damaged, or its meaning is in doubt.
        """
        reading = self._read(img.paths)
        for found in reading.findings:
            if found.severity is not Severity.INFO:
                log.warning("%s: %s", found.file, found)
        volume = reading.volume
        single = volume.channels == 1
        meta = {
            MetaKeys.AFFINE: np.array(volume.grid.affine),
            MetaKeys.ORIGINAL_AFFINE: np.array(volume.grid.affine),
            MetaKeys.SPATIAL_SHAPE: np.array(volume.grid.shape),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: NO_CHANNEL if single else 0,
            "findings": "\n".join(found.to_json() for found in reading.findings),
            "stored_type": volume.voxels.dtype.name,
            "sides_guessed": volume.sides_guessed,
        }
        return (volume.voxels[0] if single else volume.voxels), {str(k): v for k, v in meta.items()}

    def _read(self, paths: tuple[str, ...]) -> Reading:
        if len(paths) > 1:
            return read_channels(paths, accept=self.accept)
        return inspect(paths[0], accept=self.accept, channels_in_file=self.channels_in_file)
