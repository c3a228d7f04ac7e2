"""A user of MONAI drops volunet's parts into a pipeline of their own."""

from functools import reduce
from pathlib import Path

import pytest
import torch
from monai.inferers import SlidingWindowInferer, sliding_window_inference
from monai.transforms import Compose, EnsureTyped, LoadImaged, NormalizeIntensityd, Orientationd

from volunet.findings import Refused
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.inference.stitch import stitch_slabs
from volunet.inference.windows import Tiling, axis_weights, look
from volunet.io.monai_reader import VerifiedNiftiReader
from volunet.models.unet import UNet

SCAN = min((Path(__file__).parents[2] / "sample_data" / "mr" / "images").glob("*.nii.gz"))
PATCH = (16, 16, 16)


def pipeline() -> Compose:
    return Compose(
        [
            LoadImaged(keys=["image"], reader=VerifiedNiftiReader(), ensure_channel_first=True),
            Orientationd(keys=["image"], axcodes="RAS", labels=None),
            NormalizeIntensityd(keys=["image"]),
            EnsureTyped(keys=["image"]),
        ]
    )


def network() -> UNet:
    torch.manual_seed(0)
    return UNet(3, 1, 3, features=(4, 8), strides=(2,)).eval()


@torch.inference_mode()
def test_monais_loader_and_inferer_run_our_reader_and_our_network():
    image = pipeline()({"image": str(SCAN)})["image"]
    logits = SlidingWindowInferer(PATCH, overlap=0.5, mode="gaussian")(image[None], network())
    assert logits.shape == (1, 3, *image.shape[1:])
    assert torch.isfinite(logits).all()


@torch.inference_mode()
def test_our_windows_and_stitching_give_what_monai_gives_where_both_cut_the_same():
    image = pipeline()({"image": str(SCAN)})["image"].as_tensor()
    image = image[:, :32, :24, :24]  # sides at which both cut the same windows
    net = network()
    bell = reduce(lambda grown, side: grown[..., None] * side, map(axis_weights, PATCH))
    monai = sliding_window_inference(image[None], PATCH, 1, net, 0.5, roi_weight_map=bell)[0]
    tiling = Tiling.regular(tuple(image.shape[1:]), PATCH, 0.5)
    tiles = look([TorchEngine(net, device="cpu")], image, tiling.boxes())
    ours = torch.cat([rows.clone() for _, rows in stitch_slabs(tiles, tiling)], dim=1)
    torch.testing.assert_close(ours, torch.as_tensor(monai), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_one_flipped_byte_raises_our_error_and_never_yields_a_tensor(place, tmp_path):
    content = bytearray(SCAN.read_bytes())
    content[int(place * len(content))] ^= 1
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(bytes(content))
    load = LoadImaged(keys=["image"], reader=VerifiedNiftiReader())
    with pytest.raises(Refused, match="IO-"):
        load({"image": str(damaged)})
    with pytest.raises(RuntimeError) as caught:  # how MONAI's Compose passes errors on
        pipeline()({"image": str(damaged)})
    assert isinstance(caught.value.__cause__, Refused)
