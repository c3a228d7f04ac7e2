"""The optimiser, and its learning rate as a function of the run's progress."""

from __future__ import annotations

import re
from collections.abc import Collection
from math import cos, pi
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.optim import Optimizer

from volunet.config import Settings
from volunet.errors import ConfigError
from volunet.models.unet import UShape
from volunet.training.muon import Muon

Positive = Annotated[float, Field(gt=0)]
RATES = {"muon": 1e-2, "adamw": 2e-3, "sgd": 1e-2}
DECAYS = {"muon": 1e-2, "adamw": 1e-2, "sgd": 3e-5}
"""What suits each method (measured, docs/benchmarks; nnU-Net's for SGD)."""
ENCODER, DECODER, HEAD = "encoder.", "decoder.", "head"


class Optimisation(Settings):
    """How weights are moved.

    Args:
        method: Muon (Jordan 2024) for all convolutions but the head and those of channels apart,
            with AdamW for the rest; AdamW (Loshchilov and Hutter 2019) for all; or SGD with
            Nesterov's momentum 0.99.
        learning_rate: the highest; None for what suits the method (`RATES`).
        decay: how the rate falls after its rise: half a cosine, a straight line (which is nearly
            nnU-Net's polynomial), or "none": it stays, and the average of the weights settles.
        weight_decay: of convolution weights; normalisation and bias have none. None for what suits
            the method (`DECAYS`): of SGD it is part of the gradient, of the others it is not.
        warm_up: share of the run in which the learning rate grows from near 0.
        clip_norm: largest norm of the gradient.
        stage_decay: what the learning rate is multiplied by with each stage of the network away
            from its head, for fine-tuning; 1 for the same rate everywhere.
        freeze_encoder: the encoder keeps the weights that it started with.
    """

    method: Literal["muon", "adamw", "sgd"] = "muon"
    learning_rate: Positive | None = None
    decay: Literal["cosine", "linear", "none"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.03
    clip_norm: Positive = 12.0
    stage_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    freeze_encoder: bool = False

    @property
    def highest_rate(self) -> float:
        """The learning rate at its highest."""
        return RATES[self.method] if self.learning_rate is None else self.learning_rate


def make_optimizer(
    network: nn.Module, settings: Optimisation, *, heads: Collection[str] = ()
) -> Optimizer:
    """The optimiser of a network's weights; those that are frozen take no more gradients.

    Args:
        network: any; one with the stages of `UShape`, be it wrapped, where the encoder is to be
            frozen or stages have rates of their own.
        heads: names of the weights of its head, where they do not begin with "head".

    Raises:
        ConfigError: stages are told apart that the network has not.
    """
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    names = [_bare(name) for name, _ in network.named_parameters()]
    heads = {_bare(name) for name in heads}
    mixing = {id(layer.weight) for layer in network.modules() if _mixes(layer)}
    by_stage = settings.freeze_encoder or settings.stage_decay < 1
    stages = _count_stages(network, names) if by_stage else (1, 0)
    for name, weight in zip(names, network.parameters(), strict=True):
        if settings.freeze_encoder and name.startswith(ENCODER):
            weight.requires_grad_(False)
            continue
        share = settings.stage_decay ** _stages_from_head(name, *stages) if by_stage else 1.0
        matrix = id(weight) in mixing and not (name.startswith(HEAD) or name in heads)
        groups.setdefault((share, weight.ndim > 1, matrix), []).append(weight)
    decay = settings.weight_decay
    decay = DECAYS[settings.method] if decay is None else decay
    by_rule = [
        {
            "params": weights,
            "weight_decay": decay * decays,
            "share": share,
            "matrices": matrices,
        }
        for (share, decays, matrices), weights in groups.items()
    ]
    rate = settings.highest_rate
    if settings.method == "muon":
        return Muon(by_rule, lr=rate)
    if settings.method == "sgd":
        return torch.optim.SGD(by_rule, lr=rate, momentum=0.99, nesterov=True)
    return torch.optim.AdamW(by_rule, lr=rate, fused=True)


def _mixes(layer: nn.Module) -> bool:
    """Whether a layer's weights are a matrix from all channels to all.

    Kernels of channels that never meet, and tables, are none: nothing is orthogonal to anything.
    """
    if isinstance(layer, nn.Linear):
        return True
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return isinstance(layer, kinds) and layer.groups == 1


def rate_at(progress: float, settings: Optimisation) -> float:
    """The learning rate at a progress in [0, 1]: a linear rise, then a fall to 0, or none.

    Source: Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts, for the cosine;
    Defazio et al. 2023 (arXiv:2310.07831) for the line.
    """
    rise = min(1.0, (progress + 1e-4) / max(settings.warm_up, 1e-4))
    gone = min(progress, 1.0)
    left = {"linear": 1 - gone, "cosine": 0.5 * (1 + cos(pi * gone)), "none": 1.0}
    return settings.highest_rate * rise * left[settings.decay]


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Gives every group of weights its share of this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def _count_stages(network: nn.Module, names: list[str]) -> tuple[int, int]:
    """Stages of a network's encoder, and of its decoder."""
    if not any(isinstance(module, UShape) for module in network.modules()):
        raise ConfigError(
            "training.optimisation.freeze_encoder and stage_decay tell stages of a U-Net apart, "
            f"and {type(network).__name__} has none. Take these keys out of the recipe."
        )
    encoder, decoder = (
        1 + max((_stage(name) for name in names if name.startswith(part)), default=-1)
        for part in (ENCODER, DECODER)
    )
    return encoder, decoder


def _stages_from_head(name: str, encoder: int, decoder: int) -> int:
    """How many stages lie between a weight and the head, on the way that an image takes.

    Args:
        encoder: stages on the way down.
        decoder: stages on the way up.
    """
    if name.startswith(ENCODER):
        return encoder + decoder - _stage(name)
    return decoder - _stage(name) if name.startswith(DECODER) else 0


def _bare(name: str) -> str:
    """The name of a weight in a network, whatever it is wrapped in."""
    return re.sub(r"^(net\.)+", "", name)


def _stage(name: str) -> int:
    """The number of the stage in names such as "encoder.2.conv.weight"."""
    return int(name.split(".")[1])
