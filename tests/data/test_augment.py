"""What is changed is changed for image and label together, exactly where it can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import AdjustContrast
from scipy.ndimage import affine_transform

from volunet.config import build
from volunet.data.augment import Change, apply_change, draw_change, source_size, swap_drawn
from volunet.data.augmentation import Augmentation
from volunet.errors import ConfigError

SIZE = (12, 10, 8)
CUBIC = (1.0, 1.0, 1.0)
STILL = Augmentation(
    turn_share=0, noise_share=0, brightness_share=0, contrast_share=0, gamma_share=0
)
ALL = Augmentation(
    turn_share=1, noise_share=1, brightness_share=1, contrast_share=1, gamma_share=1, mirror=(0,)
)

seeds = st.integers(0, 2**32 - 1)


def change(*matrices: np.ndarray, **values: float) -> Change:
    """A change with these matrices, and one number of each kind for all patches."""
    matrix = np.stack(matrices or [np.eye(3)]).astype(np.float32)
    usual = {"noise_sd": 0.0, "brightness": 1.0, "contrast": 1.0, "gamma": 1.0} | values
    filled = {k: np.full(len(matrix), v, dtype=np.float32) for k, v in usual.items()}
    return Change(matrix=matrix, seed=0, **filled)


def patches(batch: int = 1, size=SIZE, *, channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, channels, *size, generator=generator)
    return image, torch.randint(0, 4, (batch, *size), generator=generator)


def quarter_turn(axis: int) -> np.ndarray:
    """The matrix that looks a quarter turn about an axis."""
    i, j = (a for a in range(3) if a != axis)
    matrix = np.zeros((3, 3))
    matrix[axis, axis], matrix[i, j], matrix[j, i] = 1, -1, 1
    return matrix


def ball(size, spacing, centre_mm, radius_mm) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright ball about a point, measured in mm from the middle, and its label."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(size, spacing, strict=True)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    inside = np.linalg.norm(at - np.array(centre_mm), axis=-1) <= radius_mm
    found = torch.from_numpy(inside)[None]
    return found[:, None].float(), found.long()


def centre_mm(label: torch.Tensor, spacing) -> np.ndarray:
    """The middle of what is labelled, in mm from the middle of the patch."""
    middle = (np.array(label.shape[1:]) - 1) / 2
    return (label[0].nonzero().double().mean(0).numpy() - middle) * spacing


def test_no_change_is_exact_and_gives_copies():
    image, label = patches(3)
    seen, truth = apply_change(change(*[np.eye(3)] * 3), image, label, SIZE)
    assert torch.equal(seen, image)
    assert torch.equal(truth, label)
    assert seen.data_ptr() != image.data_ptr()
    assert truth.data_ptr() != label.data_ptr()


def test_no_change_takes_the_middle_of_a_wider_cut():
    image, label = patches(2, (16, 12, 8))
    seen, truth = apply_change(change(*[np.eye(3)] * 2), image, label, SIZE)
    assert torch.equal(seen, image[:, :, 2:14, 1:11])
    assert torch.equal(truth, label[:, 2:14, 1:11])


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_a_mirror_is_exact(axes):
    image, label = patches(2)
    flipped = np.eye(3) * np.where(np.isin(range(3), axes), -1, 1)
    seen, truth = apply_change(change(np.eye(3), flipped), image, label, SIZE)
    assert torch.equal(seen[0], image[0])
    assert torch.equal(seen[1], image[1].flip([a + 1 for a in axes]))
    assert torch.equal(truth[1], label[1].flip(axes))


@given(seeds, st.tuples(*[st.floats(0.3, 5)] * 3))
def test_a_drawn_mirror_is_as_exact_at_any_spacing(seed, spacing):
    drawn = draw_change(
        STILL.model_copy(update={"mirror": (0, 1, 2)}), 4, spacing, np.random.default_rng(seed)
    )
    image, label = patches(4, (4, 5, 6))
    seen, _ = apply_change(drawn, image, label, (4, 5, 6))
    for place, matrix in enumerate(drawn.matrix):
        back = [axis + 1 for axis in range(3) if matrix[axis, axis] < 0]
        assert torch.equal(seen[place], image[place].flip(back))


def test_left_and_right_swap_where_the_first_axis_is_mirrored_only():
    image, label = patches(3)
    mirrors = np.eye(3), np.diag([-1.0, 1, 1]), np.diag([1.0, -1, 1])
    _, truth = apply_change(change(*mirrors), image, label, SIZE, swaps=((1, 3),))
    assert torch.equal(truth[0], label[0])
    swapped = label[1].flip(0)
    expected = torch.tensor([0, 3, 2, 1])[swapped]
    assert torch.equal(truth[1], expected)
    assert torch.equal(truth[2], label[2].flip(1))


@given(seeds)
def test_turning_alone_never_swaps_left_and_right(seed):
    turning = Augmentation(turn_share=1, turn_deg=90)
    drawn = draw_change(turning, 8, (1.0, 2.0, 3.0), np.random.default_rng(seed))
    assert (drawn.matrix[:, 0, 0] > 0).all()


@pytest.mark.parametrize("axis", range(3))
def test_a_quarter_turn_is_numpys(axis):
    image, label = patches(1, (9, 9, 9))
    seen, truth = apply_change(change(quarter_turn(axis)), image, label, (9, 9, 9))
    i, j = (a for a in range(3) if a != axis)
    expected = np.rot90(image[0].numpy(), k=-1, axes=(i + 1, j + 1))
    np.testing.assert_allclose(seen[0], expected, atol=1e-4)
    np.testing.assert_array_equal(truth[0], np.rot90(label[0].numpy(), k=-1, axes=(i, j)))


@given(seeds, st.tuples(*[st.sampled_from([0.7, 1.0, 2.5])] * 3))
def test_any_turn_agrees_with_scipy(seed, spacing):
    settings = STILL.model_copy(update={"turn_share": 1.0, "turn_deg": 40.0, "mirror": (0, 1, 2)})
    drawn = draw_change(settings, 1, spacing, np.random.default_rng(seed))
    image, label = patches(1, (14, 12, 10), channels=1)
    seen, truth = apply_change(drawn, image, label, (10, 8, 6))
    matrix = drawn.matrix[0].astype(float)
    offset = (np.array((14, 12, 10)) - 1) / 2 - matrix @ ((np.array((10, 8, 6)) - 1) / 2)
    look = {"offset": offset, "output_shape": (10, 8, 6), "mode": "grid-constant"}
    expected = affine_transform(image[0, 0].numpy(), matrix, order=1, **look)
    np.testing.assert_allclose(seen[0, 0], expected, atol=2e-4)
    nearest = affine_transform(label[0].numpy(), matrix, order=0, **look)
    assert (truth[0].numpy() != nearest).mean() < 0.01  # at most where two are equally near


@pytest.mark.parametrize("spacing", [CUBIC, (1.0, 1.0, 3.0), (0.8, 2.0, 1.3)])
def test_turns_are_true_in_mm_and_image_and_label_move_together(spacing):
    extent = 60.0
    size = tuple(int(extent / mm) // 2 * 2 for mm in spacing)
    start = np.array([12.0, -9.0, 6.0])
    image, label = ball(size, spacing, start, 7.0)
    settings = STILL.model_copy(
        update={"turn_share": 1.0, "turn_deg": 40.0, "mirror": (0,), "scale": (0.9, 1.1)}
    )
    for seed in range(5):
        drawn = draw_change(settings, 1, spacing, np.random.default_rng(seed))
        in_mm = np.diag(spacing) @ drawn.matrix[0] @ np.diag(1 / np.array(spacing))
        size_of = np.cbrt(abs(np.linalg.det(in_mm)))
        np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3) * size_of**2, atol=1e-5)
        seen, truth = apply_change(drawn, image, label, size)
        expected = np.linalg.solve(in_mm, start)
        np.testing.assert_allclose(centre_mm(truth, spacing), expected, atol=0.35)
        assert truth.sum().item() == pytest.approx(label.sum().item() / size_of**3, rel=0.08)
        bright = seen[0, 0] > 0.5
        assert (bright != (truth[0] == 1)).sum() < 0.25 * truth.sum()
        np.testing.assert_allclose(
            centre_mm(bright[None], spacing), centre_mm(truth, spacing), atol=0.2
        )


def test_what_is_beyond_the_cut_is_background_and_zero():
    image, label = torch.ones(1, 1, 8, 8, 8), torch.ones(1, 8, 8, 8, dtype=torch.long)
    seen, truth = apply_change(change(np.eye(3) * 2), image, label, (8, 8, 8))
    assert seen[0, 0, 0, 0, 0] == truth[0, 0, 0, 0] == 0
    assert seen[0, 0, 4, 4, 4] == truth[0, 4, 4, 4] == 1


def test_labels_never_gain_values_and_keep_their_type():
    drawn = draw_change(ALL, 4, (1.0, 1.0, 3.0), np.random.default_rng(0))
    image, _ = patches(4)
    label = torch.tensor([0, 1, 300])[torch.randint(0, 3, (4, *SIZE))]
    _, truth = apply_change(drawn, image, label, SIZE)
    assert truth.dtype == torch.int64
    assert set(truth.unique().tolist()) <= {0, 1, 300}


@given(seeds, st.integers(1, 4))
def test_a_batch_is_changed_as_its_patches_one_by_one(seed, batch):
    settings = ALL.model_copy(update={"noise_share": 0.0, "turn_share": 0.5})
    drawn = draw_change(settings, batch, (1.0, 1.0, 2.0), np.random.default_rng(seed))
    image, label = patches(batch)
    seen, truth = apply_change(drawn, image, label, SIZE, swaps=((1, 2),))
    for n in range(batch):
        one = Change(
            **{
                name: value[n : n + 1] if isinstance(value, np.ndarray) else value
                for name, value in vars(drawn).items()
            }
        )
        alone, its = apply_change(one, image[n : n + 1], label[n : n + 1], SIZE, swaps=((1, 2),))
        torch.testing.assert_close(alone[0], seen[n], rtol=1e-5, atol=1e-5)
        assert torch.equal(its[0], truth[n])


def test_what_is_given_is_not_changed():
    drawn = draw_change(ALL, 2, CUBIC, np.random.default_rng(0))
    image, label = patches(2)
    before = image.clone(), label.clone()
    apply_change(drawn, image, label, SIZE, swaps=((1, 2),))
    assert torch.equal(image, before[0])
    assert torch.equal(label, before[1])


def test_noise_has_its_spread_and_its_seed():
    image, label = torch.zeros(1, 1, 30, 30, 30), torch.zeros(1, 30, 30, 30, dtype=torch.long)
    noisy = change(noise_sd=0.5)
    first, second, other = (
        apply_change(c, image, label, (30, 30, 30))[0]
        for c in (noisy, noisy, replace(noisy, seed=1))
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.std().item() == pytest.approx(0.5, rel=0.02)
    assert first.mean().item() == pytest.approx(0, abs=0.02)


def test_noise_does_not_touch_torchs_own_randomness():
    image, label = patches()
    before = torch.get_rng_state()
    apply_change(change(noise_sd=0.5), image, label, SIZE)
    assert torch.equal(torch.get_rng_state(), before)


def test_brightness_multiplies_and_contrast_stretches_about_the_mean():
    image, label = patches()
    brighter, _ = apply_change(change(brightness=1.25), image, label, SIZE)
    torch.testing.assert_close(brighter, image * 1.25)
    stretched, _ = apply_change(change(contrast=0.75), image, label, SIZE)
    mean = image.mean(dim=(2, 3, 4), keepdim=True)
    torch.testing.assert_close(stretched, (image - mean) * 0.75 + mean)


@pytest.mark.parametrize("gamma", [0.7, 1.5])
def test_gamma_agrees_with_monai_and_keeps_mean_and_spread(gamma):
    image, label = patches(channels=2)
    seen, _ = apply_change(change(gamma=gamma), image, label, SIZE)
    theirs = AdjustContrast(gamma=gamma, retain_stats=True)
    for channel in range(2):
        expected = theirs(image[0, channel][None])[0].as_tensor()
        torch.testing.assert_close(seen[0, channel], expected, rtol=1e-3, atol=1e-3)
    for stat in (torch.mean, torch.std):
        torch.testing.assert_close(stat(seen[0, 0]), stat(image[0, 0]), rtol=1e-4, atol=1e-5)


def test_a_constant_patch_stays_constant_under_gamma_and_contrast():
    image, label = torch.full((1, 1, *SIZE), 3.0), torch.zeros(1, *SIZE, dtype=torch.long)
    seen, _ = apply_change(change(gamma=0.7, contrast=1.2), image, label, SIZE)
    torch.testing.assert_close(seen, image)


def test_the_same_seed_draws_the_same_change():
    first, second, other = (
        draw_change(ALL, 5, CUBIC, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    for name in ("matrix", "noise_sd", "brightness", "contrast", "gamma"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert (getattr(first, name) != getattr(other, name)).any()
    assert first.seed == second.seed != other.seed


def test_shares_and_ranges_are_kept():
    drawn = draw_change(
        Augmentation(mirror=(1,), turn_share=0.3), 4000, CUBIC, np.random.default_rng(0)
    )
    turned = (np.abs(drawn.matrix) != np.eye(3)).any(axis=(1, 2))
    assert turned.mean() == pytest.approx(0.3, abs=0.03)
    assert (drawn.matrix[:, 1, 1] < 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (drawn.matrix[:, 0, 0] > 0).all()
    assert (drawn.gamma != 1).mean() == pytest.approx(0.2, abs=0.03)
    assert 0.7 <= drawn.gamma.min() < drawn.gamma.max() <= 1.5
    assert (drawn.noise_sd > 0).mean() == pytest.approx(0.1, abs=0.03)
    assert drawn.noise_sd.max() <= np.float32(0.1)
    sizes = np.cbrt(np.abs(np.linalg.det(drawn.matrix[turned])))
    assert 1 / 1.2 - 1e-3 <= sizes.min() < sizes.max() <= 1 / 0.85 + 1e-3


def test_naming_an_axis_twice_mirrors_it_as_often_as_once():
    once, twice = (
        draw_change(Augmentation(mirror=axes), 50, CUBIC, np.random.default_rng(0))
        for axes in ((0,), (0, 0))
    )
    np.testing.assert_array_equal(once.matrix, twice.matrix)


@given(
    st.tuples(*[st.integers(1, 128)] * 3),
    st.tuples(*[st.floats(0.5, 5)] * 3),
    st.floats(0, 90),
)
def test_a_cut_is_as_large_as_the_patch_and_has_its_centre(patch, spacing, degrees):
    size = source_size(Augmentation(turn_share=1, turn_deg=degrees), patch, spacing)
    for n, p in zip(size, patch, strict=True):
        assert n >= p
        assert (n - p) % 2 == 0
    assert source_size(STILL, patch, spacing) == patch
    unturned = Augmentation(turn_share=1, turn_deg=0, scale=(1, 1.2))
    assert source_size(unturned, patch, spacing) == patch


def test_a_patch_that_is_seen_from_further_away_is_cut_wider():
    far = Augmentation(turn_share=1, turn_deg=0, scale=(0.64, 1.2))
    assert source_size(far, (40, 40, 40), CUBIC) == (50, 50, 50)


def test_a_wider_cut_leaves_few_corners_empty():
    settings = STILL.model_copy(update={"turn_share": 1.0, "turn_deg": 15.0, "scale": (1.0, 1.0)})
    patch = (24, 24, 24)
    size = source_size(settings, patch, CUBIC)
    drawn = draw_change(settings, 40, CUBIC, np.random.default_rng(0))

    def empty(cut) -> float:
        image, label = torch.ones(40, 1, *cut), torch.zeros(40, *cut, dtype=torch.long)
        return (apply_change(drawn, image, label, patch)[0] < 0.5).float().mean().item()

    assert empty(size) < 0.01 < empty(patch)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"turn_share": 1.1}, "less than or equal to 1"),
        ({"turn_deg": 91}, "less than or equal to 90"),
        ({"scale": [1.2, 0.85]}, "the smaller factor comes first"),
        ({"gamma": [0, 1]}, "gamma.0: Input should be greater than 0"),
        ({"mirror": [0, 3]}, "mirror.1: Input should be 0, 1 or 2"),
        ({"noise": 1}, "does not know 'noise'. Did you mean 'noise_"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        build(Augmentation, values, at="recipe")


def test_what_was_drawn_changes_sides_with_its_label():
    mirror = np.diag([-1.0, 1.0, 1.0])
    drawn = torch.tensor([[True, True, False, False], [True, True, False, True]])
    swapped = swap_drawn(change(mirror, np.eye(3)), drawn, ((1, 2),))
    assert swapped.tolist() == [[True, False, True, False], [True, True, False, True]]
    assert swap_drawn(change(mirror), None, ((1, 2),)) is None
    assert torch.equal(swap_drawn(change(mirror, mirror), drawn, ()), drawn)


SHARES = ("noise_share", "brightness_share", "contrast_share", "gamma_share")


@given(seeds, st.tuples(*[st.floats(0.3, 5)] * 3), st.sampled_from([None, 0, 1, 2]))
def test_a_target_that_is_its_image_is_still_it_after_any_change(seed, spacing, flat):
    wanted = Augmentation(turn_share=0.7, turn_deg=45, mirror=(0, 1, 2)).for_targets()
    patch = tuple(1 if axis == flat else n for axis, n in enumerate((8, 7, 6)))
    drawn = draw_change(wanted, 4, spacing, np.random.default_rng(seed), flat=flat)
    image, _ = patches(4, source_size(wanted, patch, spacing, flat=flat))
    seen, truth = apply_change(drawn, image, image.clone(), patch)
    assert truth.shape == (4, 2, *patch)
    known = truth.isfinite()
    assert known.any()
    assert torch.equal(seen[known], truth[known])


@given(seeds)
def test_a_target_is_moved_as_an_image_is_and_not_as_labels_are(seed):
    """Values between those of two voxels are blended: a target may be any other image."""
    drawn = draw_change(
        Augmentation(turn_share=1).for_targets(), 2, CUBIC, np.random.default_rng(seed)
    )
    image, label = patches(2, (16, 14, 12), channels=1)
    _, truth = apply_change(drawn, image, label[:, None].float() + 0.25, SIZE)
    alone, _ = apply_change(drawn, label[:, None].float() + 0.25, label, SIZE)
    known = truth.isfinite()
    assert known.float().mean() > 0.5
    assert torch.equal(truth[known], alone[known])


def test_corners_that_were_not_cut_are_no_targets():
    """A patch turned by 45 degrees out of a cut of its own size reaches past it."""
    across = np.sqrt(0.5)
    turn = np.array([[1, 0, 0], [0, across, -across], [0, across, across]])
    ones = torch.ones(1, 1, *SIZE)
    _, truth = apply_change(change(turn), ones, ones.clone(), SIZE)
    known = truth.isfinite()
    assert 0.5 < known.float().mean() < 1
    assert torch.allclose(truth[known], torch.ones(()))
    assert not known[0, 0, 0, 0, 0]


def test_intensities_of_images_with_targets_are_changed_where_somebody_asked():
    usual = Augmentation().for_targets()
    assert [getattr(usual, name) for name in SHARES] == [0.0] * 4
    for name in SHARES:
        asked = Augmentation(**{name: 0.3}).for_targets()
        assert getattr(asked, name) == 0.3
        assert [getattr(asked, other) for other in SHARES if other != name] == [0.0] * 3


def test_a_share_that_is_asked_for_stays_though_it_is_the_usual_one():
    usual = Augmentation().after(0).noise_share
    asked = build(Augmentation, {"noise_share": usual}, at="recipe")
    assert asked.for_targets().noise_share == usual
    assert asked.for_targets().gamma_share == 0


def test_settings_written_out_in_full_mean_the_same():
    again = build(Augmentation, Augmentation().model_dump(mode="json"), at="recipe")
    assert again.for_targets() == Augmentation().for_targets()


def test_what_is_no_intensity_is_changed_for_targets_too():
    wanted = Augmentation(mirror=(0, 2), scale=(0.5, 2.0))
    changed = wanted.for_targets().model_dump(exclude=set(SHARES))
    assert changed == wanted.model_dump(exclude=set(SHARES))
    assert wanted.for_targets().for_targets() == wanted.for_targets()


def test_noise_that_is_asked_for_is_in_the_image_and_not_in_the_target():
    asked = Augmentation(turn_share=0, noise_share=1, noise_sd=0.5).for_targets()
    image, _ = patches(2)
    drawn = draw_change(asked, 2, CUBIC, np.random.default_rng(0))
    seen, truth = apply_change(drawn, image, image.clone(), SIZE)
    assert torch.equal(truth, image)
    assert (seen != image).any(dim=1).float().mean() > 0.9


def test_slices_are_not_mirrored_across_so_that_left_stays_left():
    always = Augmentation(mirror=(0, 1, 2), turn_share=0.0)
    drawn = draw_change(always, 200, (3.0, 1.0, 1.0), np.random.default_rng(0), flat=0)
    assert (drawn.matrix[:, 0, 0] == 1).all()
    assert {float(m) for m in drawn.matrix[:, 1, 1]} == {-1.0, 1.0}


def test_what_nobody_set_grows_with_the_passes_and_what_somebody_set_stays():
    growing = Augmentation(hardest_after=40, noise_share=0.2, scale=(0.9, 1.1))
    begin, middle, end = (growing.after(passes) for passes in (0, 20, 400))
    assert (begin.turn_share, middle.turn_share, end.turn_share) == pytest.approx((0.5, 0.65, 0.8))
    assert (begin.turn_deg, middle.turn_deg, end.turn_deg) == pytest.approx((15, 22.5, 30))
    assert {each.noise_share for each in (begin, middle, end)} == {0.2}
    assert {each.scale for each in (begin, middle, end)} == {(0.9, 1.1)}
    assert Augmentation().after(400) == Augmentation().after(0)
    spared = Augmentation(hardest_after=40).for_targets(corrects=True).after(400)
    assert (spared.turn_share, spared.gamma_share) == (0, 0)


def test_patches_are_turned_further_after_more_passes():
    settings = Augmentation(hardest_after=10)
    few, many = (
        draw_change(settings, 4000, CUBIC, np.random.default_rng(0), passes=passes)
        for passes in (0, 10)
    )
    turned = [(np.abs(c.matrix - np.eye(3)) > 1e-6).any(axis=(1, 2)).mean() for c in (few, many)]
    assert turned == pytest.approx([0.5, 0.8], abs=0.03)
    sizes = [source_size(settings, (20, 20, 20), CUBIC, passes=passes) for passes in (0, 10)]
    assert sizes[0] < sizes[1]
