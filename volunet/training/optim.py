"""The optimiser, and its learning rate as a function of the run's progress."""

from __future__ import annotations

from math import cos, pi
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.optim import Optimizer

from volunet.config import Settings

Positive = Annotated[float, Field(gt=0)]


class Optimisation(Settings):
    """How weights are moved.

    Args:
        method: AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov's momentum 0.99.
        learning_rate: the highest; 0.01 suits SGD.
        weight_decay: of convolution weights; normalisation and bias have none.
        warm_up: share of the run in which the learning rate grows from near 0.
        clip_norm: largest norm of the gradient.
    """

    method: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.03
    clip_norm: Positive = 12.0


def make_optimizer(network: nn.Module, settings: Optimisation) -> Optimizer:
    """The optimiser of a network's weights."""
    weights = list(network.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.method == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.99, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def rate_at(progress: float, settings: Optimisation) -> float:
    """The learning rate at a progress in [0, 1]: a linear rise, then half a cosine to 0.

    Source: Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
    """
    rise = min(1.0, (progress + 1e-4) / max(settings.warm_up, 1e-4))
    return settings.learning_rate * rise * 0.5 * (1 + cos(pi * min(progress, 1.0)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Gives every group of weights this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
