"""Scans from file to file by MONAI, as its documentation and tutorials put it together.

Load, turn to RAS, `Spacingd` to the model's spacing (bilinear), the model's normalisation,
`sliding_window_inference` (overlap 0.5, Gaussian, float32), `Invertd` of the logits with
`nearest_interp=False`, `AsDiscreted(argmax)`, `SaveImaged`. Each step's seconds are counted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.measured import Stopwatch, keep, memory_gb, versions

STARTED = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=Path, nargs="+", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    clock = Stopwatch()
    with clock.step("imports"):
        import torch

        from benchmarks.peers.plain_unet import load_plain, read_plan
    torch.set_num_threads(options.threads)
    with clock.step("model"):
        network, plan = load_plain(options.model), read_plan(options.model)
    with clock.step("imports"):
        steps = Steps(plan, options.out)
    windows = [0]
    for scan in options.scans:
        windows.append(segment(scan, network, steps, clock, options.batch, plan["patch"]))
    facts = {
        "seconds_inside": round(time.perf_counter() - STARTED, 3),
        "steps_s": clock.rounded(),
        "windows": sum(windows),
        "peak_gb": round(memory_gb("VmHWM"), 3),
        "versions": versions(),
    }
    keep(options.json, facts)


class Steps:
    """The transforms before and after the network."""

    def __init__(self, plan: dict[str, Any], out: Path) -> None:
        from monai.transforms import (
            AsDiscreted,
            Compose,
            EnsureChannelFirstd,
            Invertd,
            LoadImaged,
            Orientationd,
            SaveImaged,
            Spacingd,
        )

        if plan["interpolation"] != "linear" or len(plan["channels"]) != 1:
            raise ValueError("The side-by-side pipeline takes one channel, linearly interpolated.")
        self.load = Compose([LoadImaged(keys="image"), EnsureChannelFirstd(keys="image")])
        self.space = Compose(
            [
                Orientationd(keys="image", axcodes="RAS", labels=None),
                Spacingd(keys="image", pixdim=plan["spacing"], mode="bilinear"),
            ]
        )
        self.scale = make_scale(plan["intensities"][0])
        self.invert = Invertd(
            keys="pred",
            transform=self.space,
            orig_keys="image",
            nearest_interp=False,
            to_tensor=True,
        )
        self.discrete = AsDiscreted(keys="pred", argmax=True)
        self.save = SaveImaged(
            keys="pred",
            output_dir=out,
            output_postfix="",
            output_dtype="uint8",
            resample=False,
            separate_folder=False,
            print_log=False,
        )


def make_scale(intensity: dict[str, Any]) -> Any:
    """MONAI's transform that does what the plan's normalisation does."""
    from monai.transforms import NormalizeIntensityd, ScaleIntensityRanged

    if intensity["scheme"] == "image":
        return NormalizeIntensityd(keys="image")
    low, high, mean, sd = (intensity[name] for name in ("low", "high", "mean", "sd"))
    return ScaleIntensityRanged(
        keys="image",
        a_min=low,
        a_max=high,
        b_min=(low - mean) / sd,
        b_max=(high - mean) / sd,
        clip=True,
    )


def segment(
    scan: Path, network: Any, steps: Steps, clock: Stopwatch, batch: int, patch: list[int]
) -> int:
    """One scan from file to file; how many windows the network saw."""
    import torch
    from monai.inferers import sliding_window_inference

    seen = [0]

    def look(windows: Any) -> Any:
        seen[0] += len(windows)
        with clock.step("network"):
            return network(windows)

    with torch.inference_mode():
        with clock.step("read"):
            data = steps.load({"image": str(scan)})
        with clock.step("prepare"):
            data = steps.scale(steps.space(data))
        before = clock.steps.get("network", 0.0)
        with clock.step("windows and network"):
            data["pred"] = sliding_window_inference(
                data["image"][None], patch, batch, look, overlap=0.5, mode="gaussian"
            )[0]
        inside = clock.steps["network"] - before
        clock.steps["stitch"] = (
            clock.steps.get("stitch", 0.0) + clock.steps.pop("windows and network") - inside
        )
        with clock.step("return"):
            data = steps.discrete(steps.invert(data))
        with clock.step("write"):
            steps.save(data)
    return seen[0]


if __name__ == "__main__":
    main()
