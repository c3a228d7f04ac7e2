"""A network without padding, window by window, says what it says of the whole mirrored image."""

from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import volunet as vn
from tests.planning.drawing import fingerprint_of, plan_for
from tests.training.tiny import PLAN, job
from volunet.inference.cover import Frame, classify, cover
from volunet.inference.effort import Effort
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.segmenter import Segmenter
from volunet.models.original import CicekUNet, OriginalUNet
from volunet.space.grid import Grid
from volunet.space.volume import Volume
from volunet.training.fit import fit

SCANS = Path(__file__).parents[2] / "sample_data" / "ct" / "images"
SHARED = Path(__file__).parents[3] / "shared" / "data"
REAL = (SHARED / "hippocampus" / "images", SHARED / "sarcoma_pet" / "images")
EFFORT = Effort(overlap=0.0)


def logits_of(network, image, patch):
    """Logits of an image (C, I, J, K), window by window."""
    slabs = cover(
        [TorchEngine(network, device="cpu")], image, patch, EFFORT, unpadded=network.sizes
    )
    out = np.zeros((network.head.out_channels, *image.shape[1:]), np.float32)
    for box, rows in slabs:
        out[:, *box.index] = rows
    return out


def whole(network, image, patch):
    """The same of the whole image at once, mirrored by the margin and up to a size it takes."""
    frame = Frame.around(image.shape[1:], patch, 0.0, step=network.sizes.step)
    sides = [
        (low + around, padded - low - n + around)
        for low, padded, n, around in zip(
            frame.low, frame.tiling.shape, image.shape[1:], network.margin, strict=True
        )
    ]
    wide = np.pad(image, [(0, 0), *sides], mode="reflect")
    with torch.no_grad():
        seen = network.eval()(torch.from_numpy(wide[None]))[0].numpy()
    inside = tuple(slice(low, low + n) for low, n in zip(frame.low, image.shape[1:], strict=True))
    return seen[:, *inside]


@given(
    shape=st.tuples(*[st.integers(3, 30)] * 3),
    more=st.tuples(*[st.integers(0, 2)] * 3),
    kind=st.sampled_from([OriginalUNet, CicekUNet]),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_windows_say_what_the_whole_mirrored_image_says(shape, more, kind, seed):
    torch.manual_seed(seed)
    network = kind(3, 2, 3, features=(2, 4)).eval()
    sizes = network.sizes
    least = sizes.output_of(sizes.input_for(sizes.step))
    patch = tuple(n + m * by for n, m, by in zip(least, more, sizes.step, strict=True))
    image = np.random.default_rng(seed).standard_normal((2, *shape), dtype=np.float32)
    np.testing.assert_allclose(
        logits_of(network, image, patch), whole(network, image, patch), atol=1e-5
    )


@pytest.mark.parametrize("folder", [SCANS, *REAL], ids=["sample", "hippocampus", "sarcoma"])
def test_a_scan_window_by_window_is_as_the_whole(folder):
    if not folder.is_dir():
        pytest.skip(f"the real scans of {folder.parent.name} are not here")
    scan = vn.read(min(folder.glob("*.nii.gz")))
    image = scan.voxels.astype(np.float32)
    image = (image - image.mean()) / image.std()
    torch.manual_seed(0)
    network = OriginalUNet(3, 1, 2, features=(4, 8, 8)).eval()
    patch = network.sizes.output_of(network.input_size_for((24, 24, 24)))
    assert prod(image.shape[1:]) > 2 * prod(patch)
    seen = logits_of(network, image, patch)  # which lays the weights out, for both
    wanted = whole(network, image, patch)
    np.testing.assert_allclose(seen, wanted, atol=2e-6 * np.abs(wanted).max())


def test_it_learns_and_segments_whole_scans(tmp_path):
    made = job(tmp_path, steps=80)
    values = {"family": "original", "patch": (12, 12, 12), "overlap": 0.0, "features": (8, 16)}
    values["options"] = {"dropout": 0.0}
    plan = type(PLAN).model_validate({**PLAN.model_dump(), **values})
    assert plan.margin == (8, 8, 8)
    trained = fit(type(made)(**{**made.__dict__, "plan": plan}))
    assert trained.score.each["ball"] > 0.7
    network = plan.build_network()
    network.load_state_dict(trained.weights)
    case = made.validation[0]
    engine = TorchEngine(network, device="cpu")
    found = classify([engine], case.image, plan.patch, EFFORT, unpadded=plan.unpadded)
    assert found.shape == case.label.shape
    assert 2 * ((found == 1) & (case.label == 1)).sum() / (
        (found == 1).sum() + (case.label == 1).sum()
    ) == pytest.approx(trained.score.each["ball"], abs=0.2)


def test_a_plan_that_loses_nothing_is_not_unpadded():
    assert plan_for().unpadded is None
    assert plan_for(family="original", options={"padded": True}).unpadded is None


def test_a_named_structure_sees_the_scan_around_its_box():
    torch.manual_seed(1)
    options = {"family": "original", "patch": (12, 12, 12), "overlap": 0.0, "features": (4, 8)}
    scale = {"scheme": "set", "low": -9.0, "high": 9.0, "mean": 0.0, "sd": 1.0}
    plan = type(PLAN).model_validate({**PLAN.model_dump(), **options, "intensities": (scale,)})
    voxels = np.zeros((1, 64, 64, 64), dtype=np.float32)
    noise = np.random.default_rng(0).standard_normal((40, 40, 40), dtype=np.float32)
    voxels[0, 12:52, 12:52, 12:52] = noise
    voxels[0, 28:36, 28:36, 28:36] = 6
    scan = Volume(voxels, Grid((64, 64, 64), np.eye(4)))
    model = Segmenter((TorchEngine(Far(), device="cpu"),), plan, fingerprint_of(), "roi", EFFORT)
    whole, part = model(scan), model.only(["ball"])(scan)
    assert part.how["plan_shape"] < whole.how["plan_shape"]
    inside = whole.labels.voxels[0] == 1
    assert inside.sum() > 50
    np.testing.assert_array_equal(part.labels.voxels[0], inside)
    assert not [f for f in part.findings if "ROI" in f.code]


class Far(torch.nn.Module):
    """A ball where it is bright and what lies a margin away, on either side, sums to less than 1.

    Loses 8 voxels on each side, as the plan's network does.
    """

    def forward(self, seen):
        middle = seen[:, :1, 8:-8, 8:-8, 8:-8]
        around = seen[:, :1, :-16, 8:-8, 8:-8] + seen[:, :1, 16:, 8:-8, 8:-8]
        ball = torch.where(around < 1, middle - 3, -1.0)
        return torch.cat((-ball, ball), dim=1)


def test_a_crop_sees_the_scan_around_it_and_not_its_own_mirror():
    torch.manual_seed(0)
    plan = type(PLAN).model_validate(
        {
            **PLAN.model_dump(),
            **{"family": "original", "patch": (12, 12, 12), "overlap": 0.0, "features": (4, 8)},
            "intensities": ({"scheme": "set", "low": -9.0, "high": 9.0, "mean": 0.0, "sd": 1.0},),
        }
    )
    network = plan.build_network()
    voxels = np.random.default_rng(0).standard_normal((1, 48, 48, 48), dtype=np.float32)
    scan = Volume(voxels, Grid((48, 48, 48), np.eye(4)))
    seen = Segmenter((TorchEngine(network, device="cpu"),), plan, fingerprint_of(), "crop", EFFORT)
    whole = seen(scan).labels.voxels[0]
    mask = np.zeros_like(voxels, dtype=np.uint8)
    mask[0, 16:32, 16:32, 16:32] = 1
    part = seen.only(Volume(mask, scan.grid))(scan).labels.voxels[0]
    inside = (slice(16, 32),) * 3
    assert 0 < whole[inside].mean() < 1
    assert (part[inside] == whole[inside]).mean() > 0.999
    assert part[:8].max() == 0
