"""Images, and label maps or targets of equal names; one file a channel, or one file for all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

from volunet.data.cases import Case, find_clashes, near
from volunet.data.listing import split_channel, without_voxel_files
from volunet.findings import Finding, finding
from volunet.io.listing import list_files
from volunet.io.names import composed, id_below, is_picture, named_as_scans

MOST_HINTS = 10
"""Unpaired files that get the nearest names told; comparing all with all takes minutes."""

Channels = dict[int, Path]
Kind = Literal["label", "target"]
CALLED: Mapping[Kind, str] = {"label": "label map", "target": "target"}


def pair_folders(
    images: Path, partners: Path, *, channels: int | None, kind: Kind = "label"
) -> tuple[list[Case], list[Finding]]:
    """The cases of two folders, and what could not be paired.

    An image is a label map's by its whole name, or by its name without nnU-Net's "_0000".

    Args:
        partners: the folder of label maps, or of targets.
        kind: which of them it is.
        channels: how many an image has; None where only the files tell.

    Returns:
        The cases that are whole, and a finding for every file that belongs to none.
    """
    findings: list[Finding] = []
    image_ids = _named(images, findings)
    partner_ids, partner = _named(partners, findings), CALLED[kind]
    files: dict[str, Channels] = {}
    alone: list[Path] = []
    for path, name in image_ids.items():
        case_id, channel = _place(name, set(partner_ids.values()))
        if case_id is None:
            alone.append(path)
        elif channel in files.setdefault(case_id, {}):
            pair = (files[case_id][channel], path)
            findings += find_clashes((case_id, composed(p.name)) for p in pair)
        else:
            files[case_id][channel] = path
    findings += _unpaired(image_ids, alone, ("image", partner), partner_ids.values())
    missing = [path for path, case_id in partner_ids.items() if case_id not in files]
    findings += _unpaired(partner_ids, missing, (partner, "image"), image_ids.values())
    wrong = find_gaps(files, channels, whole=set(image_ids.values()))
    path_of = {case_id: path for path, case_id in partner_ids.items()}
    cases = [
        Case(
            case_id=case_id,
            images=in_order(found),
            label=path_of[case_id] if kind == "label" else None,
            target=path_of[case_id] if kind == "target" else None,
        )
        for case_id, found in files.items()
        if case_id not in wrong
    ]
    return cases, findings + list(wrong.values())


def find_gaps(
    files: Mapping[str, Channels], channels: int | None, *, whole: Collection[str] = ()
) -> dict[str, Finding]:
    """A refusal IMG-CHANNELS for each case that lacks a channel or has one too many.

    Args:
        files: the files of each case by channel.
        channels: how many are wanted; None for as many as the fullest case has.
        whole: cases whose single file does not claim to be one channel, and may hold them all, as
            a picture may in any case.
    """
    wanted = channels or max((max(found) + 1 for found in files.values()), default=1)
    wrong = {}
    for case_id, found in files.items():
        in_colours = sorted(found) == [0] and is_picture(found[0])
        holds_all = len(found) == 1 and (case_id in whole or in_colours)
        all_in_one = channels is not None and holds_all
        if all_in_one or sorted(found) == list(range(wanted)):
            continue
        have = ", ".join(f"{channel:04d}" for channel in sorted(found))
        wrong[case_id] = finding(
            "IMG-CHANNELS",
            f"Case {case_id!r} has the channels {have}; 0000 to {wanted - 1:04d} are needed.",
            advice="Add the missing files, or remove the case.",
            found=len(found),
            needed=wanted,
        ).at(case=case_id, file=composed(found[min(found)].name))
    return wrong


def in_order(found: Channels) -> tuple[Path, ...]:
    """The files of a case, by channel."""
    return tuple(found[channel] for channel in sorted(found))


def unpaired(name: str, message: str, known: Iterable[str] = ()) -> Finding:
    """A refusal SET-UNPAIRED that names the nearest of the known names."""
    return finding("SET-UNPAIRED", message + near(name, known)).at(case=name)


def left_out(path: Path) -> Finding:
    """A warning SET-NAME for a file that is not named as a scan."""
    shown = composed(path.name)
    return finding("SET-NAME", f"{shown!r} is not named as a scan.").at(file=shown)


def missing_files(lost: Iterable[tuple[Path, str]]) -> list[Finding]:
    """A refusal SET-UNPAIRED for each listed file of a case that is not there."""
    return [_missing(*one, hints=place < MOST_HINTS) for place, one in enumerate(lost)]


def _missing(path: Path, case_id: str, *, hints: bool) -> Finding:
    """A refusal SET-UNPAIRED for a listed file that is not there, with the nearest names."""
    folder = path.parent
    known = [p.name for p in folder.iterdir()] if hints and folder.is_dir() else []
    what = f"{path.name!r} of case {case_id!r} is listed but not in {folder.name!r}."
    return unpaired(case_id, what, [n for n in known if not n.startswith(".")]).at(file=path.name)


def _named(folder: Path, findings: list[Finding]) -> dict[Path, str]:
    """The scans below a folder with their ids; adds what is wrong with names to `findings`."""
    files = without_voxel_files(list_files(folder))
    named = {path: id_below(folder, path) for path in named_as_scans(files)}
    findings += [left_out(path) for path in files if path not in named]
    findings += find_clashes((case_id, composed(path.name)) for path, case_id in named.items())
    return named


def _place(name: str, known: set[str]) -> tuple[str | None, int]:
    """The case that an image belongs to, None where it has none, and its channel."""
    if name in known:
        return name, 0
    split = split_channel(name)
    return split if split is not None and split[0] in known else (None, 0)


def _unpaired(
    named: Iterable[Path], alone: Collection[Path], called: tuple[str, str], known: Iterable[str]
) -> list[Finding]:
    """A refusal for each file without a partner; a warning for pictures where volumes have them.

    Args:
        named: all files of the folder.
        alone: those without a partner.
        called: what they are, and what a partner is.
        known: names of partners.
    """
    (what, partner), names = called, list(known)
    paired = set(named).difference(alone)
    of_volumes = bool(paired) and not any(map(is_picture, paired))
    findings = [left_out(path) for path in alone if of_volumes and is_picture(path)]
    lost = [path for path in alone if not (of_volumes and is_picture(path))]
    for place, path in enumerate(lost):
        shown = composed(path.name)
        message = f"The {what} {shown!r} has no {partner} of its name."
        hints = names if place < MOST_HINTS else ()
        findings.append(unpaired(shown, message, hints).at(case="", file=shown))
    return findings
