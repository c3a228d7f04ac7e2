"""The network of a run before its first step, with the weights that it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from volunet.models.correction import begin_with_nothing
from volunet.models.encoder_unet import EncoderUNet
from volunet.models.weights import load_pretrained
from volunet.planning.plan import Plan
from volunet.training.settings import Training
from volunet.training.start import transplant

FROM_SOMETHING = (
    "The network corrects its images and has a head of several layers, which cannot begin by "
    "adding nothing: at first its answers are worse than the images themselves."
)


@dataclass(frozen=True)
class Start:
    """A trained network to begin with.

    Args:
        weights: by name, as a model holds them.
        heads: what each row of its head tells of.
    """

    weights: Mapping[str, Tensor]
    heads: tuple[str, ...]


def begin_network(
    plan: Plan, settings: Training, start: Start | None, encoder_weights: Path | None
) -> tuple[nn.Module, list[str]]:
    """The network of a plan, and what somebody should know of the weights it begins with.

    Args:
        start: a whole network whose weights are taken over.
        encoder_weights: a file of weights for its encoder, where it is one of `EncoderUNet`'s.

    Raises:
        ModelError: weights do not fit.
    """
    network, notes = plan.build_network(), []
    if plan.added and not begin_with_nothing(network, plan.head_axes):
        notes.append(FROM_SOMETHING)
    if start is not None:
        report = transplant(network, start.weights, start.heads, plan.heads, plan.head_axes)
        notes.append(report.warning or f"Of the model that training starts from {report}.")
    if encoder_weights is not None:
        (net,) = (m for m in network.modules() if isinstance(m, EncoderUNet))
        loaded = load_pretrained(
            net.encoder,
            encoder_weights,
            inflate=settings.inflate,
            depth_axis=settings.inflate_axis,
            learnt_on=settings.learnt_on,
            whole=settings.optimisation.freeze_encoder,
        )
        notes.append(str(loaded))
    return network, notes
