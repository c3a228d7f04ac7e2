"""Weights of nnU-Net's networks under the names of `volunet.models.nnunet`.

nnU-Net keeps each weight up to four times: a decoder holds its encoder, and a convolution holds its
layers in a list too. It also keeps heads at coarser scales, which only training needs, and biases
in front of an instance normalisation, which takes them away again; neither is taken over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from volunet.errors import ModelError
from volunet.models.nnunet import NnunetUNet

TOLD = 6
"""Names of weights that a message lists, at most."""

PLAIN = ((r"^encoder\.(\d+)\.(\d+)\.", r"encoder.stages.\1.0.convs.\2."),)
RESIDUAL = (
    (r"^encoder\.0\.0\.", r"encoder.stem.convs.0."),
    (r"^encoder\.0\.1\.(\d+)\.", r"encoder.stages.0.blocks.\1."),
    (r"^encoder\.(\d+)\.(\d+)\.", r"encoder.stages.\1.blocks.\2."),
    (r"\.first\.", r".conv1."),
    (r"\.second\.", r".conv2."),
    (r"\.shortcut\.", r".skip."),
)
DECODER = (
    (r"^decoder\.(\d+)\.up\.", r"decoder.transpconvs.\1."),
    (r"^decoder\.(\d+)\.block\.", r"decoder.stages.\1.convs."),
)
JOINING = re.compile(r"decoder\.\d+\.block\.0\.conv\.weight")


def translate(weights: Mapping[str, Tensor], net: NnunetUNet) -> dict[str, Tensor]:
    """The weights of a checkpoint of nnU-Net in float32, for a network of ours.

    Weights of a two-dimensional network become those of a three-dimensional `net` that looks at
    single slices.

    Raises:
        ModelError: a weight is missing, is left over, or has another shape: the network is not the
            one that the plans describe.
    """
    given = {key: value for key, value in weights.items() if not _is_copy(key)}
    wrong, taken = list[str](), dict[str, Tensor]()
    for ours, planned in net.state_dict().items():
        theirs = their_name(ours, net)
        if theirs in given:
            value = _as_ours(given.pop(theirs), ours, planned.ndim)
        elif ours.endswith(".up.bias"):
            value = torch.zeros(planned.shape)  # nnU-Net's `conv_bias` was off
        else:
            wrong.append(f"{theirs} is missing")
            continue
        if value.shape != planned.shape:
            wrong.append(f"{theirs} is {tuple(value.shape)}, planned {tuple(planned.shape)}")
        taken[ours] = value
    wrong += [f"{key} is left over" for key in given if not _is_needless(key, weights)]
    if wrong:
        more = f"; and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
        raise ModelError(
            "The network in the checkpoint is not the one that plans.json describes; a trainer may "
            f"have changed it. {'; '.join(wrong[:TOLD])}{more}."
        )
    return taken


def their_name(ours: str, net: NnunetUNet) -> str:
    """nnU-Net's name for a weight of ours."""
    head = (r"^head\.", f"decoder.seg_layers.{len(net.decoder) - 1}.")
    name = ours
    for pattern, written in (head, *DECODER, *(RESIDUAL if net.residual else PLAIN)):
        name = re.sub(pattern, written, name)
    return name


def _as_ours(value: Tensor, ours: str, ndim: int) -> Tensor:
    value = value.float()
    if value.ndim == 4 and ndim == 5:
        value = value[:, :, None]
    if JOINING.fullmatch(ours):  # nnU-Net puts the skip connection last, volunet first
        value = value.roll(value.shape[1] // 2, dims=1)
    return value.contiguous()


def _is_copy(key: str) -> bool:
    return ".all_modules." in key or key.startswith("decoder.encoder.")


def _is_needless(key: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether a weight that was not asked for has no say in the finest logits."""
    if key.startswith("decoder.seg_layers."):
        return True
    return key.endswith(".conv.bias") and key.replace(".conv.bias", ".norm.weight") in weights
