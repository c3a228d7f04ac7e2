"""The Medical Segmentation Decathlon: a dataset.json that lists the training images and labels.

Its labels go from value to name ({"1": "liver"}), an image with several modalities is one file
with four axes, and nothing but the listed files counts. nnU-Net's older task folders have the same
dataset.json, with one "_0000" file a channel; those are found as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volunet.data.cases import Case, Dataset, find_clashes
from volunet.data.drawn import with_drawn
from volunet.data.layout_folders import name_channels, read_declared
from volunet.data.layout_nnunet import read_channel_names
from volunet.data.listing import split_channel
from volunet.data.pairs import find_gaps, in_order, missing_files
from volunet.errors import ConfigError
from volunet.findings import Finding
from volunet.io.names import named_as_scans, stem
from volunet.space.dataset_labels import labels_of_msd
from volunet.space.labels import Labels


def read_msd(root: Path, values: Mapping[str, Any], labels: Labels | None) -> Dataset:
    """The training cases that a Decathlon dataset.json lists.

    Raises:
        ConfigError: the dataset.json cannot be understood.
    """
    channels = read_channel_names(values.get("modality", {}))
    cases: list[Case] = []
    findings: list[Finding] = []
    lost: list[tuple[Path, str]] = []
    for entry in values["training"]:
        image, label = _entry(root, entry)
        case_id = stem(label)
        files, twice = _channels_of(image)
        if twice:
            findings += find_clashes((case_id, path.name) for path in twice)
            continue
        missing = [path for path in (*files.values(), label) if not path.is_file()]
        lost += [(path, case_id) for path in missing]
        whole = {case_id} if files == {0: image} else set()
        wrong = find_gaps({case_id: files}, len(channels) or None, whole=whole)
        findings += wrong.values()
        if not missing and not wrong:
            cases.append(Case(case_id=case_id, images=in_order(files), label=label))
    declared = read_declared(root)
    if labels is None and declared.labels is None:
        labels = labels_of_msd(values.get("labels", {}), values.get("regions_class_order"))
    labels = labels or declared.labels
    told, strange = with_drawn(cases, declared.labelled, labels)
    return Dataset(
        root=root,
        cases=told,
        channels=channels or declared.channels or name_channels(cases),
        labels=labels,
        layout="msd",
        findings=(*findings, *missing_files(lost), *strange),
    )


def _entry(root: Path, entry: Any) -> tuple[Path, Path]:
    """The image and label of one entry of the training list."""
    image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else ("", "")
    if not (isinstance(image, str) and image and isinstance(label, str) and label):
        raise ConfigError(
            f"dataset.json: training lists cases like "
            f'{{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}}, got {entry!r}.'
        )
    return root / image, root / label


def _channels_of(image: Path) -> tuple[dict[int, Path], list[Path]]:
    """The files of a listed image by channel: itself, or those with "_0000" added to its name.

    And files that are one channel, where there are several.
    """
    if image.is_file() or not image.parent.is_dir():
        return {0: image}, []
    found: dict[int, Path] = {}
    twice: list[Path] = []
    for path in sorted(named_as_scans(image.parent.glob("*_[0-9][0-9][0-9][0-9].*"))):
        split = split_channel(stem(path))
        if split is not None and split[0] == stem(image):
            twice += [found[split[1]], path] if split[1] in found else []
            found[split[1]] = path
    return found or {0: image}, twice
