"""A dataset to learn denoising from: clean scans, and the same with the noise of magnitude MR.

python pipelines/add_noise.py SCANS OUT --sd 0.1 --seed 0

A magnitude image is the length of two parts that are measured with normal noise of one standard
deviation, so its noise is Rician (Gudbjartsson & Patz, Magn Reson Med 34:910-914, 1995).
"""

import argparse
import json
from pathlib import Path

import numpy as np

import volunet as vn


def main(scans: Path, out: Path, sd: float, seed: int) -> None:
    paths = sorted(scans.glob("*.nii.gz"))
    if not paths:
        raise SystemExit(f"{scans} holds no .nii.gz file.")
    for kind in ("images", "targets"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    for path in paths:
        scan = vn.read(path)
        clean = scan.with_voxels(scan.voxels.astype(np.float32))
        rng = np.random.default_rng([seed, *path.name.encode()])  # each scan has its own noise
        vn.write(clean, out / "targets" / path.name)
        vn.write(with_noise(clean, sd, rng), out / "images" / path.name)
    (out / "labels.json").write_text(json.dumps({"channels": ["MR"], "targets": ["MR"]}) + "\n")


def with_noise(clean: vn.Volume, sd: float, rng: np.random.Generator) -> vn.Volume:
    """The scan with Rician noise.

    Args:
        clean: float32 from 0 up.
        sd: of the noise, as a share of each channel's 99 % quantile.
    """
    if clean.voxels.min() < 0:
        raise ValueError("A magnitude image has no values below 0; this scan has.")
    scale = sd * np.quantile(clean.voxels, 0.99, axis=(1, 2, 3), keepdims=True).astype(np.float32)
    real, imaginary = (scale * rng.standard_normal(clean.voxels.shape, np.float32) for _ in "ri")
    return clean.with_voxels(np.hypot(clean.voxels + real, imaginary))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sd", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
