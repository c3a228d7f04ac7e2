"""The settings of `volunet predict` that are measured, and the commands of each case."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runs import Row

VOLUNET = str(Path(sysconfig.get_path("scripts")) / "volunet")


@dataclass(frozen=True)
class Setting:
    """One way to run the command.

    Args:
        flags: added to `volunet predict`.
        scan: folder of the scan, "ct" or "noisy".
    """

    name: str
    flags: tuple[str, ...]
    about: str
    scan: str = "ct"


EVERYWHERE = ("--everywhere",)
"""Neither crop nor skip, which both are on by default."""

CT = (
    Setting("volunet", EVERYWHERE, "cropping and skipping off"),
    Setting("volunet-less", (), "cropping and skipping on"),
    Setting("volunet-less-noisy", (), "the same over a noisy, uneven air", scan="noisy"),
    Setting("volunet-fp32", (*EVERYWHERE, "--precision", "fp32"), "bfloat16 forced off"),
    Setting("volunet-torch", (*EVERYWHERE, "--engine", "torch"), "torch alone"),
    Setting(
        "volunet-torch-fp32",
        (*EVERYWHERE, "--engine", "torch", "--precision", "fp32"),
        "torch alone, bfloat16 forced off",
    ),
)
FOLDER = (
    Setting("volunet", (), "as it is"),
    Setting("volunet-fp32", ("--precision", "fp32"), "bfloat16 forced off"),
)


def help_of_predict() -> str:
    """What the command says it can do."""
    words = [VOLUNET, "predict", "--help"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def volunet_row(setting: Setting, scans: Path, model: Path, known: str, *, small: Path) -> Row:
    """The row of a setting.

    Args:
        small: a scan on which engines are tried once, before anything is measured.
    """

    def words(scans: Path) -> tuple[str, ...]:
        paths = ("-i", str(scans), "-m", str(model), "-o", "{out}")
        return (VOLUNET, "predict", "-q", *paths, *setting.flags)

    return Row(
        setting.name,
        words(scans),
        about=setting.about,
        missing=why_missing(setting.flags, known),
        first=words(small) if must_choose(setting.flags) else (),
    )


def why_missing(flags: tuple[str, ...], known: str) -> str:
    """Why a row cannot be measured, or would be another one again."""
    strange = [flag for flag in flags if flag.startswith("--") and flag not in known]
    if strange:
        return f"this version has no {strange[0]}"
    if "--precision" in flags and fastest_precision() == "fp32":
        return "as without the flag: this processor does not multiply in bfloat16"
    return ""


def fastest_precision() -> str:
    """What the processor computes masks in fastest, by volunet's own rule."""
    from volunet.inference.engines.torch_engine import name_of
    from volunet.planning.machine import choose_dtype

    return name_of(choose_dtype("cpu"))


def must_choose(flags: tuple[str, ...]) -> bool:
    """Whether engines are tried under these flags: not where engine and precision are named."""
    return not ({"--engine", "--precision"} <= set(flags))


def monai_row(
    scans: list[Path],
    model: Path,
    *,
    batch: int,
    threads: int,
    runs: int | None,
    name: str = "monai",
) -> Row:
    """The row of MONAI's pipeline."""
    words = ("--scans", *map(str, scans), "--model", str(model), "--out", "{out}")
    more = ("--batch", str(batch), "--threads", str(threads), "--json", "{json}")
    return Row(
        name,
        (sys.executable, "-m", "benchmarks.peers.monai_pipeline", *words, *more),
        about="Spacingd, sliding_window_inference in float32, Invertd of the logits, AsDiscreted",
        runs=runs,
    )


def stitch_rows(
    nnunet: Path | None, torchio: Path | None, *, threads: int, shape: list[int], patch: int
) -> list[Row]:
    """One row a tool, each in the Python that has it."""
    size = ("--shape", *map(str, shape), "--patch", str(patch), "--threads", str(threads))
    tools = (
        ("monai", sys.executable, "peers.monai_stitching", "1"),
        ("monai-4", sys.executable, "peers.monai_stitching", "4"),
        ("torchio", torchio, "peers.torchio_grid", "1"),
        ("nnunet", nnunet, "peers.nnunet_predictor", "1"),
        ("volunet", sys.executable, "stitching", "1"),
    )
    about = {
        "monai": "sliding_window_inference, one window at a time",
        "monai-4": "sliding_window_inference, four windows at a time",
        "torchio": "GridSampler and GridAggregator",
        "nnunet": "nnUNetPredictor",
        "volunet": "cover and classify, one window at a time",
    }
    return [
        Row(
            name,
            (str(interpreter), "-m", f"benchmarks.{module}", *size, "--batch", batch)
            + ("--labels", "{out}/labels.npy", "--json", "{json}"),
            about=about[name],
            missing="" if interpreter else "no Python with it was named",
        )
        for name, interpreter, module, batch in tools
    ]
