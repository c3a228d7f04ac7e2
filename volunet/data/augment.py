"""Changes of the training patches that a scanner or a patient could have made.

First a change is drawn for every patch of a batch, then all are applied at once on the device that
trains, image and label together: one look-up turns, scales and mirrors, and four products and sums
change the intensities. Matrices act on patch axes; rotations are true in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from volunet.data.augmentation import Augmentation, Strength
from volunet.space.box import Box


@dataclass(frozen=True)
class Change:
    """What was drawn for a batch of B patches; it can be printed and applied again.

    Args:
        matrix: (B, 3, 3), patch axes to source axes in voxels, about the patch's centre.
        noise_sd: (B,), 0 for none.
        brightness: (B,), 1 for none.
        contrast: (B,), 1 for none.
        gamma: (B,), 1 for none.
        seed: of the noise.
    """

    matrix: NDArray[np.float32]
    noise_sd: NDArray[np.float32]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    gamma: NDArray[np.float32]
    seed: int


def draw_change(
    settings: Augmentation,
    batch: int,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    *,
    flat: int | None = None,
    passes: float = 0.0,
) -> Change:
    """What will be done to each patch of a batch.

    Args:
        spacing: in mm, of the patch's axes.
        flat: the axis along which patches are one voxel deep: slices stay in their plane.
        passes: patches drawn so far for each case of the set.
    """
    now = settings.after(passes)

    def some(share: float, low: float, high: float, neutral: float) -> NDArray[np.float32]:
        values = rng.uniform(low, high, batch)
        return np.where(rng.random(batch) < share, values, neutral).astype(np.float32)

    return Change(
        matrix=np.stack([_matrix(now, settings.mirror, spacing, rng, flat) for _ in range(batch)]),
        noise_sd=some(now.noise_share, 0.0, settings.noise_sd, 0.0),
        brightness=some(now.brightness_share, *settings.brightness, 1.0),
        contrast=some(now.contrast_share, *settings.contrast, 1.0),
        gamma=some(now.gamma_share, *settings.gamma, 1.0),
        seed=int(rng.integers(2**31)),
    )


def source_size(
    settings: Augmentation,
    patch: tuple[int, int, int],
    spacing: tuple[float, float, float],
    *,
    flat: int | None = None,
    passes: float = 0.0,
) -> tuple[int, int, int]:
    """Voxels to cut so that most turned patches find their corners inside the cut.

    Rotation and scale count by the middle of their ranges. What is cut and the patch have the same
    centre, so their sides differ by an even number.

    Args:
        flat: as in `draw_change`.
        passes: as in `draw_change`.
    """
    now = settings.after(passes)
    if now.turn_share == 0:
        return patch
    angle = np.deg2rad(now.turn_deg / 2)
    length = np.multiply(patch, spacing)
    if flat is not None:
        length[flat] = 0  # slices are seen in their plane
    across = length.sum() - length
    others = 2 if flat is None else 1  # axes that an axis may be turned towards
    needed = (length * np.cos(angle) + across / others * np.sin(angle)) / spacing
    needed = needed / min(1.0, np.sqrt(now.scale[0]))  # seen from further away
    if flat is not None:
        needed[flat] = patch[flat]
    r, a, s = (
        p + 2 * max(int(np.ceil((n - p) / 2 - 1e-6)), 0) for n, p in zip(needed, patch, strict=True)
    )
    return r, a, s


def apply_change(
    change: Change,
    image: Tensor,
    label: Tensor,
    patch: tuple[int, int, int],
    *,
    swaps: tuple[tuple[int, int], ...] = (),
) -> tuple[Tensor, Tensor]:
    """Changed patches (B, C, *patch) and labels (B, *patch) from larger cuts.

    Where labels change places, what was drawn does too: `swap_drawn`.

    Args:
        image: (B, C, *S) float32 on the device that trains, S at least `patch`.
        label: (B, *S) class indices, or (B, T, *S) targets, which are moved like images and are NaN
            where nothing is known.
        swaps: class indices that change places where the first axis (left-right) is mirrored.
    """
    image, label = _turn(change.matrix, image, label, patch)
    for place in _mirrored(change) if swaps else ():
        for one, other in swaps:
            mirrored = label[place].clone()
            label[place][mirrored == one] = other
            label[place][mirrored == other] = one
    return _change_intensities(change, image), label


def swap_drawn(
    change: Change, drawn: Tensor | None, swaps: tuple[tuple[int, int], ...]
) -> Tensor | None:
    """Which classes of a changed batch were drawn, (B, classes); None for all."""
    if drawn is None or not swaps:
        return drawn
    order = list(range(drawn.shape[1]))
    for one, other in swaps:
        order[one], order[other] = other, one
    swapped, places = drawn.clone(), _mirrored(change)
    swapped[places] = drawn[places][:, order]
    return swapped


def _mirrored(change: Change) -> NDArray[np.intp]:
    """The patches whose first axis (left-right) is mirrored."""
    return np.flatnonzero(change.matrix[:, 0, 0] < 0)


def _matrix(
    now: Strength,
    mirror: tuple[int, ...],
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    flat: int | None,
) -> NDArray[np.float32]:
    """Rotation about three axes, one scale for all, and mirrors; true in mm.

    About one axis, and a scale for the two others, where patches are `flat`.
    """
    turned, log_scale = rng.random() < now.turn_share, np.log(now.scale)
    angles = np.deg2rad(rng.uniform(-now.turn_deg, now.turn_deg, 3))
    size = np.exp(rng.uniform(*log_scale))
    flips = np.where((rng.random(3) < 0.5) & np.isin(range(3), mirror), -1.0, 1.0)
    if flat is not None:
        flips[flat] = 1.0  # a mirrored slice is itself, and its left is still left
    matrix = np.eye(3)
    if turned:
        for axis, angle in enumerate(angles):
            if flat not in {None, axis}:
                continue
            i, j = (a for a in range(3) if a != axis)
            step = np.eye(3)
            step[i, i] = step[j, j] = np.cos(angle)
            step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
            matrix = matrix @ step
        matrix = matrix / size
        if flat is not None:
            matrix[flat, flat] = 1
    mm = np.array(spacing)
    return np.asarray(matrix * flips * mm / mm[:, None], dtype=np.float32)


def _turn(
    matrix: NDArray[np.float32], image: Tensor, label: Tensor, patch: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    size = tuple(image.shape[2:])
    first = [(n - p) // 2 for n, p in zip(size, patch, strict=True)]
    inner = Box(tuple(first), tuple(f + p for f, p in zip(first, patch, strict=True))).index
    seen, truth = image[inner].clone(), label[inner].clone()
    upright = (np.abs(matrix) == np.eye(3, dtype=np.float32)).all(axis=(1, 2))
    for place in np.flatnonzero(upright):  # mirrored at most, which moves voxels as they are
        back = [axis for axis in range(3) if matrix[place, axis, axis] < 0]
        seen[place] = seen[place].flip([axis - 3 for axis in back])
        truth[place] = truth[place].flip([axis - 3 for axis in back])
    turned = np.flatnonzero(~upright)
    if not turned.size:
        return seen, truth
    # grid_sample wants the last axis first, and both patches measured from -1 to 1.
    to_unit, from_unit = np.diag(2 / np.array(size)), np.diag(np.array(patch) / 2)
    scaled = (to_unit @ matrix[turned] @ from_unit)[:, ::-1, ::-1]
    theta = torch.zeros(len(turned), 3, 4)
    theta[:, :, :3] = torch.from_numpy(scaled.astype(np.float32))
    chosen = torch.from_numpy(turned).to(image.device)
    where = affine_grid(theta.to(image.device), [len(turned), 1, *patch], align_corners=False)
    seen[chosen] = grid_sample(image[chosen], where, mode="bilinear", align_corners=False)
    if label.is_floating_point():
        moved, within = (
            grid_sample(values, where, mode="bilinear", align_corners=False)
            for values in (label[chosen], torch.ones_like(label[chosen]))
        )
        truth[chosen] = moved.where(within > 1 - 1e-4, torch.nan)  # corners that were not cut
        return seen, truth
    nearest = grid_sample(
        label[chosen][:, None].float(), where, mode="nearest", align_corners=False
    )
    truth[chosen] = nearest[:, 0].to(label.dtype)
    return seen, truth


def _change_intensities(change: Change, image: Tensor) -> Tensor:
    def each(values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(image.device)[:, None, None, None, None]

    if (change.noise_sd > 0).any():
        generator = torch.Generator(image.device).manual_seed(change.seed)
        noise = torch.randn(image.shape, generator=generator, device=image.device)
        image = image + noise * each(change.noise_sd)
    if (change.brightness != 1).any():
        image = image * each(change.brightness)
    if (change.contrast != 1).any():
        mean = image.mean(dim=(2, 3, 4), keepdim=True)
        image = (image - mean) * each(change.contrast) + mean
    for place in np.flatnonzero(change.gamma != 1):
        image[place] = _bend(image[place], float(change.gamma[place]))
    return image


def _bend(image: Tensor, gamma: float) -> Tensor:
    """One patch (C, *S) with its range bent by a power; mean and spread stay."""
    low, high = image.amin(dim=(1, 2, 3), keepdim=True), image.amax(dim=(1, 2, 3), keepdim=True)
    reach = (high - low).clamp_min(1e-6)
    bent = ((image - low) / reach).pow(gamma) * reach + low
    mean, sd = (image.mean(dim=(1, 2, 3), keepdim=True), image.std(dim=(1, 2, 3), keepdim=True))
    new_sd = bent.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    return (bent - bent.mean(dim=(1, 2, 3), keepdim=True)) / new_sd * sd + mean
