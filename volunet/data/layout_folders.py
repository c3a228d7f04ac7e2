"""A dataset as two folders, images/ and labels/, with a labels.json beside them that may be absent.

labels.json: {"channels": ["CT"], "labels": {"liver": 1}, "colours": {"liver": "#b5651d"},
"pairs": [["kidney_right", "kidney_left"]], "regions": {"both": [2, 3]}, "ignore": 255,
"labelled": {"case_07": ["liver"]}}, where `labelled` lists the cases in which not all was drawn.
"masks": "colours" stands there where pictures of masks are drawn in these colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volunet.config import read_values
from volunet.data.cases import Case, Dataset
from volunet.data.drawn import with_drawn
from volunet.data.pairs import pair_folders
from volunet.errors import ConfigError
from volunet.findings import Refused
from volunet.io.names import is_picture
from volunet.io.scan import read_header
from volunet.space.labels import Labels, labelled_from, labels_from

COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Declared:
    """What a labels.json says; nothing where there is none.

    Args:
        channels: names of the channels.
        labels: what label values mean.
        labelled: case id to the names of what was drawn in it, where that is not all.
    """

    channels: tuple[str, ...] = ()
    labels: Labels | None = None
    labelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_folders(
    root: Path, labels: Labels | None, *, images: str = "images", masks: str = "labels"
) -> Dataset:
    """The cases of `root`/images and `root`/labels.

    Raises:
        ConfigError: a labels.json that cannot be understood.
        DatasetError: it says of a case that something was drawn which is no label.
    """
    declared = read_declared(root)
    labels, channels = labels or declared.labels, declared.channels
    cases, findings = pair_folders(
        root / images, root / masks, channels=len(channels) if channels else None
    )
    told, strange = with_drawn(cases, declared.labelled, labels)
    return Dataset(
        root=root,
        cases=told,
        channels=channels or name_channels(cases),
        labels=labels,
        layout="folders",
        findings=(*findings, *strange),
    )


def read_declared(root: Path) -> Declared:
    """What a labels.json in `root` says.

    Raises:
        ConfigError: the file cannot be understood.
    """
    path = root / "labels.json"
    if not path.is_file():
        return Declared()
    values = read_values(path)
    declares = bool(set(values) - {"channels", "labelled"})
    return Declared(
        channels=_channels(values.get("channels", [])),
        labels=labels_from(values, at=path.name) if declares else None,
        labelled=labelled_from(values, at=path.name),
    )


def name_channels(cases: Sequence[Case]) -> tuple[str, ...]:
    """Names for channels that nobody named: "image", or "image 0", "image 1", ...

    One file a case has one channel, unless it is a picture in colours: "red", "green", "blue".
    """
    count = max((len(case.images) for case in cases), default=1)
    if count == 1:
        parts = next(filter(None, (_parts_of(case.images[0]) for case in cases)), 1)
        if parts == len(COLOURS):
            return COLOURS
        count = parts
    return ("image",) if count == 1 else tuple(f"image {n}" for n in range(count))


def _parts_of(path: Path) -> int:
    """Channels of a picture, 1 for all that is none, 0 for one that cannot be read."""
    if not is_picture(path):
        return 1
    try:
        return read_header([path]).channels
    except Refused:
        return 0


def _channels(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ConfigError(f'labels.json: channels is a list of names like ["CT"], got {names!r}.')
    if len(set(names)) < len(names):
        raise ConfigError(f"labels.json: two channels have the same name in {names}.")
    return tuple(names)
