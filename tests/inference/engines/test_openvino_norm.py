"""A mean taken in stages keeps the digits that one running sum over a large map loses."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from volunet.inference.engines import openvino_engine
from volunet.inference.engines.engine import Network
from volunet.inference.engines.openvino_engine import OpenVinoEngine
from volunet.inference.engines.openvino_norm import BLOCK, blocks

pytest.importorskip("openvino")


@pytest.mark.parametrize("size", [(96, 96, 96), (40, 56, 40), (37, 41, 43), (320, 256)])
def test_a_large_map_is_normalised_as_exactly_as_float32_allows(size):
    maps = torch.rand(1, 3, *size).square() * 50 + 100
    kind = nn.InstanceNorm2d if len(size) == 2 else nn.InstanceNorm3d
    net = kind(3, affine=True)
    nn.init.normal_(net.weight)
    engine = OpenVinoEngine(openvino_engine.convert(Network(net, 3, size)))
    wanted = net.double()(maps.double())
    error = (engine(maps).double() - wanted).square().mean().sqrt() / wanted.std()
    assert error < (1e-5 if blocks(size) != (1,) * len(size) else 5e-4)  # 37 x 41 x 43: one sum


@given(st.lists(st.integers(1, 200), min_size=2, max_size=3).map(tuple))
def test_blocks_divide_the_map(size):
    sides = blocks(size)
    assert all(n % side == 0 and side <= BLOCK for n, side in zip(size, sides, strict=True))
    assert prod(sides) > 1 or all(all(n % k for k in range(2, BLOCK + 1)) for n in size)
