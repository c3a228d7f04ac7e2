"""What training minimises where images are estimated: differences of values, voxel by voxel.

Values are as the network has them, with a spread of about 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from volunet.errors import ConfigError
from volunet.planning.plan import Plan
from volunet.training.losses.settings import LossSettings, Term

TERMS: Mapping[Term, Callable[[Tensor, Tensor, LossSettings], Tensor]] = {
    "mae": lambda given, wanted, _: l1_loss(given, wanted, reduction="none"),
    "mse": lambda given, wanted, _: mse_loss(given, wanted, reduction="none"),
    "huber": lambda given, wanted, settings: huber_loss(
        given, wanted, delta=settings.huber_delta, reduction="none"
    ),
}
USUAL: Mapping[Term, float] = {"mae": 1.0}


class ValueLoss:
    """What a step minimises.

    Args:
        plan: whose targets the network estimates.
        settings: the terms and their weights; the mean absolute error unless they say so.
        device: where estimates will be.

    Raises:
        ConfigError: a term or a setting is about structures, or a weight is given to what is no
            target.
    """

    def __init__(
        self,
        plan: Plan,
        settings: LossSettings | None = None,
        *,
        device: torch.device | None = None,
    ) -> None:
        self.settings = settings or LossSettings()
        self.terms = self.settings.terms or USUAL
        if wrong := sorted(set(self.terms) - set(TERMS)):
            raise ConfigError(
                f"training.loss.terms has {wrong}, which compare structures, and the dataset has "
                f"targets. Take {', '.join(TERMS)}."
            )
        if not self.settings.batch:
            raise ConfigError(
                "training.loss.batch tells whose overlap is taken, and values have none. Take it "
                "out."
            )
        if unknown := sorted(set(self.settings.class_weights) - set(plan.heads)):
            raise ConfigError(
                f"training.loss.class_weights names {unknown}, which are no targets; known are "
                f"{list(plan.heads)}."
            )
        weights = [self.settings.class_weights.get(name, 1.0) for name in plan.heads]
        self.weights = torch.tensor(weights, device=device)

    def __call__(
        self, outputs: Sequence[Tensor], label: Tensor, *, drawn: Tensor | None = None
    ) -> Tensor:
        """A scalar in float32, or float64 for such estimates; the mean over voxels and targets.

        0 where there is no voxel to learn from.

        Args:
            outputs: estimates (B, T, *S), one scale.
            label: targets (B, T, *S), NaN for voxels that count for nothing.
            drawn: None: targets are there in every case.
        """
        assert drawn is None, "cases with targets have all of them"
        (given,) = outputs
        given = given.to(torch.promote_types(given.dtype, torch.float32))
        known = label.isfinite()
        wanted = torch.where(known, label, given.detach()).to(given.dtype)
        count = known.sum().clamp_min(1)
        weights = self.weights.to(given.dtype).view(1, -1, *[1] * (given.ndim - 2))
        total = given.new_zeros(())
        for name, weight in self.terms.items():
            differences = TERMS[name](given, wanted, self.settings)
            total = total + weight * (weights * differences).sum() / count
        return total
