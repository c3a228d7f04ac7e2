"""A network that learns overlapping regions, from training to a model's masks."""

from dataclasses import replace

import numpy as np
import torch

from tests.training.tiny import PLAN, ball, job
from volunet.data.cache import Prepared
from volunet.packaging.model_file import Training, load_model, save_model
from volunet.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from volunet.space.grid import Grid
from volunet.space.labels import Labels
from volunet.space.volume import Volume
from volunet.training.fit import fit

LABELS = Labels(structures={"rim": 3, "middle": 7}, regions={"ball": (3, 7), "inside": (7,)})
PLAN_OF_REGIONS = PLAN.model_copy(update={"labels": LABELS, "regions": True})


def with_a_middle(case: Prepared) -> Prepared:
    """The case with a brighter middle, half as wide as the ball."""
    centre = np.argwhere(case.label).mean(axis=0)[:, None, None, None]
    inside = np.square(np.indices(case.label.shape) - centre).sum(axis=0) < 9
    image = case.image.copy()
    image[0][inside] += 1
    label = np.where(inside, 2, case.label).astype(np.uint8)
    samples = {c: np.argwhere(label == c).astype(np.int32) for c in (1, 2)}
    return replace(case, image=image, label=label, foreground=samples)


def test_regions_are_learnt_and_masks_are_written_from_them(tmp_path):
    cases = [with_a_middle(ball(n)) for n in range(6)]
    made = replace(
        job(tmp_path, steps=120), plan=PLAN_OF_REGIONS, train=cases[:4], validation=cases[4:]
    )
    done = fit(made)
    assert done.weights["head.weight"].shape[0] == 2
    assert set(done.score.each) == {"ball", "inside"}
    assert min(done.score.each.values()) > 0.6
    seen = tuple(float(q) for q in np.linspace(-1, 3, 19))
    facts = CaseFacts(
        shape=(20, 20, 20),
        spacing=(1, 1, 1),
        channels=(ChannelFacts(image=seen, foreground=seen, count=9, mean=1, sd=0.5),),
        volumes_ml={"rim": 0.4, "middle": 0.1},
    )
    save_model(
        tmp_path / "model",
        done.weights,
        name="balls",
        plan=PLAN_OF_REGIONS,
        fingerprint=Fingerprint(cases={"a": facts}),
        training=Training(cases=4, steps=120, validation_dice={}),
    )
    segment = load_model(tmp_path / "model", device=torch.device("cpu"))
    found = segment(Volume(cases[5].image, Grid((20, 20, 20), np.eye(4)))).labels.voxels[0]
    truth = LABELS.to_values(cases[5].label)
    assert set(np.unique(found)) == {0, 3, 7}
    for value in (3, 7):
        both = (found == value) & (truth == value)
        assert 2 * both.sum() / ((found == value).sum() + (truth == value).sum()) > 0.5
