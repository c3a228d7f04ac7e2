"""Checkpoints of MONAI's networks become models that say what MONAI's networks say."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.cli.command import volunet
from volunet.api.foreign import import_monai
from volunet.errors import ConfigError, ModelError
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.io.write import write
from volunet.packaging.model_file import load_model, read_model_file
from volunet.recipe import Recipe
from volunet.space.grid import Grid
from volunet.space.volume import Volume

RECIPE = """
name = "spleen"
channels = ["CT"]

[labels.structures]
spleen = 1

[plan]
family = "segresnet"
spacing = [1.5, 1.5, 2.0]
patch = [16, 16, 16]
# ScaleIntensityRanged(a_min=-57, a_max=164, b_min=0, b_max=1, clip=True)
intensities = [{ scheme = "set", low = -57.0, high = 164.0, mean = -57.0, sd = 221.0 }]

[plan.options]
init_filters = 8
blocks_down = [1, 1]
blocks_up = [1]
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "spleen.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def network():
    from monai.networks.nets import SegResNet

    torch.manual_seed(0)
    ends = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
    return SegResNet(**ends, init_filters=8, blocks_down=(1, 1), blocks_up=(1,)).eval()


def exact(folder):
    """The model, in float32 on any processor."""
    cpu = torch.device("cpu")
    return load_model(
        folder, device=cpu, make_engine=lambda network: TorchEngine(network.module, device=cpu)
    )


def scan():
    voxels = np.random.default_rng(0).uniform(-200, 300, (1, 16, 16, 16)).astype(np.float32)
    return Volume(voxels, Grid((16, 16, 16), np.diag([1.5, 1.5, 2.0, 1.0])))


@pytest.mark.parametrize("kind", ["bare", "training", "parallel", "safetensors"])
def test_a_model_says_what_monais_network_says(tmp_path, recipe, network, kind):
    weights = network.state_dict()
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        save_file(weights, path)
    else:
        named = {f"module.{n}": w for n, w in weights.items()} if kind == "parallel" else weights
        beside = {"state_dict": named, "epoch": 3, "optimizer": {"lr": 0.1}}
        torch.save(beside if kind == "training" else named, path)
    made = import_monai(path, Recipe.read(recipe), tmp_path / "model")
    assert read_model_file(made.parent).name == "spleen"
    seen = scan()
    image = np.clip(seen.voxels, -57, 164)
    with torch.no_grad():
        logits = network(torch.from_numpy((image + 57) / 221)[None])
    found = exact(made.parent).everywhere()(seen).labels
    expected = logits[0].argmax(0).numpy()
    assert 0 < expected.mean() < 1
    assert (found.voxels[0] == expected).mean() > 0.999


def test_a_recipe_that_leaves_something_open_is_told_what(tmp_path, recipe, network):
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    full = RECIPE
    for line, missing in (
        ('family = "segresnet"\n', "plan.family is missing"),
        ("spacing = [1.5, 1.5, 2.0]\n", "plan.spacing is missing"),
        ('channels = ["CT"]\n', r"channels \(a list of names\)"),
    ):
        recipe.write_text(full.replace(line, ""))
        with pytest.raises(ConfigError, match=missing):
            import_monai(path, Recipe.read(recipe), tmp_path / "model")
    recipe.write_text(full.replace("segresnet", "dynunet").split("[plan.options]")[0])
    with pytest.raises(ConfigError, match=r"plan\.features, plan\.strides are missing"):
        import_monai(path, Recipe.read(recipe), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_of_another_network_are_refused_by_name(tmp_path, recipe, network):
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    changed = Recipe.read(recipe, changes=["plan.options.init_filters=16"])
    with pytest.raises(ModelError, match=r"convInit\.conv\.weight is \(8, .*planned \(16, "):
        import_monai(path, changed, tmp_path / "model")
    torch.save({"other": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match=r"is missing; .* more\. Give plan\.family"):
        import_monai(path, Recipe.read(recipe), tmp_path / "model")
    torch.save(network, path)
    with pytest.raises(ModelError, match="can be read safely"):
        import_monai(path, Recipe.read(recipe), tmp_path / "model")


def test_weights_that_are_no_numbers_are_refused(tmp_path, recipe, network):
    weights = network.state_dict()
    next(iter(weights.values())).fill_(float("nan"))
    torch.save(weights, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="not finite"):
        import_monai(tmp_path / "model.pt", Recipe.read(recipe), tmp_path / "model")


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path, recipe):
    held = {}
    held["model"] = held
    torch.save(held, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="holds no tensors"):
        import_monai(tmp_path / "model.pt", Recipe.read(recipe), tmp_path / "model")


def test_a_network_for_slices_is_packed(tmp_path, recipe):
    from monai.networks.nets import SegResNet

    ends = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    network = SegResNet(**ends, init_filters=8, blocks_down=(1, 1), blocks_up=(1,)).eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    changes = ["plan.dimensions=2", "plan.patch=[16,16,1]"]
    made = import_monai(
        tmp_path / "model.pt", Recipe.read(recipe, changes=changes), tmp_path / "model"
    )
    seen = scan()
    found = exact(made.parent).everywhere()(seen).labels
    image = torch.from_numpy((np.clip(seen.voxels, -57, 164) + 57) / 221)
    with torch.no_grad():
        slices = [network(image[None, ..., k])[0].argmax(0).numpy() for k in range(16)]
    assert (found.voxels[0] == np.stack(slices, -1)).mean() > 0.999


@pytest.mark.slow
def test_the_command_packs_a_checkpoint_and_predict_runs_it(tmp_path, recipe, network):
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    done = volunet("import-monai", path, "-r", recipe, "-o", tmp_path / "model", home=tmp_path)
    assert done.returncode == 0, done.stderr
    write(scan(), tmp_path / "scan.nii.gz")
    paths = ("-i", tmp_path / "scan.nii.gz", "-m", tmp_path / "model", "-o", tmp_path / "out")
    done = volunet("predict", *paths, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "scan.nii.gz").is_file()


@pytest.mark.parametrize("supervised", [False, True])
def test_a_flat_dynunet_is_packed_without_its_heads_of_supervision(tmp_path, recipe, supervised):
    from monai.networks.nets import DynUNet

    torch.manual_seed(0)
    network = DynUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        kernel_size=[3, 3, 3],
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        filters=[4, 8, 8],
        act_name=("leakyrelu", {"negative_slope": 0.3}),
        deep_supervision=supervised,
    ).eval()
    torch.save({"net": network.state_dict()}, tmp_path / "model.pt")
    text = RECIPE.replace("segresnet", "dynunet").split("[plan.options]")[0]
    text += "dimensions = 2\nfeatures = [4, 8, 8]\nstrides = [[2, 2, 1], [2, 2, 1]]\n"
    text += '[plan.options]\nact_name = ["leakyrelu", { negative_slope = 0.3 }]\n'
    recipe.write_text(text.replace("patch = [16, 16, 16]", "patch = [16, 16, 1]"))
    made = import_monai(tmp_path / "model.pt", Recipe.read(recipe), tmp_path / "model")
    seen = scan()
    image = torch.from_numpy((np.clip(seen.voxels, -57, 164) + 57) / 221)
    with torch.no_grad():
        slices = [network(image[None, ..., k])[0].argmax(0).numpy() for k in range(16)]
    found = exact(made.parent).everywhere()(seen).labels
    assert (found.voxels[0] == np.stack(slices, -1)).mean() > 0.999


def test_groups_of_a_norm_change_what_is_said():
    from tests.models.test_families import spec_for
    from volunet.models.families import build_network

    options = {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)}
    image, said = torch.randn(1, 2, 8, 8, 8), []
    for groups in (2, 8):
        spec = spec_for("segresnet", options={**options, "norm": ("GROUP", {"num_groups": groups})})
        torch.manual_seed(0)
        with torch.no_grad():
            said.append(build_network(spec).eval()(image))
    assert not torch.allclose(*said)
