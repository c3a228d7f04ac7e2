"""Streaming gives the labels of the dense path, bit for bit: mirrors, folds, strips, any grid.

The dense path holds every logit at once: windows are looked at and blended into a whole map, which
goes to the scan's grid in one piece.
"""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.inference.drawing import tilings
from volunet.inference.cover import classify, cover
from volunet.inference.effort import Effort
from volunet.inference.labelling import strips_of
from volunet.inference.native import label_native
from volunet.inference.windows import Tiling
from volunet.space.box import Box
from volunet.space.grid import Grid

CLASSES = 3


class Fold:
    """A network without symmetry: each class is the window times a ramp of its own."""

    def __init__(self, seed: int, patch, *, channels_last: bool) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.ramps = torch.randn(1, CLASSES, *patch, generator=draw)
        if channels_last:
            self.ramps = self.ramps.contiguous(memory_format=torch.channels_last_3d)

    def __call__(self, windows):
        return windows * self.ramps


def dense_map(folds, image, patch, effort: Effort) -> torch.Tensor:
    """Blended logits of the whole image, (classes, I, J, K), in the accumulator's type."""
    tiling = Tiling.regular(image.shape[1:], patch, effort.overlap)
    total = torch.zeros((CLASSES, *tiling.shape), dtype=effort.accumulator)
    passes = [(fold, axes) for fold in folds for axes in effort.mirrors]
    for box in tiling.boxes():
        window = torch.from_numpy(image[box.index])[None]
        answers = [
            fold(window.flip([2 + a for a in axes])).flip([2 + a for a in axes])
            for fold, axes in passes
        ]
        logits = answers[0].clone()
        for answer in answers[1:]:
            logits += answer
        if len(passes) > 1:
            logits /= len(passes)
        seen = total[box.index].float()
        total[box.index] = torch.addcmul(seen, logits[0], tiling.weights(box)).to(total.dtype)
    return total


efforts = st.builds(
    Effort,
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
    mirror=st.sampled_from([(), (0,), (1, 2), (0, 1, 2)]),
    accumulator=st.sampled_from([torch.float32, torch.float16]),
    strips=st.integers(1, 4),
    batch=st.integers(1, 3),
)


@st.composite
def scans(draw) -> Grid:
    """The grid of a scan: any spacing, turned or tilted, larger or smaller than the plan's."""
    shape = draw(st.tuples(*[st.integers(1, 12)] * 3))
    spacing = draw(st.tuples(*[st.sampled_from([0.5, 1.0, 1.3, 3.0])] * 3))
    affine = np.diag([*spacing, 1.0])
    if draw(st.booleans()):
        turn = Rotation.random(random_state=draw(st.integers(0, 99))).as_matrix()
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = draw(st.tuples(*[st.floats(-3, 3)] * 3))
    return Grid(shape, affine).reoriented(draw(st.sampled_from(["RAS", "LPI", "SAR", "ILP"])))


@settings(max_examples=150)
@given(tilings(), efforts, st.integers(1, 2), scans(), st.booleans(), st.integers(0, 99))
def test_streaming_equals_dense(drawn, effort, count, native_grid, channels_last, seed):
    shape, patch, _ = drawn
    image = np.random.default_rng(seed).normal(size=(1, *shape)).astype("f4")
    folds = [Fold(seed + n, patch, channels_last=channels_last) for n in range(count)]
    whole = dense_map(folds, image, patch, effort)
    plan_grid = Grid(shape, np.eye(4))
    wanted = label_native([(Box.whole(shape), whole)], plan_grid, native_grid)
    labels = None
    for region, reach in strips_of(shape, effort.strips):
        slabs = cover(folds, image, patch, effort, region=region)
        labels = label_native(slabs, plan_grid, native_grid, reach=reach, labels=labels)
    np.testing.assert_array_equal(labels, wanted)
    np.testing.assert_array_equal(classify(folds, image, patch, effort), whole.argmax(0))


@given(st.integers(1, 40), st.integers(1, 9), st.floats(-1, 20), st.floats(0, 30))
def test_strips_label_each_coordinate_in_reach_once_and_no_other(columns, count, low, length):
    outer = ((-0.5, 3.5), (low, low + length), (-0.5, 3.5))
    strips = strips_of((4, columns, 4), count, outer=outer)
    for at in np.arange(-2.0, 55.0, 0.25):
        met = sum(a <= at < b for _, (_, (a, b), _) in strips)
        assert met == (low <= at < low + length)
