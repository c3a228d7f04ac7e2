"""A real model that is tiny: a structure is whatever is brighter than a threshold."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from volunet.data.scans import find_scans
from volunet.findings import Finding, finding
from volunet.io.atomic import write_bytes
from volunet.space.labels import Labels
from volunet.space.volume import Volume

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 1.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
SHAPE = (9, 8, 7)


@dataclass(frozen=True)
class Aims:
    channels: tuple[str, ...] = ("CT",)
    labels: Labels = field(default_factory=lambda: Labels(structures={"bright": 3, "very": 7}))
    targets: None = None


@dataclass(frozen=True)
class Made:
    labels: Volume
    findings: tuple[Finding, ...] = ()
    steps: dict[str, float] = field(default_factory=dict)
    how: dict[str, object] = field(default_factory=lambda: {"threshold": True})


@dataclass
class Threshold:
    """Voxels above 0 are 3, above 100 they are 7; `calls` holds the mean of every scan seen."""

    identity: str = "threshold"
    plan: Aims = field(default_factory=Aims)
    pause_s: float = 0.0
    before: Callable[[int], None] = lambda call: None
    calls: list[float] = field(default_factory=list)
    overlaps: bool = True

    def admit(self, images: Sequence[Path], *, accept: Collection[str] = ()) -> None:
        """Every scan is small enough."""

    def __call__(self, scan: Volume, *, accept: Collection[str] = ()) -> Made:
        self.calls.append(float(scan.voxels.mean()))
        self.before(len(self.calls))
        time.sleep(self.pause_s)
        values = np.array([0, 3, 7], dtype=np.uint8)
        seen = scan.voxels[:1]
        labels = scan.with_voxels(values[(seen > 0).astype(int) + (seen > 100)])
        odd = scan.grid.spacing[2] > 8
        return Made(labels, (finding("OOD-SPACING", "It is 9 mm."),) if odd else ())


def write_scan(path: Path, *, shape: tuple = SHAPE, affine: np.ndarray = AFFINE) -> Path:
    """A scan that is random, and the same for the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*path.name.encode()])
    image = nib.Nifti1Image(rng.integers(-200, 200, shape).astype(np.int16), affine)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def write_scans(folder: Path, count: int) -> Path:
    for number in range(count):
        write_scan(folder / f"scan_{number}.nii.gz")
    return folder


def die_while_writing(out: Path, call: int) -> Callable[[int], None]:
    """The process dies in its call-th case, half of a mask on the disk."""

    def half() -> Iterator[bytes]:
        yield b"half a mask"
        os.kill(os.getpid(), signal.SIGKILL)

    def die(now: int) -> None:
        if now == call:
            write_bytes(out / "scan_2.nii.gz", half())

    return die


def main(scans: str, out: str, pause_s: str, dies_at: str, most_bytes: str) -> int:
    """What a child process does; the last arguments are 0 for never and for no limit."""
    import resource

    from volunet.cohort.runner import predict_cohort

    model = Threshold(pause_s=float(pause_s), before=die_while_writing(Path(out), int(dies_at)))
    if int(most_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most_bytes), int(most_bytes)))
    return predict_cohort(find_scans(scans), model, Path(out)).exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
