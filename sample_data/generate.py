"""Make small CT-like and MR-like scans of an invented abdomen, with labels, from a seed.

World coordinates are RAS+ mm: +x is the patient's right. Each scan is drawn on a grid twice as
fine as its own and averaged (partial volume), so a voxel at a border holds both tissues. Organs
share their intensities with muscle, spleen, stomach and bowel: no interval of intensities finds
them, their place does. Nothing here comes from a patient.

Run `python sample_data/generate.py --out FOLDER --seed 0` to make the files that lie beside this
one. Every scan has a random stream of its own, so one can be made without the others.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]

LABELS = {"liver": 1, "kidney_right": 2, "kidney_left": 3, "tumour": 4}
PAIRS = [["kidney_right", "kidney_left"]]
COLOURS = {
    "liver": "#b5651d",
    "kidney_right": "#2a9d8f",
    "kidney_left": "#457b9d",
    "tumour": "#e63946",
}
SETS = {"ct": 14, "ct/test": 5, "mr": 4, "mr/test": 1}
ORIENTATIONS = ("RAS", "LPS", "LAS", "RAS", "PIR", "LPS", "ASR", "RPI")
BODY_RADII = (38.0, 31.0)
TISSUES = (
    "air",
    "fat",
    "muscle",
    "liver",
    "kidney",
    "tumour",
    "spleen",
    "stomach",
    "vessel",
    "bone",
)
TEXTURE = (0.0, 0.3, 0.6, 1.0, 0.4, 0.6, 0.3, 0.8, 0.2, 1.0)
BROKEN_HEADERS: dict[str, dict[str, Any]] = {
    "nan_affine": {"srow_x": [np.nan, 0, 0, 0]},
    "zero_spacing": {"pixdim": [1, 1.5, 1.5, 0, 0, 0, 0, 0]},
    "sheared": {
        "srow_x": [1.5, 0.3, 0, 0],
        "pixdim": [1, 1.5, np.hypot(0.3, 1.5), 3, 0, 0, 0, 0],
        "qform_code": 0,
    },
    "two_places": {"qoffset_x": 50},
}


@dataclass(frozen=True)
class Scan:
    """An image and its labels on one grid: int16 and uint8 (I, J, K), affine (4, 4) RAS+ mm."""

    image: NDArray[np.int16]
    labels: NDArray[np.uint8]
    affine: Floats


@dataclass(frozen=True)
class Blob:
    """A deformed ellipsoid: what it is made of, its centre and radii in mm, its label."""

    tissue: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    label: int = 0


LIVER = Blob("liver", (13, 3, 8), (20, 19, 23), LABELS["liver"])
OTHERS = (
    Blob("stomach", (-14, 12, 4), (10, 8, 12)),
    Blob("spleen", (-20, -4, 14), (8.5, 10, 13)),
    Blob("kidney", (17, -8, -16), (9.5, 9.5, 15), LABELS["kidney_right"]),
    Blob("kidney", (-17, -8, -13), (9.5, 9.5, 15), LABELS["kidney_left"]),
)
SPINE = Blob("bone", (0, -20, 0), (7, 7, 1000))
AORTA = Blob("vessel", (-4, -9, 0), (3.5, 3.5, 1000))


def make_scan(rng: np.random.Generator, modality: str, orientation: str = "RAS") -> Scan:
    """One scan of a new body.

    Args:
        modality: "ct" (values like Hounsfield units) or "mr" (arbitrary units from 0).
        orientation: where the axes of the arrays point, such as "LPS"; the body stays the same.
    """
    affine, fine = make_grid(rng)
    tissues, labels = draw_body(rng, fine)
    fractions = np.stack([block_mean(tissues == index) for index in range(len(TISSUES))])
    kinds = np.stack([block_mean(labels == value) for value in range(1 + max(LABELS.values()))])
    points = fine[::2, ::2, ::2]
    image = make_ct(rng, fractions, points) if modality == "ct" else make_mr(rng, fractions, points)
    seen = turn(nib.Nifti1Image(image, affine), orientation)
    marked = turn(nib.Nifti1Image(kinds.argmax(0).astype(np.uint8), affine), orientation)
    return Scan(np.asarray(seen.dataobj), np.asarray(marked.dataobj), seen.affine)


def make_grid(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The affine of a grid of some 84 x 70 x 80 mm, and the points of one twice as fine.

    The points, (2 I, 2 J, 2 K, 3), are in mm about the middle of the body.
    """
    spacing = np.array([rng.uniform(1.4, 1.7)] * 2 + [rng.uniform(2.6, 3.4)]).round(3)
    shape = np.round(np.array([84.0, 70.0, 80.0]) / spacing).astype(int)
    axis, degrees = rng.normal(size=3), rng.choice([0.0, rng.uniform(2, 12)])
    turned = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turned * spacing
    middle = affine[:3, :3] @ ((shape - 1) / 2)
    affine[:3, 3] = rng.uniform(-100, 100, 3).round(1) - middle
    halves = np.moveaxis(np.indices(2 * shape), 0, -1) / 2 - 0.25
    return affine, halves @ affine[:3, :3].T - middle


def draw_body(
    rng: np.random.Generator, points: Floats
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Which tissue and which label lies at each point; later structures cover earlier ones."""
    bend = np.stack([waves(rng, points, length=60.0) for _ in range(3)], axis=-1)
    points = points + 1.2 * bend + rng.normal(0, 1.5, 3)
    size = rng.uniform(0.94, 1.06)
    radius = np.hypot(points[..., 0] / BODY_RADII[0], points[..., 1] / BODY_RADII[1]) / size
    tissues = np.select([radius < 0.8, radius < 0.95, radius < 1], [1, 2, 1], 0).astype(np.uint8)
    labels = np.zeros_like(tissues)
    room = radius < 0.75
    bowels = [
        Blob("kidney", (rng.uniform(-18, 18), rng.uniform(3, 14), z), (9, 7, 7))
        for z in (-38, -27, -16)
    ]
    liver, *others = (jitter(rng, blob, size) for blob in (LIVER, *OTHERS))
    for blob in (*bowels, liver, *others, SPINE, AORTA):
        level = depth(rng, blob, points)
        inside = (level < 1) & (room | (blob.tissue == "bone"))
        tissues[room & (level < 1.18)] = TISSUES.index("fat")
        labels[room & (level < 1.18)] = 0
        tissues[inside], labels[inside] = TISSUES.index(blob.tissue), blob.label
    for tumour in (in_organ(rng, liver, LABELS["tumour"]), in_organ(rng, others[1], 0)):
        home = TISSUES.index("liver" if tumour.label else "spleen")
        inside = (depth(rng, tumour, points) < 1) & (tissues == home)
        tissues[inside], labels[inside] = TISSUES.index("tumour"), tumour.label
    return tissues, labels


def jitter(rng: np.random.Generator, blob: Blob, size: float) -> Blob:
    """The same organ in another body: moved by some 1.5 mm, larger or smaller by some 5 %."""
    centre = size * np.array(blob.centre) + rng.normal(0, 1.5, 3)
    radii = size * np.array(blob.radii) * rng.normal(1, 0.05, 3).clip(0.85, 1.15)
    return Blob(blob.tissue, tuple(centre), tuple(radii), blob.label)


def in_organ(rng: np.random.Generator, organ: Blob, label: int) -> Blob:
    """A tumour (or, without a label, a cyst that looks like one) somewhere in an organ."""
    way = rng.normal(size=3)
    centre = np.array(organ.centre) + 0.45 * np.array(organ.radii) * way / np.linalg.norm(way)
    largest = 0.6 * min(organ.radii)
    return Blob("tumour", tuple(centre), tuple(largest * rng.uniform(0.75, 1.0, 3)), label)


def depth(rng: np.random.Generator, blob: Blob, points: Floats) -> Floats:
    """Distance from a blob's centre, 1 at its uneven surface, infinite far outside."""
    squares = (((points - np.array(blob.centre)) / np.array(blob.radii)) ** 2).sum(-1)
    near = squares < 2
    uneven = waves(rng, points[near], length=2.5 * float(np.min(blob.radii)))
    distance = np.full(squares.shape, np.inf)
    distance[near] = np.sqrt(squares[near]) * (1 + 0.05 * uneven)
    return distance


def waves(rng: np.random.Generator, points: Floats, *, length: float, count: int = 4) -> Floats:
    """A smooth random field of variance 1 whose waves are some `length` mm long."""
    total = np.zeros(points.shape[:-1])
    for _ in range(count):
        way, phase = rng.normal(size=3), rng.uniform(0, 2 * np.pi)
        step = 2 * np.pi / (length * rng.uniform(0.8, 1.6)) * way / np.linalg.norm(way)
        total += np.sin(points @ step + phase)
    return np.asarray(total * np.sqrt(2 / count))


def block_mean(fine: NDArray[np.bool_]) -> Floats:
    """Share of each 2 x 2 x 2 block, (2 I, 2 J, 2 K) to (I, J, K)."""
    i, j, k = (n // 2 for n in fine.shape)
    return np.asarray(fine.reshape(i, 2, j, 2, k, 2).mean((1, 3, 5)))


def make_ct(rng: np.random.Generator, fractions: Floats, points: Floats) -> NDArray[np.int16]:
    """Hounsfield-like values: tissue, texture, streaks from the spine, Gaussian noise."""
    liver, shift = rng.uniform(60, 110), lambda low, high: rng.uniform(low, high)
    kidney = liver + shift(-12, 14)
    values = {
        "air": -1000,
        "fat": shift(-105, -85),
        "muscle": liver + shift(-12, 12),
        "liver": liver,
        "kidney": kidney,
        "tumour": liver + shift(60, 75),
        "spleen": liver + shift(-10, 10),
        "stomach": liver + shift(-12, 12),
        "vessel": kidney + shift(0, 20),
        "bone": shift(220, 300),
    }
    clean = np.tensordot([values[name] for name in TISSUES], fractions, 1)
    clean += 9 * texture(rng, fractions)
    clean += 9 * streaks(rng, points) * (1 - fractions[0])
    noise = gaussian_filter(rng.normal(size=clean.shape), (0.6, 0.6, 0))
    noisy = clean + rng.uniform(10, 13) / noise.std() * noise
    return np.asarray(noisy.round().clip(-1024, 3071).astype(np.int16))


def make_mr(rng: np.random.Generator, fractions: Floats, points: Floats) -> NDArray[np.int16]:
    """Arbitrary units: tissue, texture, a bias field of some 20 %, a gain, Rician noise."""
    liver, shift = rng.uniform(170, 230), lambda low, high: rng.uniform(low, high)
    kidney = liver + shift(-15, 25)
    values = {
        "air": 0,
        "fat": shift(330, 400),
        "muscle": liver + shift(-20, 20),
        "liver": liver,
        "kidney": kidney,
        "tumour": liver - shift(80, 105),
        "spleen": liver + shift(-20, 20),
        "stomach": liver + shift(-20, 20),
        "vessel": shift(20, 60),
        "bone": shift(60, 110),
    }
    clean = np.tensordot([values[name] for name in TISSUES], fractions, 1)
    clean += 12 * texture(rng, fractions)
    clean *= np.exp(0.2 * waves(rng, points, length=140.0))
    real, imaginary = rng.normal(0, rng.uniform(10, 15), (2, *clean.shape))
    gain = rng.uniform(0.5, 2.5)
    return np.asarray((gain * np.hypot(clean + real, imaginary)).round().astype(np.int16))


def texture(rng: np.random.Generator, fractions: Floats) -> Floats:
    """Grain of some 2 voxels, as strong as each tissue has it."""
    grain = gaussian_filter(rng.normal(size=fractions.shape[1:]), 0.9)
    return np.asarray(np.tensordot(TEXTURE, fractions, 1) * grain / grain.std())


def streaks(rng: np.random.Generator, points: Floats) -> Floats:
    """Rays of random strength from the spine, in planes of the body, fading with distance."""
    x, y = points[..., 0] - SPINE.centre[0], points[..., 1] - SPINE.centre[1]
    strength = rng.normal(size=49)
    strength[-1] = strength[0]
    rays = np.interp(np.arctan2(y, x), np.linspace(-np.pi, np.pi, 49), strength)
    return np.asarray(rays * np.exp(-np.hypot(x, y) / 40))


def turn(image: nib.Nifti1Image, orientation: str) -> nib.Nifti1Image:
    """The same scan with its axes flipped and permuted, such as to "LPS"; no voxel changes."""
    change = ornt_transform(io_orientation(image.affine), axcodes2ornt(orientation))
    return image.as_reoriented(change)


def to_bytes(voxels: NDArray[np.generic], affine: Floats) -> bytes:
    """A NIfTI-1 file, compressed, with both forms set and lengths in mm."""
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    return gzip.compress(image.to_bytes(), 9, mtime=0)


def one_scan(seed: int, folder: str, index: int) -> Scan:
    """The scan of that number in that set, such as the first of "ct/test"."""
    rng = np.random.default_rng([seed, list(SETS).index(folder), index])
    return make_scan(rng, folder[:2], ORIENTATIONS[index % len(ORIENTATIONS)])


def case_id(folder: str, index: int) -> str:
    """Such as ct_01 for training and ct_test_01 for scans to be kept aside."""
    return f"{folder.replace('/', '_')}_{index + 1:02d}"


def files(seed: int) -> Iterator[tuple[str, bytes]]:
    """Every file of the sample data: its path in the folder, and its bytes."""
    for folder, count in SETS.items():
        for index in range(count):
            scan, name = one_scan(seed, folder, index), f"{case_id(folder, index)}.nii.gz"
            yield f"{folder}/images/{name}", to_bytes(scan.image, scan.affine)
            yield f"{folder}/labels/{name}", to_bytes(scan.labels, scan.affine)
        about = {
            "channels": [folder[:2].upper()],
            "labels": LABELS,
            "pairs": PAIRS,
            "colours": COLOURS,
        }
        yield f"{folder}/labels.json", (json.dumps(about, indent=2) + "\n").encode()
    yield from broken_files(np.random.default_rng([seed, len(SETS)]))


def broken_files(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Small files that must be refused; `broken/README.md` says with which finding."""
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    voxels = rng.integers(-100, 200, (10, 9, 8), dtype=np.int16)
    good = to_bytes(voxels, affine)
    plain = bytearray(gzip.decompress(good))
    yield "broken/empty.nii.gz", b""
    yield "broken/truncated.nii.gz", good[: len(good) // 2]
    yield "broken/header_only.nii.gz", gzip.compress(plain[:352], mtime=0)
    stored = bytearray(gzip.compress(plain, 0, mtime=0))
    stored[-100] ^= 0x10
    yield "broken/flipped_byte.nii.gz", bytes(stored)
    yield "broken/html_page.nii.gz", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"
    for name, fields in BROKEN_HEADERS.items():
        header = nib.Nifti1Header(bytes(plain[:348]))
        for field, value in fields.items():
            header[field] = value
        edited = header.binaryblock + bytes(plain[348:])
        yield f"broken/{name}.nii.gz", gzip.compress(edited, 9, mtime=0)
    mask = (voxels > 0).astype(np.uint8)
    shifted = affine.copy()
    shifted[0, 3] = 12.0
    yield "broken/pair/images/case.nii.gz", good
    yield "broken/pair/labels/case.nii.gz", to_bytes(mask, shifted)
    yield "broken/fraction/images/case.nii.gz", good
    half = (0.5 * mask).astype(np.float32)
    yield "broken/fraction/labels/case.nii.gz", to_bytes(half, affine)


def main() -> None:
    """Write every file, and the checksums of all."""
    parser = argparse.ArgumentParser(description="Make the sample scans of volunet.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sums = []
    for path, content in files(arguments.seed):
        file = arguments.out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {path}\n")
    (arguments.out / "SHA256SUMS").write_text("".join(sorted(sums, key=lambda line: line[66:])))


if __name__ == "__main__":
    main()
