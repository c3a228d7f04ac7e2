"""A dataset as two folders, images/ and labels/, with a labels.json beside them that may be absent.

labels.json: {"channels": ["CT"], "labels": {"liver": 1}, "colours": {"liver": "#b5651d"},
"pairs": [["kidney_right", "kidney_left"]], "regions": {"both": [2, 3]}, "ignore": 255,
"labelled": {"case_07": ["liver"]}}, where `labelled` lists the cases in which not all was drawn.
"masks": "colours" stands there where pictures of masks are drawn in these colours.

Where images are to be estimated, not structures, the second folder is targets/, and "targets" in
labels.json names their channels.
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
from volunet.space.labels import Labels
from volunet.space.labels_file import OF_CASES, labelled_from, labels_from
from volunet.space.picture import COLOURS


@dataclass(frozen=True)
class Declared:
    """What a labels.json says; nothing where there is none.

    Args:
        channels: names of the channels.
        labels: what label values mean.
        labelled: case id to the names of what was drawn in it, where that is not all.
        targets: names of the channels of targets.
    """

    channels: tuple[str, ...] = ()
    labels: Labels | None = None
    labelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()

    def of(self, *, estimates: bool) -> Declared:
        """The same, of cases with targets, or of cases with label maps.

        Raises:
            ConfigError: it speaks of the other kind.
        """
        if estimates and (self.labels is not None or self.labelled):
            raise ConfigError(
                "labels.json declares labels, and the cases have targets. Leave channels and "
                "targets in it, and take the rest out."
            )
        if self.targets and not estimates:
            raise ConfigError(
                f"labels.json names the targets {list(self.targets)}, and the cases have label "
                "maps. Take targets out of it."
            )
        return self


def read_folders(
    root: Path, labels: Labels | None, *, images: str = "images", masks: str = "labels"
) -> Dataset:
    """The cases of `root`/images and `root`/labels.

    Raises:
        ConfigError: a labels.json that cannot be understood.
        DatasetError: it says of a case that something was drawn which is no label.
    """
    declared = read_declared(root).of(estimates=False)
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


def read_target_folders(root: Path) -> Dataset:
    """The cases of `root`/images and `root`/targets.

    Raises:
        ConfigError: a labels.json that cannot be understood.
    """
    declared = read_declared(root).of(estimates=True)
    cases, findings = pair_folders(
        root / "images",
        root / "targets",
        channels=len(declared.channels) or None,
        kind="target",
    )
    return Dataset(
        root=root,
        cases=tuple(cases),
        channels=declared.channels or name_channels(cases),
        labels=Labels(structures={}),
        targets=declared.targets or name_targets(cases),
        layout="folders",
        findings=tuple(findings),
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
    declares = bool(set(values) - OF_CASES)
    return Declared(
        channels=_names("channels", values.get("channels", [])),
        targets=_names("targets", values.get("targets", [])),
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


def name_targets(cases: Sequence[Case]) -> tuple[str, ...]:
    """Names for targets that nobody named: "target", or the colours of a picture."""
    files = (case.target for case in cases if case.target is not None)
    parts = next(filter(None, map(_parts_of, files)), 1)
    return COLOURS if parts == len(COLOURS) else ("target",)


def _parts_of(path: Path) -> int:
    """Channels of a picture, 1 for all that is none, 0 for one that cannot be read."""
    if not is_picture(path):
        return 1
    try:
        return read_header([path]).channels
    except Refused:
        return 0


def _names(what: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ConfigError(f'labels.json: {what} is a list of names like ["CT"], got {names!r}.')
    if len(set(names)) < len(names):
        raise ConfigError(f"labels.json: two {what} have the same name in {names}.")
    return tuple(names)
