"""A dataset as two folders, images/ and labels/, with a labels.json beside them that may be absent.

labels.json: {"channels": ["CT"], "labels": {"liver": 1}, "colours": {"liver": "#b5651d"},
"pairs": [["kidney_right", "kidney_left"]], "regions": {"both": [2, 3]}, "ignore": 255}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from volunet.config import read_values
from volunet.data.cases import Case, Dataset
from volunet.data.pairs import pair_folders
from volunet.errors import ConfigError
from volunet.space.labels import Labels, labels_from


def read_folders(
    root: Path, labels: Labels | None, *, images: str = "images", masks: str = "labels"
) -> Dataset:
    """The cases of `root`/images and `root`/labels.

    Raises:
        ConfigError: a labels.json that cannot be understood.
    """
    channels, declared = read_declared(root)
    cases, findings = pair_folders(
        root / images, root / masks, channels=len(channels) if channels else None
    )
    return Dataset(
        root=root,
        cases=tuple(cases),
        channels=channels or name_channels(cases),
        labels=labels or declared,
        layout="folders",
        findings=tuple(findings),
    )


def read_declared(root: Path) -> tuple[tuple[str, ...], Labels | None]:
    """The channels and labels that a labels.json in `root` declares; neither where it is absent.

    Raises:
        ConfigError: the file cannot be understood.
    """
    path = root / "labels.json"
    if not path.is_file():
        return (), None
    values = read_values(path)
    channels = _channels(values.get("channels", []))
    only_channels = not set(values) - {"channels"}
    return channels, None if only_channels else labels_from(values, at=path.name)


def name_channels(cases: list[Case]) -> tuple[str, ...]:
    """Names for channels that nobody named: "image", or "image 0", "image 1", ..."""
    count = max((len(case.images) for case in cases), default=1)
    return ("image",) if count == 1 else tuple(f"image {n}" for n in range(count))


def _channels(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ConfigError(f'labels.json: channels is a list of names like ["CT"], got {names!r}.')
    if len(set(names)) < len(names):
        raise ConfigError(f"labels.json: two channels have the same name in {names}.")
    return tuple(names)
