"""Weights are found under their published names, and the report tells of every tensor once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from tests.models.encoders import drawn
from volunet.errors import ModelError
from volunet.models.encoder_unet import EncoderUNet
from volunet.models.encoders.catalogue import make_encoder
from volunet.models.encoders.encoder import Encoder, stage
from volunet.models.inflation import turn_kernel
from volunet.models.weight_files import read_weights
from volunet.models.weight_names import published_name
from volunet.models.weights import load_pretrained

FC = {"fc.weight": torch.rand(10, 8), "fc.bias": torch.rand(10)}
GROUPED = {"inner": (128, 256, 512, 1024), "groups": 32}


def kept(tmp_path, weights, name="weights.pth"):
    torch.save(weights, tmp_path / name)
    return tmp_path / name


def tiny(dims=2, channels=3):
    """An encoder of two stages that is called like a ResNet."""
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    layer = nn.Sequential(stage(conv1=conv(2, 4, 3, 2, 1), bn1=norm(4)))
    stages = [stage(conv1=conv(channels, 2, 3, 2, 1, bias=False), bn1=norm(2)), stage(layer1=layer)]
    return Encoder("tiny", stages, spatial_dims=dims, in_channels=channels, channels=(2, 4))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("resnet18", {"depths": (2, 2, 2, 2), "wide": 1}),
        ("resnet50", {"depths": (3, 4, 6, 3)}),
        ("resnext50", {"depths": (3, 4, 6, 3), **GROUPED}),
    ],
)
def test_residual_networks_of_torchvision_are_taken_whole(name, layout, tmp_path):
    weights = drawn.draw(drawn.residual_layout(**layout))
    net = make_encoder(name, 2, 3)
    report = load_pretrained(net, kept(tmp_path, weights | FC))
    assert report.left_out == ("fc.weight", "fc.bias")
    assert (report.missing, report.inflated, report.adapted) == ((), (), ())
    for taken in report.loaded:
        ours = net.state_dict()[taken.name]
        assert ours.equal(weights[taken.source].to(ours.dtype))
    assert {taken.source for taken in report.loaded} == set(weights)


@pytest.mark.parametrize("layout", [drawn.torchvision_densenet, drawn.first_densenet])
def test_densenets_of_torchvision_see_what_monais_sees(layout, tmp_path):
    net, image = make_encoder("densenet121", 2, 3).eval(), torch.randn(1, 3, 64, 32)
    report = load_pretrained(net, kept(tmp_path, layout()))
    assert report.left_out == ("classifier.weight", "classifier.bias")
    assert report.missing == ()
    with torch.no_grad():
        theirs = drawn.oracle("densenet121").features(image).relu()
        torch.testing.assert_close(net(image)[-1], theirs, rtol=1e-5, atol=1e-5)


def test_efficientnet_pytorch_sees_what_monais_sees(tmp_path):
    theirs = drawn.oracle("efficientnet-b0")
    net, image = make_encoder("efficientnet-b0", 2, 3).eval(), torch.randn(1, 3, 64, 32)
    report = load_pretrained(net, kept(tmp_path, drawn.efficientnet_pytorch()))
    assert {name.split(".")[0] for name in report.left_out} == {"_conv_head", "_bn1", "_fc"}
    assert report.missing == ()
    with torch.no_grad():
        head = theirs._swish(theirs._bn1(theirs._conv_head(net(image)[-1])))
        logits = theirs._fc(head.mean(dim=(2, 3)))
        torch.testing.assert_close(logits, theirs(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["densenet121", "efficientnet-b0"])
def test_monais_own_names_are_known_too(name, tmp_path):
    report = load_pretrained(
        make_encoder(name, 2, 3), kept(tmp_path, drawn.oracle(name).state_dict())
    )
    assert report.missing == ()


@pytest.mark.parametrize("dims", [2, 3])
def test_the_biases_of_monais_resnets_go_into_the_norms_behind_them(dims, tmp_path):
    from monai.networks.nets.resnet import resnet50

    torch.manual_seed(0)
    theirs = resnet50(spatial_dims=dims, n_input_channels=1, conv1_t_stride=2).eval()
    with torch.no_grad():
        for number in theirs.state_dict().values():
            if number.is_floating_point() and number.ndim == 1:
                number.copy_(torch.rand_like(number) + 0.5)
    ours, image = make_encoder("resnet50", dims, 1).eval(), torch.randn(1, 1, *(32,) * dims)
    report = load_pretrained(ours, kept(tmp_path, theirs.state_dict()))
    assert report.missing == ()
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert [t.source for t in report.adapted] == [
        f"layer{n}.0.downsample.0.bias" for n in range(1, 5)
    ]
    with torch.no_grad():
        x = theirs.maxpool(theirs.act(theirs.bn1(theirs.conv1(image))))
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            x = layer(x)
        torch.testing.assert_close(ours(image)[-1], x, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("zipped", [True, False])
def test_medicalnet_is_read_with_its_prefix_its_head_and_the_rest_of_its_checkpoint(
    zipped, tmp_path
):
    layout = drawn.residual_layout((1, 1, 1, 1), wide=1, dims=3, channels=1)
    head = {"module.conv_seg.0.weight": torch.rand(512, 32, 2, 2, 2)}
    weights = drawn.draw(layout, "module.") | head
    file = tmp_path / "resnet_10_23dataset.pth"
    held = {"epoch": 9, "optimizer": {"state": {}}, "state_dict": weights}
    torch.save(held, file, _use_new_zipfile_serialization=zipped)
    report = load_pretrained(make_encoder("resnet10", 3, 1), file)
    assert len(report.loaded) == len(layout)
    assert report.left_out == (*head, "epoch", "optimizer")
    assert report.missing == ()


def test_medicalnets_shortcuts_without_weights_have_encoders_of_their_own(tmp_path):
    layout = drawn.residual_layout((2, 2, 2, 2), wide=1, dims=3, channels=1, padded=True)
    file = kept(tmp_path, drawn.draw(layout, "module."))
    assert load_pretrained(make_encoder("resnet18-padded", 3, 1), file).missing == ()
    with pytest.raises(ModelError, match=r'would stay random\. Take "resnet18-padded"'):
        load_pretrained(make_encoder("resnet18", 3, 1), file)
    both = drawn.draw(drawn.residual_layout((2, 2, 2, 2), wide=1))
    with pytest.raises(ModelError, match=r"lacks: layer2\.0\.downsample.0.weight.*other shortcuts"):
        load_pretrained(make_encoder("resnet18-padded", 2, 3), kept(tmp_path, both))


def test_the_encoder_of_a_trained_unet_is_found_in_it(tmp_path):
    trained = EncoderUNet(2, 3, 2, encoder="resnet10")
    net = EncoderUNet(3, 1, 5, encoder="resnet10")
    report = load_pretrained(net.encoder, kept(tmp_path, trained.state_dict()))
    assert report.missing == ()
    assert {name.split(".")[0] for name in report.left_out} == {"decoder", "head"}
    assert len(report.adapted) == 1
    assert report.inflated


@given(
    dropped=st.sets(st.sampled_from(sorted(tiny().state_dict())), max_size=4),
    extra=st.sets(st.sampled_from(["fc.weight", "head.0.bias", "projector.1.weight"])),
    prefix=st.sampled_from(["", "module.", "encoder.", "module.encoder."]),
    dims=st.sampled_from([2, 3]),
    channels=st.integers(1, 4),
)
def test_the_report_tells_of_every_tensor_once(
    tmp_path_factory, dropped, extra, prefix, dims, channels
):
    given = {f"{prefix}{k}": w for k, w in tiny().state_dict().items() if k not in dropped}
    given |= {f"{prefix}{name}": torch.rand(2) for name in extra}
    net = tiny(dims, channels)
    before = {name: w.clone() for name, w in net.state_dict().items()}
    file = kept(tmp_path_factory.mktemp("drawn"), given)
    fitting = sum(w.numel() for name, w in before.items() if name not in dropped)
    if fitting < 0.8 * sum(w.numel() for w in before.values()):
        with pytest.raises(ModelError, match="of its weights, where 80% are needed"):
            load_pretrained(net, file)
        assert all(w.equal(before[name]) for name, w in net.state_dict().items())
        return
    report = load_pretrained(net, file)
    taken = [*report.loaded, *report.inflated, *report.adapted]
    assert sorted([t.name for t in taken] + list(report.missing)) == sorted(before)
    assert sorted([t.source for t in taken] + list(report.left_out)) == sorted(given)
    assert all(net.state_dict()[name].equal(before[name]) for name in report.missing)
    assert [t.name for t in report.adapted] == ["0.conv1.weight"] * (
        channels != 3 and "0.conv1.weight" not in dropped
    )
    assert all(len(t.shape) == 5 and len(t.given) == 4 for t in report.inflated)
    assert all(t.shape == t.given for t in report.loaded)


def test_what_stays_as_it_is_loaded_is_loaded_whole(tmp_path):
    weights = tiny().state_dict()
    uncounted = {k: w for k, w in weights.items() if not k.endswith("num_batches_tracked")}
    assert load_pretrained(tiny(), kept(tmp_path, uncounted), whole=True).missing
    del uncounted["1.layer1.0.bn1.running_var"]
    file = kept(tmp_path, uncounted)
    with pytest.raises(ModelError, match=r"has no 1\.layer1\.0\.bn1\.running_var, and a frozen"):
        load_pretrained(tiny(), file, whole=True)
    assert load_pretrained(tiny(), file).missing


@pytest.mark.parametrize("dims", [2, 3])
def test_kernels_learnt_on_pictures_are_turned_but_for_those_of_volunets_own(dims, tmp_path):
    own = tiny().state_dict()
    theirs = {published_name(name): w for name, w in own.items()}
    for weights, turned in (
        (own, 0),
        ({f"encoder.{k}": w for k, w in own.items()}, 0),
        (theirs, 2),
    ):
        net = tiny(dims)
        report = load_pretrained(net, kept(tmp_path, weights), learnt_on="pictures")
        kernel = net.state_dict()["0.conv1.weight"]
        kernel = kernel if dims == 2 else kernel[..., 1]
        expected = turn_kernel(own["0.conv1.weight"]) if turned else own["0.conv1.weight"]
        assert kernel.equal(expected)
        assert report.turned == turned
        assert f"rows and columns to the axes of scans: {turned}" in str(report)


def test_a_deeper_network_is_refused(tmp_path):
    weights = drawn.draw(drawn.residual_layout((2, 2, 2, 2), wide=1))
    with pytest.raises(ModelError, match=r"lacks: layer1\.1\..* and 40 more.*deeper network"):
        load_pretrained(make_encoder("resnet10", 2, 3), kept(tmp_path, weights))


def test_a_shallower_network_is_refused(tmp_path):
    weights = drawn.draw(drawn.residual_layout((1, 1, 1, 1), wide=1))
    with pytest.raises(ModelError, match="it has 44% of its weights, where 80% are needed"):
        load_pretrained(make_encoder("resnet18", 2, 3), kept(tmp_path, weights))


def test_another_family_is_refused_with_names_of_both(tmp_path):
    file = kept(tmp_path, drawn.efficientnet_pytorch())
    with pytest.raises(ModelError, match=r"0% of its weights.*_conv_stem.*looks for such as conv0"):
        load_pretrained(make_encoder("densenet121", 2, 3), file)


def test_three_dimensions_do_not_go_back_to_two(tmp_path):
    file = kept(tmp_path, tiny(3).state_dict())
    with pytest.raises(
        ModelError, match=r"tiny in 2 dimensions: 0\.conv1\.weight is .*and not back"
    ):
        load_pretrained(tiny(2), file)


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"0.conv1.weight": torch.full((2, 3, 3, 3), torch.nan)}, "0.conv1.weight holds numbers"),
        ({"module.conv1.weight": torch.zeros(2, 3, 3, 3)}, "conv1.weight are the same weight"),
        ({"1.layer1.0.conv1.weight": torch.zeros(4, 1, 3, 3)}, r"is \(4, 1, 3, 3\), 1.layer1"),
        ({"0.bn1.weight": torch.zeros(3)}, r"0.bn1.weight is \(3,\), 0.bn1.weight \(2,\)"),
    ],
)
def test_weights_that_cannot_be_right_are_refused_and_nothing_is_loaded(change, advice, tmp_path):
    net = tiny()
    before = {name: w.clone() for name, w in net.state_dict().items()}
    with pytest.raises(ModelError, match=advice):
        load_pretrained(net, kept(tmp_path, {**tiny().state_dict(), **change}))
    assert all(w.equal(before[name]) for name, w in net.state_dict().items())


def test_old_checkpoints_lack_counters_and_that_is_told(tmp_path):
    weights = {k: w for k, w in tiny().state_dict().items() if not k.endswith("_tracked")}
    report = load_pretrained(tiny(), kept(tmp_path, weights))
    assert report.missing == ("0.bn1.num_batches_tracked", "1.layer1.0.bn1.num_batches_tracked")


def test_half_precision_and_safetensors_are_read(tmp_path):
    weights = {name: w.half() for name, w in tiny().state_dict().items()}
    save_file(weights, tmp_path / "half.safetensors")
    net = tiny()
    report = load_pretrained(net, tmp_path / "half.safetensors")
    assert len(report.loaded) == len(weights)
    assert net[0].conv1.weight.dtype == torch.float32


def test_the_hash_is_checked_and_told(tmp_path):
    file = kept(tmp_path, tiny().state_dict())
    report = load_pretrained(tiny(), file)
    assert load_pretrained(tiny(), file, sha256=report.sha256.upper()) == report
    with pytest.raises(ModelError, match="damaged or another file"):
        load_pretrained(tiny(), file, sha256="0" * 64)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (tiny(), "holds more than tensors"),
        ([torch.zeros(2)], "holds a list"),
        ({"epoch": 3}, "no tensors by name, but epoch"),
        ({}, "no tensors by name, but none"),
    ],
)
def test_files_that_are_no_weights_are_refused(content, advice, tmp_path):
    with pytest.raises(ModelError, match=advice):
        load_pretrained(tiny(), kept(tmp_path, content))


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_damaged_files_are_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80\x02 not weights")
    with pytest.raises(ModelError, match="read safely"):
        load_pretrained(tiny(), tmp_path / name)


def test_a_flipped_byte_is_refused(tmp_path):
    """Torch does not look at the checksums of its archives."""
    file = kept(tmp_path, {"0.conv1.weight": torch.ones(2, 3, 3, 3)})
    file.write_bytes(file.read_bytes().replace(torch.ones(2).numpy().tobytes(), b"\1" * 8, 1))
    with pytest.raises(ModelError, match=r"weights.pth is damaged: the checksum of .*/data/0 "):
        read_weights(file)


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        file = kept(tmp_path, tiny().state_dict())
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_weights(file).tensors.keys() == tiny().state_dict().keys()


def test_addresses_and_missing_files_are_refused(tmp_path):
    with pytest.raises(ModelError, match="nothing is fetched unasked"):
        load_pretrained(tiny(), "https://example.org/resnet18.pth")
    with pytest.raises(ModelError, match=r"cannot be read: No such file"):
        load_pretrained(tiny(), tmp_path / "absent.pth")


@pytest.mark.parametrize("wrong", [{"inflate": "mean"}, {"depth_axis": 3}])
def test_other_ways_to_inflate_are_refused(wrong, tmp_path):
    with pytest.raises(ModelError, match="'centre' or 'average' along axis 0, 1 or 2"):
        load_pretrained(tiny(), kept(tmp_path, tiny().state_dict()), **wrong)
