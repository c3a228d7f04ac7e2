"""Find the scans that are to be segmented: one entry for every input, none lost without a word.

Side files (text, tables) and hidden files are no inputs, nor are pictures that are called as a
volume beside them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from volunet.data.cases import Scan, clashes, near
from volunet.data.listing import split_channel, without_voxel_files
from volunet.data.pairs import Channels, find_gaps, in_order
from volunet.data.table import read_table
from volunet.errors import DatasetError
from volunet.findings import Finding, Refused, finding
from volunet.io.listing import list_files
from volunet.io.names import (
    PICTURES,
    composed,
    id_below,
    is_dicom,
    is_picture,
    named_as_scans,
    stem,
)
from volunet.io.opening import open_file
from volunet.io.scan import read_header
from volunet.io.sniff import DICOM_ADVICE, HEAD, sniff

log = logging.getLogger(__name__)

JOURNAL, JOURNAL_BEGINS = "journal.jsonl", b'{"format": 1}\n'
"""How volunet keeps books in a folder of results."""
READABLE = ("gzip", "NIfTI-1", "NIfTI-2", "NRRD", "MetaImage")
SIDE_FILES = frozenset(
    (".json", ".txt", ".csv", ".tsv", ".md", ".html", ".htm", ".pdf", *PICTURES)
    + (".xml", ".yaml", ".yml", ".toml", ".log", ".bval", ".bvec", ".sha256")
)


def find_scans(
    path: Path | str, *, channels: int | None = None, names: Sequence[str] = ()
) -> tuple[Scan, ...]:
    """The scans at `path`, sorted by case id.

    Args:
        path: a file, a folder (nested: the folders' names become part of the id, with "__"
            between), or a table with the columns case_id and image[:<channel>].
        channels: how many the model wants; it tells patients 0001, 0002, ... from channels 0001,
            0002, ... of one patient. None where no model is known.
        names: of these channels, in the model's order, into which a table's columns
            image:<channel> are brought.

    Returns:
        Entries to read, and entries with a refusing finding for what cannot be read: a file that
        is no scan (IO-FORMAT), a case without all its channels (IMG-CHANNELS), a listed file that
        is not there (IO-MISSING).

    Raises:
        DatasetError: nothing is there, no scan is in the folder, the folder is a dataset, or a
            table names other channels than the model.
        Refused: two inputs would have the same case id (SET-DUPLICATE-ID).
    """
    path, channels = Path(path), channels or len(names) or None
    if path.is_file():
        is_table = path.suffix.lower() == ".csv"
        scans = _from_table(path, names) if is_table else [Scan(case_id=stem(path), images=(path,))]
    elif path.is_dir():
        scans = _from_folder(path, channels)
    else:
        what = "a device or a pipe" if path.exists() else "not there"
        raise DatasetError(f"{path} is {what}. Give a scan, a folder of scans or a table.")
    _refuse_clashes(scans)
    return tuple(sorted(scans, key=lambda scan: scan.case_id))


def _from_table(path: Path, names: Sequence[str]) -> list[Scan]:
    table = read_table(path, known=("case_id",), needed=("case_id",))
    table = table.in_order_of(names, whose="the model's")
    scans = []
    for row in table.rows:
        files = table.images(row)
        missing = tuple(
            finding("IO-MISSING", f"{row.place}: {file.name!r} is not there.").at(
                case=row.case_id, file=composed(file.name)
            )
            for file in files
            if not file.exists()
        )
        scans.append(Scan(case_id=row.case_id, images=files, findings=missing))
    return scans


def _from_folder(root: Path, channels: int | None) -> list[Scan]:
    for images, masks in (("images", "labels"), ("images", "targets"), ("imagesTr", "labelsTr")):
        if (root / images).is_dir() and (root / masks).is_dir():
            raise DatasetError(
                f"{root} is a dataset, with {masks}/ beside its scans. For its scans alone give "
                f"{root / images}."
            )
    folders: dict[Path, list[Path]] = {}
    unlisted: list[Path] = []
    files_of_all = without_voxel_files(_without_results(root, list_files(root, unlisted=unlisted)))
    named = set(named_as_scans(files_of_all))
    for path in files_of_all:
        if path in named or path.suffix.lower() not in SIDE_FILES:
            folders.setdefault(path.parent, []).append(path)
    if views := [path for path in files_of_all if path not in named and is_picture(path)]:
        told = f"{len(views)}, such as {composed(views[0].name)!r}"
        log.warning("Pictures named after a volume beside them are passed over: %s.", told)
    scans = [
        _refused(id_below(root, place), place, finding("IO-FAULT", "The folder cannot be listed."))
        for place in unlisted
    ]
    for folder, files in folders.items():
        readable, others = _sort_out(root, folder, files, named)
        scans += [*others, *_group(root, readable, channels)]
    if len(scans) == len(unlisted):
        raise DatasetError(
            f"{root} holds no scan. Give a folder with NIfTI, NRRD or MHA files, or one with "
            "images as PNG, TIFF, JPEG or BMP."
        )
    return scans


def _without_results(root: Path, files: list[Path]) -> list[Path]:
    """The files without what volunet made in folders below, by the journals there."""
    made: set[Path] = set()
    for journal in (p for p in files if p.name == JOURNAL and p.parent != root and p.is_file()):
        try:
            first, *lines = journal.read_bytes().splitlines() or [b""]
        except OSError:
            continue
        if first + b"\n" == JOURNAL_BEGINS:
            made |= {journal, *(journal.parent / name for name in map(_output, lines) if name)}
            folder = journal.parent.relative_to(root)
            log.warning("Results of volunet's in %s are not taken for scans.", folder)
    return [path for path in files if path not in made]


def _output(line: bytes) -> str:
    """The name of the file that a line of a journal tells of; "" where it cannot be read."""
    try:
        return str(json.loads(line).get("output", ""))
    except (ValueError, AttributeError):
        return ""


def _sort_out(
    root: Path, folder: Path, files: list[Path], named: Collection[Path]
) -> tuple[list[Path], list[Scan]]:
    """The files to read, and an entry for each that is none, one for all the slices of DICOM."""
    readable, others, slices = [], [], []
    for path in files:
        kind = "named" if path in named else _kind(path)
        if kind == "named" or kind in READABLE:
            readable.append(path)
        elif kind == "DICOM":
            slices.append(path)
        else:
            what = f"{composed(path.name)!r} is no scan that volunet reads."
            others.append(_refused(id_below(root, path), path, finding("IO-FORMAT", what)))
    if slices:
        parts = folder.relative_to(root).parts or (folder.resolve().name,)
        what = f"The folder holds {len(slices)} DICOM files, which are not yet read."
        found = finding("IO-FORMAT", what, advice=DICOM_ADVICE, files=len(slices))
        others.append(_refused(composed("__".join(parts)), folder, found))
    return readable, others


def _kind(path: Path) -> str:
    """What a file without a known suffix is, by its first bytes."""
    if is_dicom(path):
        return "DICOM"
    try:
        with open_file(path) as file:
            return sniff(file.read(HEAD))
    except OSError:
        return "unreadable"


def _group(root: Path, files: list[Path], channels: int | None) -> list[Scan]:
    """The scans of one folder: each file, or the channels of each case in nnU-Net's naming."""
    plain, files_of, twice = _by_channel(root, files)
    only_pictures = all(map(is_picture, files))
    others = sum(only_pictures or not is_picture(path) for path in plain)
    by_channel = _is_by_channel(others, files_of, channels)
    numbered = any(max(found) > 0 for found in files_of.values())
    if not by_channel or (numbered and _are_in_colours(files, channels)):
        return [Scan(case_id=id_below(root, path), images=(path,)) for path in files]
    if twice:
        raise Refused([_twice(case_id, path, files_of) for case_id, path in twice])
    wanted = channels or max(max(found) + 1 for found in files_of.values())
    wrong = find_gaps(files_of, wanted)
    scans = [
        Scan(case_id=case_id, images=in_order(found), findings=_some(wrong.get(case_id)))
        for case_id, found in files_of.items()
    ]
    for path in plain:
        case_id = id_below(root, path)
        images = (path,)
        scans.append(
            Scan(case_id=case_id, images=images)
            if wanted == 1
            else _refused(case_id, path, _no_channel(path, wanted, files_of))
        )
    return scans


def _by_channel(
    root: Path, files: Iterable[Path]
) -> tuple[list[Path], dict[str, Channels], list[tuple[str, Path]]]:
    """Files without a channel in their names, the others by case and channel, and second ones."""
    plain: list[Path] = []
    files_of: dict[str, Channels] = {}
    twice: list[tuple[str, Path]] = []
    for path in files:
        case_id, channel = split_channel(id_below(root, path)) or ("", -1)
        if channel < 0:
            plain.append(path)
        elif channel in files_of.get(case_id, {}):
            twice.append((case_id, path))
        else:
            files_of.setdefault(case_id, {})[channel] = path
    return plain, files_of, twice


def _twice(case_id: str, path: Path, files_of: dict[str, Channels]) -> Finding:
    """Two files for one channel of a case."""
    first = next(p for p in files_of[case_id].values() if stem(p) == stem(path))
    names = f"{composed(first.name)!r} and {composed(path.name)!r}"
    return finding("SET-DUPLICATE-ID", f"{names} would be one channel of case {case_id!r}.")


def _is_by_channel(plain: int, files_of: dict[str, Channels], channels: int | None) -> bool:
    """Whether a folder follows nnU-Net's naming, rather than numbering its patients."""
    named = sum(map(len, files_of.values()))
    from_zero = sum(0 in found for found in files_of.values())
    too_many = sum(max(found) >= (channels or 10_000) for found in files_of.values())
    return named > plain and 2 * from_zero > len(files_of) and 2 * too_many <= len(files_of)


def _are_in_colours(files: list[Path], channels: int | None) -> bool:
    """Whether files are pictures, each with all the channels that are wanted.

    The first one whose header can be read tells of all.
    """
    if (channels or 1) == 1 or not all(map(is_picture, files)):
        return False
    for path in files:
        try:
            return read_header([path], channels_in_file=True).channels == channels
        except (Refused, OSError):
            continue
    return False


def _no_channel(path: Path, wanted: int, files_of: dict[str, Channels]) -> Finding:
    named = [stem(file) for found in files_of.values() for file in found.values()]
    return finding(
        "IMG-CHANNELS",
        f"{composed(path.name)!r} does not say which channel it is, as the files beside it do."
        + near(stem(path), named),
        advice=f"Name the {wanted} channels of a case <case>_0000 to <case>_{wanted - 1:04d}.",
    )


def _some(found: Finding | None) -> tuple[Finding, ...]:
    return () if found is None else (found,)


def _refused(case_id: str, path: Path, found: Finding) -> Scan:
    place = found.at(case=case_id, file=composed(path.name))
    return Scan(case_id=case_id, images=(path,), findings=(place,))


def _refuse_clashes(scans: list[Scan]) -> None:
    """Raise Refused where two entries share an id, naming their files."""
    named = [(scan.case_id, composed(scan.images[0].name)) for scan in scans]
    found = [
        finding("SET-DUPLICATE-ID", f"{' and '.join(map(repr, who))} would be case {case_id!r}.")
        for case_id, who in clashes(named).items()
    ]
    if found:
        raise Refused(found)
