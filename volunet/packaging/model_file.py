"""A model to give away: `model.json` and safetensors in one folder, data that runs no code.

`model.json` says what the model takes and gives, what it was trained on, and the SHA-256 of each
file of weights. It is written last, so a folder with a `model.json` is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from volunet.config import Settings, build, read_values, to_json
from volunet.errors import ConfigError, ModelError
from volunet.inference.calibration import Calibration
from volunet.inference.effort import Effort
from volunet.inference.engines.engine import Engine, Network
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.postprocess import UNTIDIED, Tidy
from volunet.inference.rule import LAST_POSITIVE, MOST_LIKELY, NO_CLASSES, Rule
from volunet.inference.segmenter import Segmenter
from volunet.io.atomic import write_bytes, write_text
from volunet.packaging.model_place import find_model
from volunet.planning.any_plan import AnyPlan, StoredPlan
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.machine import choose_dtype

MakeEngine = Callable[[Network], Engine]

PACKAGES = ("volunet", "torch", "monai", "numpy", "nibabel")


class Training(Settings):
    """How the weights came to be.

    Args:
        cases: number of cases trained on.
        steps: taken; None where nobody kept it.
        seconds: of the budget spent; None where nobody kept it.
        seed: of weights and draws; None where nobody kept it.
        validation_dice: mean of each structure over the cases held out, by name.
        validation_psnr_db: mean of each target over the cases held out, by name.
        held_out: number of cases held out; None where nobody kept it.
        scored: how many of them the means are of; the others were refused, or time was up.
        elsewhere: for a model trained by another program: by which, and for how long.
    """

    cases: int
    steps: int | None = None
    seconds: float | None = None
    seed: int | None = None
    validation_dice: dict[str, float | None]
    validation_psnr_db: dict[str, float | None] = Field(default_factory=dict)
    held_out: int | None = None
    scored: int | None = None
    elsewhere: str = ""

    def __str__(self) -> str:
        return f"{self.cases} cases, {self.elsewhere or f'{self.steps} steps'}"


class ModelFile(Settings):
    """What stands in `model.json`.

    Args:
        weights: SHA-256 by file name; several files are an ensemble, whose logits are averaged.
        fingerprint: of the training set, its cases numbered, not named.
        licence: of the weights, such as "CC-BY-4.0"; empty where nobody said.
        intended_use: what the model is for, in its maker's words; empty where nobody said.
        tidy: what is done to its label maps, chosen on held-out cases.
        calibration: what looking less or more gave on held-out cases; None where nobody measured.
    """

    format: Literal[1] = 1
    name: str
    plan: StoredPlan
    weights: dict[str, str] = Field(min_length=1)
    fingerprint: Fingerprint
    training: Training
    versions: dict[str, str]
    licence: str = ""
    intended_use: str = ""
    tidy: Tidy = UNTIDIED
    calibration: Calibration | None = None

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
    plan: AnyPlan,
    fingerprint: Fingerprint,
    training: Training,
    licence: str = "",
    intended_use: str = "",
    others: Sequence[Mapping[str, Tensor]] = (),
) -> Path:
    """Writes a model, in place of one that may be there; returns its `model.json`.

    Args:
        others: weights of further networks of an ensemble.

    Raises:
        WriteError: a file could not be written; an earlier model is still whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digests = dict(_write_weights(folder, some) for some in (weights, *others))
    model = ModelFile(
        name=name,
        plan=plan,
        weights=digests,
        fingerprint=fingerprint.numbered(),
        training=training,
        versions={package: version(package) for package in PACKAGES},
        licence=licence,
        intended_use=intended_use,
    )
    path = write_text(folder / "model.json", to_json(model))
    for old in folder.glob(f"weights_{'[0-9a-f]' * 12}.safetensors"):  # others are not ours
        if old.name not in digests:
            old.unlink()
    return path


def _write_weights(folder: Path, weights: Mapping[str, Tensor]) -> tuple[str, str]:
    """The name of the file they are in, and its SHA-256."""
    # Copies, as some networks hold one weight under several names, which the format does not take.
    plain = torch.contiguous_format
    alone = {name: w.detach().clone(memory_format=plain) for name, w in weights.items()}
    content = save_tensors(alone)
    digest = hashlib.sha256(content).hexdigest()
    name = f"weights_{digest[:12]}.safetensors"
    write_bytes(folder / name, content)
    return name, digest


def amend_model(
    folder: Path,
    *,
    tidy: Tidy | None = None,
    calibration: Calibration | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Adds to `model.json` what was learnt about the model once it was written.

    Args:
        tidy: in place of what is there; None leaves that.
        calibration: in place of what is there; None leaves that.
        training: fields of `Training`, in place of what is there.

    Raises:
        ConfigError: `training` has what is none of its fields.
        ModelError: there is no model here.
        WriteError: it could not be written; the model is as it was.
    """
    model = read_model_file(folder)
    said = {**model.training.model_dump(), **(training or {})}
    learnt = {"tidy": tidy, "calibration": calibration}
    known: dict[str, Any] = {key: value for key, value in learnt.items() if value is not None}
    known["training"] = build(Training, said, at="training")
    write_text(find_model(folder) / "model.json", to_json(model.model_copy(update=known)))


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


def load_weights(folder: Path, model: ModelFile) -> list[dict[str, Tensor]]:
    """The weights of each network by name, once their hashes were checked.

    Raises:
        ModelError: a file is missing, or differs from what `model.json` says.
    """
    return [_read_weights(folder, name, digest) for name, digest in model.weights.items()]


def _read_weights(folder: Path, name: str, digest: str) -> dict[str, Tensor]:
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
    except (SafetensorError, KeyError) as error:
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
    weights: Sequence[Mapping[str, Tensor]],
    *,
    device: torch.device,
    make_engine: MakeEngine | None = None,
) -> Segmenter:
    """A segmenter from what a model says and the weights of its networks; as `load_model`.

    Raises:
        ModelError: the weights do not fit the plan.
    """
    digests = model.weights.values()
    networks = [_network(model.plan, *each) for each in zip(weights, digests, strict=True)]
    engines: tuple[Engine, ...] = tuple(
        TorchEngine(n.module, device=device, dtype=choose_dtype(device))
        if make_engine is None
        else make_engine(n)
        for n in networks
    )
    known = model.fingerprint.model_dump(mode="json") if model.fingerprint else {}
    facts = [model.plan.model_dump(mode="json"), model.weights, known]
    if model.tidy:
        facts.append(model.tidy.model_dump(mode="json")["structures"])
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    narrow = model.plan.targets is None  # air is background, but no value that anybody knows
    effort = Effort(overlap=model.plan.overlap, skip_air=narrow, crop=narrow)
    return Segmenter(engines, model.plan, model.fingerprint, identity, effort, model.tidy)


def _network(plan: AnyPlan, weights: Mapping[str, Tensor], digest: str) -> Network:
    try:
        with torch.device("meta"):  # a plan that does not fit takes no memory to find that out
            plan.build_network().load_state_dict({n: w.to("meta") for n, w in weights.items()})
        network = plan.build_network()
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ModelError(f"The weights do not fit the plan in model.json: {error}") from error
    made_of = json.dumps([plan.network, digest], sort_keys=True)
    identity = hashlib.sha256(made_of.encode()).hexdigest()
    rule: Rule = LAST_POSITIVE if plan.order else MOST_LIKELY
    rule = rule if plan.targets is None else NO_CLASSES
    seen = tuple(p + 2 * around for p, around in zip(plan.patch, plan.margin, strict=True))
    network.eval()  # else whoever looks at a window first moves the statistics of batch norm
    return Network(network, len(plan.channels), seen, identity, rule)
