"""A finished model, ready to use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from volunet.errors import ConfigError
from volunet.inference.calibration import PRESETS, Look, Preset
from volunet.inference.engines.auto import AutoEngine
from volunet.inference.engines.choose import Choice
from volunet.inference.engines.engine import Network
from volunet.inference.segmenter import Segmenter
from volunet.packaging.model_file import load_model, read_model_file
from volunet.planning.machine import find_device, read_bytes
from volunet.planning.nnunet_plan import NnunetPlan


def load(
    model: Path | str,
    *,
    device: str | None = None,
    engine: str = "auto",
    precision: str | None = None,
    effort: Preset | None = None,
    max_memory: str | float | None = None,
    tell: Callable[[str], None] | None = None,
) -> Segmenter:
    """A model, ready to segment: call it with what `volunet.read` gives.

    Args:
        model: the folder that `train` wrote, or its `model/` folder.
        device: "cpu", "cuda", "mps"; by default the best there is.
        engine: what runs the network: "torch", "openvino", "onnx"; "auto" tries them on the first
            scan, takes the fastest that gives torch's masks, and remembers it.
        precision: of the arithmetic: "fp32", "bf16", "fp16"; by default the fastest that holds.
        effort: "fast" for the fewest windows that lost at most 0.002 Dice on held-out cases, "best"
            for what was best on them; by default as the plan says.
        max_memory: that the process may hold, "4GB" (10^9 bytes each), "4GiB" or a number of bytes.
            The fastest way to look at a scan that keeps it is taken; without one it is refused.
        tell: called with sentences about the engine, and about what `effort` costs.

    Raises:
        ModelError: it is missing, damaged, or its weights do not fit its plan.
        ConfigError: there is no such device, engine or precision here, `max_memory` is no size, or
            `effort` was asked for and the model holds no calibration.
        MissingExtra: the engine is not installed.
    """
    place = device_for(device, engine)

    def make(network: Network) -> AutoEngine:
        return AutoEngine(network, place, engine=engine, precision=precision, tell=tell)

    segment = load_model(Path(model), device=place, make_engine=make)
    if engine != "auto" or precision is not None:  # masks of another arithmetic are not kept
        segment = segment.known_as(f"engine {engine}, precision {precision}")
    if max_memory is not None:
        segment = segment.within(read_bytes(max_memory))
    return segment if effort is None else _looking(segment, Path(model), effort, tell)


def device_for(device: str | None, engine: str) -> torch.device:
    """The device called so, or the best there is for an engine.

    Raises:
        ConfigError: there is no such device here.
    """
    place = find_device("cpu" if device is None and engine == "openvino" else device)
    elsewhere = device is None and engine == "onnx" and place.type not in ("cpu", "cuda")
    return torch.device("cpu") if elsewhere else place


def _looking(
    segment: Segmenter, model: Path, effort: Preset, tell: Callable[[str], None] | None
) -> Segmenter:
    """The model with a preset that was chosen on held-out cases."""
    if effort not in PRESETS:
        raise ConfigError(f"effort is one of {', '.join(PRESETS)}, or nothing; got {effort!r}.")
    calibration, plan = read_model_file(model).calibration, segment.plan
    if calibration is None and isinstance(plan, NnunetPlan) and effort == "best":
        look = Look(overlap=plan.overlap, mirror=plan.mirror)
        if tell is not None:
            tell(f"best: {look}, as nnU-Net does it; what it gives was not measured.")
        return look.on(segment)
    if calibration is None:
        measured = "`volunet train` measures it on held-out cases"
        if plan.targets is not None:
            measured = "It is measured for models that tell structures apart"
        if isinstance(plan, NnunetPlan):
            measured = "An imported model has none; 'best' mirrors as nnU-Net does"
        raise ConfigError(
            f"{model.name} holds no calibration, so nobody knows what {effort!r} would be. "
            f"{measured}; leave it out for the default."
        )
    if tell is not None:
        tell(calibration.say(effort))
    return calibration.chosen(effort).look.on(segment)


def try_engines(model: Path | str, *, device: str | None = None) -> Choice:
    """Which engine a model, or the first network of an ensemble, is run by on this machine.

    Tried on noise, unless engines were tried on a scan earlier.

    Args:
        model, device: as in `load`.

    Raises:
        ModelError: it is missing, damaged, or its weights do not fit its plan.
    """
    engine = load(model, device=device).engines[0]  # the others of an ensemble follow it
    assert isinstance(engine, AutoEngine)
    return engine.settle()
