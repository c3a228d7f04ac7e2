"""Every family builds what its specification says, and heeds what it says that it heeds."""

import pytest
import torch

from volunet.errors import ConfigError, ShapeError
from volunet.models.families import FAMILIES, build_network, family_of, read_options, sizes_of
from volunet.models.spec import ModelSpec
from volunet.models.unet import UShape

SMALL = {
    "mednext": {"first": 2},
    "encoder": {"encoder": "resnet10", "decoder_features": (2, 2, 4, 4, 4)},
    "segresnet": {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)},
    "flexible_unet": {"decoder_channels": (8, 8, 4, 4, 2)},
    "original": {"padded": True},
    "cicek": {"padded": True},
}
NEEDS = {"swin_unetr": "einops"}
OTHER = {
    "features": ((2, 4, 4), ((2, 2, 2),) * 2, ((3, 3, 3),) * 3),
    "strides": ((4, 8, 8), ((2, 2, 2), (1, 1, 1)), ((3, 3, 3),) * 3),
    "kernels": ((4, 8, 8), ((2, 2, 2), (2, 2, 2)), ((1, 1, 1), (3, 3, 3), (3, 3, 3))),
}


def spec_for(family: str, dims: int = 3, **more) -> ModelSpec:
    """A small network of a family."""
    values = {
        "family": family,
        "spatial_dims": dims,
        "in_channels": 2,
        "out_channels": 3,
        "features": (4, 8, 8),
        "strides": ((2,) * dims, (2,) * dims),
        "kernels": ((3,) * dims,) * 3,
        "options": SMALL.get(family, {}),
    }
    return ModelSpec(**{**values, **more})


def skip_if_missing(family: str) -> None:
    if package := NEEDS.get(family):
        pytest.importorskip(package, reason=f"{family} needs the extra 'zoo'")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_answers_in_the_size_that_it_says(family, dims):
    skip_if_missing(family)
    spec = spec_for(family, dims)
    network, sizes = build_network(spec).eval(), sizes_of(spec)
    stages = family_of(family).stages
    if stages is not None:
        strides = stages(read_options(family, spec.options)).strides
        spec = spec.model_copy(update={"strides": tuple((n,) * dims for n in strides)})
        sizes = sizes_of(spec)
    size = sizes.at_least(2 * n for n in sizes.step)
    with torch.no_grad():
        logits = network(torch.randn(1, 2, *size))
    assert tuple(logits.shape) == (1, 3, *sizes.output_of(size))
    assert isinstance(network, UShape) == family_of(family).u_shape


@pytest.mark.parametrize("family", ["original", "cicek"])
def test_a_network_without_padding_says_what_it_loses(family):
    spec = spec_for(family, options={})
    sizes = sizes_of(spec)
    assert sizes.margin == (20, 20, 20)
    size = sizes.input_for((4, 4, 4))
    with torch.no_grad():
        logits = build_network(spec).eval()(torch.randn(1, 2, *size))
    assert tuple(logits.shape[2:]) == sizes.output_of(size)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "swin_unetr"])
def test_what_a_family_heeds_changes_what_is_built(family):
    def weights(spec: ModelSpec) -> list[tuple[str, tuple[int, ...]]]:
        with torch.device("meta"):
            network = build_network(spec)
        told = [(name, tuple(w.shape)) for name, w in network.state_dict().items()]
        return [*told, *((n, getattr(m, "stride", None)) for n, m in network.named_modules())]

    base, heeds = spec_for(family), family_of(family).heeds
    changed = {
        name: dict(zip(("features", "strides", "kernels"), values, strict=True))
        for name, values in OTHER.items()
    }
    changed |= {name: {name: True} for name in ("residual", "attention")}
    changed["layers"] = {"layers": base.layers.model_copy(update={"normalisation": "none"})}
    for name, update in changed.items():
        other = base.model_copy(update=update)
        if name in update and name not in (*OTHER, *heeds):
            with pytest.raises(ConfigError, match=f"{family} has no setting '{name}'"):
                build_network(other)
        else:
            assert (weights(other) != weights(base)) == (name in heeds), name


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_odd_size_is_answered_with_the_size_to_pad_to(family, dims):
    skip_if_missing(family)
    with pytest.raises(ShapeError, match=r"Pad it to|even size"):
        build_network(spec_for(family, dims)).eval()(torch.zeros(1, 2, *(131,) * dims))


def test_options_that_a_family_does_not_know_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"options of segresnet does not know 'init_filter'"):
        build_network(spec_for("segresnet", options={"init_filter": 8}))
    with pytest.raises(ConfigError, match=r"There is no family 'u-net'\. Those there are: unet"):
        build_network(spec_for("u-net"))
    with pytest.raises(ConfigError, match="options of unet does not know 'depth'"):
        build_network(spec_for("unet", options={"depth": 3}))
