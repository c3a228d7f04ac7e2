"""nnU-Net's raw folders: imagesTr/<case>_0000.nii.gz, labelsTr/<case>.nii.gz and a dataset.json.

Its dataset.json gives channel_names ({"0": "CT"}), labels from name to value, regions as lists of
values, a label called "ignore", and may list the files of each case under "dataset".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volunet.data.cases import Case, Dataset
from volunet.data.drawn import with_drawn
from volunet.data.layout_folders import name_channels, read_declared
from volunet.data.pairs import in_order, missing_files, pair_folders
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Finding
from volunet.io.names import can_name_a_file, composed
from volunet.space.dataset_labels import labels_of_nnunet
from volunet.space.labels import Labels


def read_nnunet(root: Path, values: Mapping[str, Any], labels: Labels | None) -> Dataset:
    """The training cases of an nnU-Net raw folder.

    Args:
        values: its dataset.json.

    Raises:
        ConfigError: the dataset.json cannot be understood.
        DatasetError: a folder is missing.
    """
    channels = read_channel_names(values.get("channel_names", values.get("modality", {})))
    listed = values.get("dataset")
    if listed is None:
        for name in ("imagesTr", "labelsTr"):
            if not (root / name).is_dir():
                raise DatasetError(f"{root} has a dataset.json but no {name}/. Add the folder.")
        count = len(channels) or None
        cases, findings = pair_folders(root / "imagesTr", root / "labelsTr", channels=count)
    else:
        cases, findings = _listed(root, listed)
    declared = read_declared(root)
    if labels is None and declared.labels is None:
        labels = labels_of_nnunet(values.get("labels", {}), values.get("regions_class_order"))
    labels = labels or declared.labels
    told, strange = with_drawn(cases, declared.labelled, labels)
    return Dataset(
        root=root,
        cases=told,
        channels=channels or declared.channels or name_channels(cases),
        labels=labels,
        layout="nnunet",
        findings=(*findings, *strange),
    )


def read_channel_names(names: Any) -> tuple[str, ...]:
    """Channel names in order, from {"0": "CT", "1": "PET"}.

    Raises:
        ConfigError: the keys are not 0, 1, 2, ..., or a value is no name.
    """
    table = names if isinstance(names, dict) else {"": None}
    named = [table.get(str(n)) for n in range(len(table))]
    if not all(isinstance(name, str) and name for name in named):
        raise ConfigError(f'dataset.json: channels are named like {{"0": "CT"}}, got {names!r}.')
    return tuple(map(str, named))


def _listed(root: Path, listed: Any) -> tuple[list[Case], list[Finding]]:
    """The cases of a "dataset" table, whose paths are relative to the folder."""
    cases, lost = list[Case](), list[tuple[Path, str]]()
    for case_id, entry in listed.items() if isinstance(listed, dict) else [("", listed)]:
        images = entry.get("images") if isinstance(entry, dict) else None
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(images, list) or not images or not isinstance(label, str):
            raise ConfigError(
                f"dataset.json: dataset lists each case with images and label, got {entry!r}."
            )
        if not can_name_a_file(composed(case_id)):
            raise ConfigError(
                f"dataset.json: the case id {case_id!r} cannot be the name of a file. Use letters, "
                "digits, '_' and '-'."
            )
        files = {channel: root / str(name) for channel, name in enumerate(images)}
        missing = [path for path in (*files.values(), root / label) if not path.is_file()]
        lost += [(path, case_id) for path in missing]
        if not missing:
            case = Case(case_id=composed(case_id), images=in_order(files), label=root / label)
            cases.append(case)
    return cases, missing_files(lost)
