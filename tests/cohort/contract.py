"""What the child processes of test_contract do: segment one scan with torch in float32, or idle."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from volunet.models.unet import UNet
from volunet.packaging.model_file import Training, save_model
from volunet.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from volunet.planning.intensity import Intensity
from volunet.planning.plan import Plan
from volunet.space.labels import Labels

VALUES = tuple(float(n) for n in range(-1000, 900, 100))


def write_model(folder: Path) -> None:
    """A small network of random weights for 24 classes."""
    torch.manual_seed(0)
    plan = Plan(
        channels=("CT",),
        labels=Labels(structures={f"label {n}": n for n in range(1, 24)}),
        spacing=(1.0, 1.0, 1.0),
        patch=(64, 64, 64),
        intensities=(Intensity(scheme="set", low=-1000, high=1000, mean=0, sd=300),),
        features=(8, 16),
        strides=((2, 2, 2),),
        kernels=((3, 3, 3), (3, 3, 3)),
        batch=1,
        overlap=0.1,
    )
    channel = ChannelFacts(image=VALUES, foreground=VALUES, count=1, mean=0, sd=300)
    facts = CaseFacts(shape=(256, 256, 160), spacing=(1, 1, 1), channels=(channel,), volumes_ml={})
    save_model(
        folder,
        plan.build_network().state_dict(),
        name="contract",
        plan=plan,
        fingerprint=Fingerprint(cases={"1": facts}),
        training=Training(cases=1, steps=0, seconds=0, seed=0, validation_dice={}),
    )


def main(*arguments: str) -> int:
    """Segments `scan` with `model` to `out` in `limit`, as the command does; or does nothing."""
    from volunet.cli.predict import run_predict
    from volunet.cli.speaker import Speaker

    if arguments == ("idle",):
        UNet(3, 1, 2, features=(8, 16), strides=(2,))(torch.zeros(1, 1, 16, 16, 16)).sum()
        lines = Path("/proc/self/status").read_text().splitlines()
        print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPeak")))  # noqa: T201
        return 0
    scan, model, out, limit = arguments
    how = {"device": "cpu", "engine": "torch", "precision": "fp32", "max_memory": limit}
    return run_predict(Speaker(), Path(scan), Path(model), Path(out), **how).exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
