"""Networks with random weights and statistics, and checkpoints in the published layouts."""

from __future__ import annotations

import re
from functools import cache

import torch
from monai.networks.nets import DenseNet121, EfficientNetBN, SEResNext50
from torch import nn

from volunet.models.encoders.catalogue import make_encoder

SMALLEST = {
    "resnet": "resnet10",
    "padded": "resnet18-padded",
    "bottleneck": "resnet50",
    "resnext": "resnext50",
    "densenet": "densenet121",
    "efficientnet": "efficientnet-b0",
}


def redraw(net: nn.Module) -> nn.Module:
    """Other weights, biases and statistics than a fresh network has, in evaluation mode."""
    torch.manual_seed(7)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
                nn.init.uniform_(layer.weight, 0.7, 1.3)
                nn.init.uniform_(layer.bias, -0.2, 0.2)
                nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                nn.init.uniform_(layer.running_var, 0.7, 1.3)
                layer.num_batches_tracked.fill_(9)
    return net.eval()


@cache
def encoder(name: str, dims: int, channels: int = 3) -> nn.Module:
    """One that others look at too: not to be changed."""
    return redraw(make_encoder(name, dims, channels))


@cache
def oracle(name: str) -> nn.Module:
    """MONAI's classifier of RGB images in two dimensions."""
    made = {
        "densenet121": lambda: DenseNet121(2, 3, 1000),
        "efficientnet-b0": lambda: EfficientNetBN("efficientnet-b0", pretrained=False),
        "resnext50": lambda: SEResNext50(spatial_dims=2, in_channels=3),
    }[name]()
    return redraw(made)


def residual_layout(
    depths: tuple[int, ...],
    *,
    wide: int = 4,
    inner: tuple[int, ...] = (64, 128, 256, 512),
    groups: int = 1,
    dims: int = 2,
    channels: int = 3,
    padded: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's residual networks without their classifier.

    Args:
        wide: 4 for bottlenecks, 1 for pairs of 3 x 3 convolutions.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def put(conv: str, norm: str, c_out: int, c_in: int, side: int) -> None:
        shapes[f"{conv}.weight"] = (c_out, c_in, *(side,) * dims)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (c_out,)
        shapes[f"{norm}.num_batches_tracked"] = ()

    put("conv1", "bn1", 64, channels, 7)
    c_in = 64
    for layer, (depth, mid) in enumerate(zip(depths, inner, strict=True), 1):
        for block in range(depth):
            at, c_out = f"layer{layer}.{block}", 32 * 2**layer * wide
            if wide == 4:
                put(f"{at}.conv1", f"{at}.bn1", mid, c_in, 1)
                put(f"{at}.conv2", f"{at}.bn2", mid, mid // groups, 3)
                put(f"{at}.conv3", f"{at}.bn3", c_out, mid, 1)
            else:
                put(f"{at}.conv1", f"{at}.bn1", c_out, c_in, 3)
                put(f"{at}.conv2", f"{at}.bn2", c_out, c_out, 3)
            if block == 0 and (layer > 1 or wide == 4) and not padded:
                put(f"{at}.downsample.0", f"{at}.downsample.1", c_out, c_in, 1)
            c_in = c_out
    return shapes


def draw(shapes: dict[str, tuple[int, ...]], prefix: str = "") -> dict[str, torch.Tensor]:
    torch.manual_seed(8)
    return {f"{prefix}{name}": torch.rand(shape) for name, shape in shapes.items()}


def torchvision_densenet() -> dict[str, torch.Tensor]:
    names = {
        "class_layers.out.weight": "classifier.weight",
        "class_layers.out.bias": "classifier.bias",
    }
    weights = oracle("densenet121").state_dict()
    return {names.get(k, k.replace(".layers.", ".")): w for k, w in weights.items()}


def first_densenet() -> dict[str, torch.Tensor]:
    """As torchvision called its layers at first: denselayer1.norm.1."""
    dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))(\d)")
    return {dotted.sub(r"\1.\2", name): w for name, w in torchvision_densenet().items()}


def efficientnet_pytorch() -> dict[str, torch.Tensor]:
    weights = oracle("efficientnet-b0").state_dict()
    return {re.sub(r"^_blocks\.\d+\.", "_blocks.", name): w for name, w in weights.items()}


def resnext_of_monai() -> dict[str, torch.Tensor]:
    """Of MONAI's SE-ResNeXt, without its squeeze and excitation, under torchvision's names."""
    renamed = (
        (r"^layer0\.", ""),
        (r"\.conv(\d)\.conv\.", r".conv\1."),
        (r"\.conv(\d)\.adn\.N\.", r".bn\1."),
        (r"\.project\.conv\.", ".downsample.0."),
        (r"\.project\.adn\.N\.", ".downsample.1."),
    )
    taken = {}
    for name, weight in oracle("resnext50").state_dict().items():
        for pattern, written in renamed:
            name = re.sub(pattern, written, name)
        if ".se_layer." not in name:
            taken[name] = weight
    return taken
