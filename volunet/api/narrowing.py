"""What a user may ask of a model: a part of each scan, a time, and not to leave anything out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from volunet.errors import ConfigError
from volunet.findings import Refused
from volunet.inference.place import Place
from volunet.inference.segmenter import Segmenter
from volunet.io.masks import read_mask
from volunet.io.names import suffix
from volunet.training.budget import read_budget


def narrow(
    segment: Segmenter,
    *,
    roi: Sequence[str] = (),
    deadline: str | None = None,
    everywhere: bool = False,
    accept: Collection[str] = (),
) -> Segmenter:
    """The model as it was asked for.

    Args:
        roi: names of structures, or one file with a mask.
        deadline: time for a scan, from its voxels to its labels, such as "60s" or "2m".
        everywhere: look at air too.
        accept: codes of refusals of the mask to waive; it may hold 255 for 1 in any case.

    Raises:
        ConfigError: the model finds no structure of a name; the mask is empty, not there or cannot
            be read, or its file does not say where it lies (GEO-NOFORM); or the time is none.
    """
    if everywhere:
        segment = segment.everywhere()
    if roi:
        segment = segment.only(_place_of(roi, segment, accept) or roi)
    if deadline is not None:
        segment = segment.by(_seconds(deadline))
    return segment


def _seconds(deadline: str) -> float:
    try:
        seconds = read_budget(deadline).seconds
    except ConfigError:
        seconds = None
    if seconds is None:
        raise ConfigError(f"A deadline is a time such as 60s or 2m, got {deadline!r}.")
    return seconds


def _place_of(roi: Sequence[str], segment: Segmenter, accept: Collection[str]) -> Place | None:
    """Around the mask in the one file that is named; a structure of the same name comes first."""
    labels, path = segment.plan.labels, Path(roi[0])
    if len(roi) > 1 and (files := [name for name in roi if Path(name).is_file()]):
        raise ConfigError(f"{files[0]} is a mask, which is given alone. Give it, or names.")
    if len(roi) > 1 or roi[0] in (*labels.names, *labels.regions):
        return None
    if not path.is_file():
        if suffix(path):
            raise ConfigError(f"{path} is not there. Give a mask, or names of structures.")
        return None
    try:
        mask = read_mask(path, accept=(*accept, "LBL-255"))
        return Place.of_mask(mask.volume, tuple(f for f in mask.findings if f.code != "LBL-255"))
    except Refused as refused:  # of what was asked for: no scan is refused by it
        raise ConfigError(f"{path} cannot be used as a region of interest: {refused}") from None
