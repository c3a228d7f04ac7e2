"""Find the labelled cases of a folder or table by what is in it.

A table (CSV) that is named wins; else `images/` and `labels/` (or `targets/`), then the
`dataset.json` of the Medical Segmentation Decathlon (Antonelli et al. 2022, Nature Communications
13) or of nnU-Net's raw folders (Isensee et al. 2021). No scan is opened here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from volunet.config import read_values
from volunet.data.cases import Dataset, find_clashes
from volunet.data.layout_csv import read_csv_dataset
from volunet.data.layout_folders import read_folders, read_target_folders
from volunet.data.layout_msd import read_msd
from volunet.data.layout_nnunet import read_nnunet
from volunet.errors import ConfigError, DatasetError
from volunet.findings import Refused, finding, refuse_if_needed
from volunet.space.labels import Labels

LAYOUTS = (
    "a folder with images/ and labels/ (or targets/) whose files have equal names; a folder with "
    "the dataset.json of the Medical Segmentation Decathlon or of nnU-Net; or a .csv with the "
    "columns case_id, image and label (or target)"
)


def find_dataset(
    path: Path | str, *, labels: Labels | None = None, accept: Collection[str] = ()
) -> Dataset:
    """The labelled cases at `path`, sorted by id.

    Args:
        path: a folder, a .csv, or a dataset.json.
        labels: what the labels mean; it wins over what the dataset declares.
        accept: codes whose refusals are waived (SET-UNPAIRED, IMG-CHANNELS): the files they
            concern are left out, and `Dataset.findings` tells.

    Raises:
        DatasetError: nothing is there, or it is no layout that volunet reads.
        ConfigError: a labels.json or dataset.json that cannot be understood, or labels for a
            dataset whose cases have targets.
        Refused: files that cannot be paired (SET-UNPAIRED), lack a channel (IMG-CHANNELS), share
            an id (SET-DUPLICATE-ID, which cannot be waived), or no case at all (SET-EMPTY).
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path} is not there. Give {LAYOUTS}.")
    dataset = _read(path.parent if path.name == "dataset.json" else path, labels)
    if dataset.targets and labels is not None and labels.structures:
        raise ConfigError(
            f"The recipe declares labels, and the cases of {path.name} have targets. Take [labels] "
            "out of the recipe, or give a dataset with label maps."
        )
    found = [*dataset.findings, *find_clashes((case_id, case_id) for case_id in dataset.case_ids)]
    findings = refuse_if_needed(found, set(accept) - {"SET-DUPLICATE-ID"})
    if not dataset.cases:
        empty = f"{path.name} has no case with an image and a label map or target."
        raise Refused([finding("SET-EMPTY", empty), *findings])
    cases = tuple(sorted(dataset.cases, key=lambda case: case.case_id))
    return replace(dataset, cases=cases, findings=findings)


def is_dataset(path: Path) -> bool:
    """Whether a path is laid out as a dataset, be it a whole one or not."""
    if path.is_file():
        return path.suffix.lower() == ".csv" or path.name == "dataset.json"
    pairs = (("images", "labels"), ("images", "targets"), ("imagesTr", "labelsTr"))
    return (path / "dataset.json").is_file() or any(
        (path / images).is_dir() and (path / masks).is_dir() for images, masks in pairs
    )


def _read(path: Path, labels: Labels | None) -> Dataset:
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise DatasetError(f"{path.name} is a single file. Give {LAYOUTS}.")
        return read_csv_dataset(path, labels)
    if (path / "images").is_dir() and (path / "targets").is_dir():
        if (path / "labels").is_dir():
            raise DatasetError(
                f"{path.name} holds labels/ and targets/. A model learns one of them: move the "
                "other folder away, or list the cases in a .csv with the column label or target."
            )
        return read_target_folders(path)
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return read_folders(path, labels)
    if (path / "dataset.json").is_file():
        values = read_values(path / "dataset.json")
        is_list = isinstance(values.get("training"), list)
        return (read_msd if is_list else read_nnunet)(path, values, labels)
    if (path / "imagesTr").is_dir() and (path / "labelsTr").is_dir():
        return read_folders(path, labels, images="imagesTr", masks="labelsTr")
    raise DatasetError(f"{path} holds no dataset that volunet reads:{_seen(path)} Give {LAYOUTS}.")


def _seen(folder: Path) -> str:
    """What lies in a folder that holds no dataset, and what may have been meant."""
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    tables = [name for name in names if name.lower().endswith(".csv")]
    if not names:
        return " it is empty."
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    said = f" it has {', '.join(map(repr, names[:6]))}{more}."
    return said + (f" To use the table, name it: {folder / tables[0]}." if tables else "")
