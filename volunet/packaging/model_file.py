"""A model to give away: `model.json` and safetensors in one folder, data that runs no code.

`model.json` says what the model takes and gives, what it was trained on, and the SHA-256 of each
file of weights. It is written last, so a folder with a `model.json` is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from volunet.config import Settings, build, read_values, to_json
from volunet.errors import ConfigError, ModelError
from volunet.inference.effort import Effort
from volunet.inference.engines.engine import Engine, Network
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.postprocess import UNTIDIED, Tidy
from volunet.inference.segmenter import Segmenter
from volunet.io.atomic import write_bytes, write_text
from volunet.models.unet import UNet
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.machine import choose_dtype
from volunet.planning.plan import Plan

MakeEngine = Callable[[Network], Engine]

PACKAGES = ("volunet", "torch", "monai", "numpy", "nibabel")


class Training(Settings):
    """How the weights came to be.

    Args:
        cases: number of cases trained on.
        steps: taken.
        seconds: of the budget spent.
        seed: of weights and draws.
        validation_dice: of each structure on the cases held out, by name.
    """

    cases: int
    steps: int
    seconds: float
    seed: int
    validation_dice: dict[str, float | None]


class ModelFile(Settings):
    """What stands in `model.json`.

    Args:
        weights: SHA-256 by file name.
        fingerprint: of the training set, its cases numbered, not named.
        licence: of the weights, such as "CC-BY-4.0"; empty where nobody said.
        intended_use: what the model is for, in its maker's words; empty where nobody said.
        tidy: what is done to its label maps, chosen on held-out cases.
    """

    format: Literal[1] = 1
    name: str
    plan: Plan
    weights: dict[str, str] = Field(min_length=1, max_length=1)
    fingerprint: Fingerprint
    training: Training
    versions: dict[str, str]
    licence: str = ""
    intended_use: str = ""
    tidy: Tidy = UNTIDIED

    @model_validator(mode="after")
    def _tidies_what_it_finds(self) -> Self:
        if unknown := set(self.tidy.structures) - set(self.plan.labels.names):
            raise ValueError(f"tidy names {sorted(unknown)}, which are not among the labels")
        return self


def save_model(  # noqa: PLR0913 - a model file has this many parts
    folder: Path,
    weights: Mapping[str, Tensor],
    *,
    name: str,
    plan: Plan,
    fingerprint: Fingerprint,
    training: Training,
    licence: str = "",
    intended_use: str = "",
) -> Path:
    """Writes a model, in place of one that may be there; returns its `model.json`.

    Raises:
        WriteError: a file could not be written; an earlier model is still whole.
    """
    content = save_tensors({key: value.contiguous() for key, value in weights.items()})
    digest = hashlib.sha256(content).hexdigest()
    file_name = f"weights_{digest[:12]}.safetensors"
    model = ModelFile(
        name=name,
        plan=plan,
        weights={file_name: digest},
        fingerprint=fingerprint.numbered(),
        training=training,
        versions={package: version(package) for package in PACKAGES},
        licence=licence,
        intended_use=intended_use,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / file_name, content)
    path = write_text(folder / "model.json", to_json(model))
    for old in folder.glob("weights_*.safetensors"):
        if old.name != file_name:
            old.unlink()
    return path


def amend_model(folder: Path, *, tidy: Tidy) -> None:
    """Adds to `model.json` what was learnt about the model once it was written.

    Raises:
        ModelError: there is no model here.
        WriteError: it could not be written; the model is as it was.
    """
    model = read_model_file(folder).model_copy(update={"tidy": tidy})
    write_text(find_model(folder) / "model.json", to_json(model))


def read_model_file(folder: Path) -> ModelFile:
    """What a model says of itself, checked name by name; the weights are not opened.

    Args:
        folder: the model, or a run that holds one in `model/`.

    Raises:
        ModelError: there is no model here, or its `model.json` is not one.
    """
    path = find_model(folder) / "model.json"
    try:
        return build(ModelFile, read_values(path), at="model.json")
    except ConfigError as error:
        raise ModelError(f"{path} is not a model of this version of volunet: {error}") from error


def find_model(folder: Path) -> Path:
    """The folder that holds `model.json`: this one, or `model/` inside it.

    Raises:
        ModelError: neither does.
    """
    for place in (folder, folder / "model"):
        if (place / "model.json").is_file():
            return place
    raise ModelError(
        f"There is no model in {folder}: it holds no model.json. Give the folder that "
        "`volunet train` wrote, or its model/ folder."
    )


def load_weights(folder: Path, model: ModelFile) -> dict[str, Tensor]:
    """The weights by name, once their hash was checked.

    Raises:
        ModelError: a file is missing, or differs from what `model.json` says.
    """
    ((name, digest),) = model.weights.items()
    path = folder / name
    if path.name != name or not path.is_file():
        raise ModelError(f"The weights {name!r} are not in {folder}. Copy the whole model folder.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError(
            f"{name} is not what model.json says: its SHA-256 differs. The file is damaged or was "
            "changed; fetch the model again."
        )
    try:
        weights: dict[str, Tensor] = load_tensors(content)
    except SafetensorError as error:
        raise ModelError(f"{name} is not a safetensors file: {error}") from error
    return weights


def load_model(
    folder: Path, *, device: torch.device, make_engine: MakeEngine | None = None
) -> Segmenter:
    """A model, ready to segment scans.

    Args:
        make_engine: what runs the network; by default torch, in the type `choose_dtype` says.

    Raises:
        ModelError: it is missing, damaged, or its weights do not fit its plan.
    """
    place = find_model(folder)
    model = read_model_file(place)
    weights = load_weights(place, model)
    return make_segmenter(model, weights, device=device, make_engine=make_engine)


def make_segmenter(
    model: ModelFile,
    weights: Mapping[str, Tensor],
    *,
    device: torch.device,
    make_engine: MakeEngine | None = None,
) -> Segmenter:
    """A segmenter from what a model says and its weights.

    Args:
        make_engine: as in `load_model`.

    Raises:
        ModelError: the weights do not fit the plan.
    """
    network = UNet(**model.plan.network)
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ModelError(f"The weights do not fit the plan in model.json: {error}") from error
    engine: Engine
    if make_engine is None:
        engine = TorchEngine(network, device=device, dtype=choose_dtype(device))
    else:
        made_of = json.dumps([model.plan.network, model.weights], sort_keys=True)
        digest = hashlib.sha256(made_of.encode()).hexdigest()
        engine = make_engine(Network(network, network.in_channels, model.plan.patch, digest))
    facts = [model.plan.model_dump(mode="json"), model.weights]
    if model.tidy:
        facts.append(model.tidy.model_dump(mode="json")["structures"])
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    effort = Effort(overlap=model.plan.overlap)
    return Segmenter((engine,), model.plan, model.fingerprint, identity, effort, model.tidy)
