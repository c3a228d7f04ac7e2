"""The network of a volunet model as users of MONAI and nnU-Net run it: torch's own modules.

`nn.Conv3d`, `nn.InstanceNorm3d`, `nn.LeakyReLU`, contiguous float32. The modules have the names
that the weights have, so a model folder is loaded as it is. Plain blocks only, no gates.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Size = tuple[int, int, int]


class ConvNorm(nn.Module):
    def __init__(self, c_in: int, c_out: int, kernel: Size, stride: Size = (1, 1, 1)) -> None:
        super().__init__()
        padding = tuple(side // 2 for side in kernel)
        self.conv = nn.Conv3d(c_in, c_out, kernel, stride, padding, bias=False)
        self.norm = nn.InstanceNorm3d(c_out, affine=True)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


def block(c_in: int, c_out: int, kernel: Size, stride: Size = (1, 1, 1)) -> nn.Sequential:
    return nn.Sequential(ConvNorm(c_in, c_out, kernel, stride), ConvNorm(c_out, c_out, kernel))


class Up(nn.Module):
    def __init__(self, coarse: int, fine: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(coarse, fine, stride, stride)
        self.block = block(2 * fine, fine, kernel)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        return self.block(torch.cat((skip, self.up(below)), dim=1))


class PlainUNet(nn.Module):
    """Image (B, C, I, J, K) to logits (B, classes, I, J, K)."""

    def __init__(self, plan: dict[str, Any], classes: int) -> None:
        super().__init__()
        if plan.get("residual") or plan.get("attention"):
            raise ValueError("The side-by-side network has plain blocks without gates only.")
        features, channels = plan["features"], len(plan["channels"])
        kernels = [tuple(kernel) for kernel in plan["kernels"]]
        strides = [(1, 1, 1), *(tuple(stride) for stride in plan["strides"])]
        pairs = pairwise((channels, *features))
        self.encoder = nn.ModuleList(
            block(c_in, c_out, kernel, stride)
            for (c_in, c_out), kernel, stride in zip(pairs, kernels, strides, strict=True)
        )
        stages = list(zip(pairwise(features), kernels[:-1], strides[1:], strict=True))
        self.decoder = nn.ModuleList(
            Up(coarse, fine, kernel, stride) for (fine, coarse), kernel, stride in reversed(stages)
        )
        self.head = nn.Conv3d(features[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        x = skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(x)


def read_plan(model: Path) -> dict[str, Any]:
    """The plan of a model folder, as plain data."""
    return json.loads((model / "model.json").read_text())["plan"]


def load_plain(model: Path) -> PlainUNet:
    """The network of a model folder with its weights, in evaluation mode."""
    said = json.loads((model / "model.json").read_text())
    weights = {}
    for name in said["weights"]:
        weights.update(load_file(model / name))
    network = PlainUNet(said["plan"], classes=weights["head.weight"].shape[0])
    network.load_state_dict(weights)
    return network.eval()
