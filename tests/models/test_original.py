"""The U-Nets of 2015 and 2016 lose as much of the image as their papers say, and no more."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from volunet.errors import ShapeError
from volunet.models.original import CicekUNet, OriginalUNet, margin_of
from volunet.models.sizes import Sizes

MAKERS = [OriginalUNet, CicekUNet]


def on_meta(make, *args, **kwargs):
    """A network without numbers: it has sizes, but takes neither time nor memory."""
    with torch.device("meta"):
        return make(*args, **kwargs).eval()


def small(make=OriginalUNet, dims=2, stages=3, **kwargs):
    torch.manual_seed(0)
    return make(dims, 1, 2, features=(4, 6, 8, 8)[:stages], **kwargs).eval()


def weights_of(net) -> int:
    return sum(weight.numel() for weight in net.parameters())


def test_the_paper_of_2015_makes_388_voxels_of_572():
    net = on_meta(OriginalUNet, 2, 1, 2)
    assert net(torch.zeros(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)
    assert net.margin == (92, 92)
    assert net.divisor == (16, 16)
    assert net.input_size_for((388, 388)) == (572, 572)
    stages = [tuple(seen.shape[1:3]) for seen in net.decode(torch.zeros(1, 1, 572, 572).to("meta"))]
    assert stages == [(512, 52), (256, 100), (128, 196), (64, 388)]  # figure 1 of the paper


def test_the_paper_of_2015_has_as_many_weights_as_its_figure():
    def conv(c_in: int, c_out: int, side: int) -> int:
        return c_in * c_out * side * side + c_out

    down = [(1, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
    up = [(1024, 512), (512, 256), (256, 128), (128, 64)]
    by_hand = sum(conv(a, b, 3) + conv(b, b, 3) for a, b in down)
    by_hand += sum(conv(a, b, 2) + conv(a, b, 3) + conv(b, b, 3) for a, b in up)
    by_hand += conv(64, 2, 1)
    assert by_hand == 31_030_658
    net = on_meta(OriginalUNet, 2, 1, 2)
    assert weights_of(net) == by_hand
    convolutions = [part for part in net.modules() if hasattr(part, "kernel_size")]
    assert sum(not isinstance(part, nn.MaxPool2d) for part in convolutions) == 23  # as it counts


def test_the_paper_of_2016_makes_44_x_44_x_28_voxels_of_132_x_132_x_116():
    net = on_meta(CicekUNet, 3, 3, 3)
    image = torch.zeros(1, 3, 132, 132, 116, device="meta")
    assert net(image).shape == (1, 3, 44, 44, 28)
    assert net.margin == (44, 44, 44)


def test_the_paper_of_2016_has_its_19069955_weights_where_scales_of_normalisation_do_not_count():
    net = on_meta(CicekUNet, 3, 3, 3)
    scales = sum(len(part.weight) for part in net.modules() if isinstance(part, nn.BatchNorm3d))
    assert weights_of(net) - scales == 19_069_955
    first, second = (part for part in net.encoder[0] if isinstance(part, nn.Conv3d))
    assert first.weight.shape[:2] == (32, 3)
    assert second.weight.shape[:2] == (64, 32)


@settings(max_examples=30)
@given(
    make=st.sampled_from(MAKERS),
    stages=st.integers(2, 4),
    times=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_any_size_that_is_taken_loses_the_margin_on_each_side(make, stages, times):
    net = on_meta(make, 2, 1, 2, features=(2,) * stages)
    pairs = zip(net.sizes.least, net.divisor, times, strict=True)
    size = tuple(least + step * more for least, step, more in pairs)
    logits = net(torch.zeros(1, 1, *size, device="meta"))
    answer = tuple(n - 2 * margin_of(stages) for n in size)
    assert tuple(logits.shape[2:]) == answer == net.sizes.output_of(size)
    assert net.input_size_for(answer) == size


def walks(side: int, stages: int) -> bool:
    """Whether a side gets through: convolutions take 4, halves are whole, and something is left."""
    sides = [side - 4]
    for _ in range(stages - 1):
        if sides[-1] < 2 or sides[-1] % 2:
            return False
        sides.append(sides[-1] // 2 - 4)
    deepest = sides[-1]
    for _ in range(stages - 1):
        if deepest < 1:
            return False
        deepest = 2 * deepest - 4
    return deepest >= 1


@pytest.mark.parametrize("stages", [2, 3, 4, 5])
def test_the_sizes_taken_are_those_that_get_through(stages):
    net = on_meta(OriginalUNet, 2, 1, 2, features=(1,) * stages)
    for side in range(1, 400):
        assert (net.sizes.at_least((side, side)) == (side, side)) == walks(side, stages)


@given(
    output=st.integers(1, 99),
    least=st.integers(1, 50),
    step=st.sampled_from([1, 2, 8]),
    margin=st.integers(0, 20),
)
def test_an_input_covers_the_output_asked_for_and_a_step_less_would_not(
    output, least, step, margin
):
    sizes = Sizes((least,), (step,), (margin,))
    (side,) = sizes.input_for((output,))
    assert sizes.output_of((side,)) >= (output,)
    assert (side - least) % step == 0
    assert side == least or side - step - 2 * margin < output


def test_a_size_that_is_not_taken_is_refused_with_the_size_to_pad_to():
    net = small()
    with pytest.raises(ShapeError, match=r"sizes taken are \(44, 44\) and multiples of \(4, 4\)"):
        net(torch.zeros(1, 1, 47, 48))
    with pytest.raises(ShapeError, match=r"Pad it to \(48, 44\), .* logits of \(8, 4\)"):
        net(torch.zeros(1, 1, 47, 10))
    assert net(torch.zeros(1, 1, 48, 44)).shape[2:] == (8, 4)


@pytest.mark.parametrize(
    ("make", "features", "advice"),
    [
        (OriginalUNet, (), "two stages or more"),
        (OriginalUNet, (8,), "two stages or more"),
        (OriginalUNet, (8, 0), "1 channels or more"),
        (CicekUNet, (1, 2), "2 channels or more"),
    ],
)
def test_features_that_make_no_network_are_refused(make, features, advice):
    with pytest.raises(ShapeError, match=advice):
        make(2, 1, 2, features=features)


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
def test_two_stages_compute_what_the_figure_shows(dims):
    net = small(dims=dims, stages=2)
    conv, pool = (F.conv2d, F.max_pool2d) if dims == 2 else (F.conv3d, F.max_pool3d)
    rise = F.conv_transpose2d if dims == 2 else F.conv_transpose3d
    pairs = iter(list(net.parameters()))

    def step(x, how=conv, **stride):
        return how(x, next(pairs), next(pairs), **stride)

    image = torch.randn(1, 1, *(24,) * dims)
    skip = step(step(image).relu()).relu()
    below = step(step(pool(skip, 2)).relu()).relu()
    up = step(below, rise, stride=2)
    middle = skip[(..., *(slice(4, -4),) * dims)]
    joined = torch.cat((middle, up), dim=1)
    expected = step(step(step(joined).relu()).relu())
    torch.testing.assert_close(net(image), expected)


@torch.inference_mode()
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("make", MAKERS)
def test_tiles_give_what_the_whole_image_gives(make, dims):
    net = small(make, dims, stages=2)
    side, step = 8, net.divisor[0]
    image = torch.randn(1, 1, *(36,) * dims)
    whole = net(image)
    tile = net.input_size_for((side,) * dims)
    joined = torch.full_like(whole, torch.nan)
    starts = [*range(0, whole.shape[-1] - side, 3 * step), whole.shape[-1] - side]
    for corner in product(starts, repeat=dims):
        seen = image[(..., *(slice(a, a + n) for a, n in zip(corner, tile, strict=True)))]
        joined[(..., *(slice(a, a + side) for a in corner))] = net(seen)
    torch.testing.assert_close(joined, whole, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("make", MAKERS)
def test_an_image_moved_by_the_divisor_moves_the_logits(make):
    net = small(make)
    step, image = net.divisor[0], torch.randn(1, 1, 56, 60)
    here, there = net(image[..., :-step]), net(image[..., step:])
    torch.testing.assert_close(here[..., step:], there[..., :-step], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("make", MAKERS)
def test_padding_keeps_the_size_and_changes_only_the_rim(make):
    bare, padded = small(make), small(make, padded=True)
    padded.load_state_dict(bare.state_dict())
    assert padded.margin == (0, 0)
    assert padded.input_size_for((62, 64)) == (64, 64)
    image = torch.randn(1, 1, 64, 64)
    whole = padded(image)
    assert whole.shape[2:] == image.shape[2:]
    start = 2  # at which both halve the same pairs of voxels: 2 are lost before each halving
    inner = bare(image[..., start : start + 60, start : start + 60])
    first, last = start + bare.margin[0], start + 60 - bare.margin[0]
    torch.testing.assert_close(whole[..., first:last, first:last], inner, rtol=1e-5, atol=1e-5)
    with pytest.raises(ShapeError, match=r"Pad it to \(64, 64\)"):
        padded(image[..., :63])


@pytest.mark.parametrize("make", MAKERS)
def test_first_weights_vary_by_the_root_of_two_over_what_comes_in(make):
    net = make(2, 1, 2, features=(32, 64, 128))
    checked = 0
    for part in net.modules():
        if not isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)) or part.weight.numel() < 5000:
            continue
        up = isinstance(part, nn.ConvTranspose2d)
        incoming = part.in_channels * (1 if up else 9)
        assert part.weight.std().item() == pytest.approx((2 / incoming) ** 0.5, rel=0.05)
        checked += 1
    assert checked >= 9
    biases = [weight for name, weight in net.named_parameters() if name.endswith("bias")]
    assert not any(bias.any() for bias in biases)


def test_the_two_coarsest_stages_lose_half_their_numbers_while_training_and_none_after():
    net = OriginalUNet(2, 1, 2, features=(4, 6, 8))
    lost = [[part.p for part in stage if isinstance(part, nn.Dropout)] for stage in net.encoder]
    assert lost == [[], [0.5], [0.5]]
    image = torch.randn(1, 1, 48, 48)
    assert not torch.equal(net(image), net(image))
    assert torch.equal(net.eval()(image), net(image))
    still = OriginalUNet(2, 1, 2, features=(4, 6, 8), dropout=0)
    assert torch.equal(still(image), still(image))
