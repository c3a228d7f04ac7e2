"""Logits and labels for the tests of losses."""

import torch

from tests.training.tiny import PLAN
from volunet.space.labels import Labels
from volunet.training.losses.loss import Loss
from volunet.training.losses.settings import LossSettings

SHAPE = (4, 5, 6)


def draw(seed: int, classes: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, *SHAPE, generator=generator)
    return logits, torch.randint(0, classes, (batch, *SHAPE), generator=generator)


def sure_of(label: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits that leave no doubt."""
    return 40 * torch.nn.functional.one_hot(label, classes).movedim(-1, 1).float()


def labels_of(classes: int, ignore: int | None = None) -> Labels:
    return Labels(structures={f"s{n}": n for n in range(1, classes)}, ignore=ignore)


def loss_of(classes: int, *terms: str, ignore: int | None = None, **settings) -> Loss:
    """The loss of some terms, each with weight 1; by default Dice and cross-entropy."""
    told = {"terms": dict.fromkeys(terms, 1.0)} if terms else {}
    plan = PLAN.model_copy(update={"labels": labels_of(classes, ignore)})
    return Loss(plan, LossSettings(**told, **settings))
