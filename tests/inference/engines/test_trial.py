"""Engines are tried where a scan shows something."""

from __future__ import annotations

import torch

from volunet.inference.engines.trial import MOST_LOOKS, cut_windows, make_windows

PATCH = (8, 8, 8)


def bright(windows: torch.Tensor) -> torch.Tensor:
    """Logits of an engine that finds bright voxels."""
    return torch.cat([torch.full_like(windows, 0.5), windows], dim=1)


def test_windows_that_show_a_structure_come_first():
    image = torch.zeros(1, 24, 24, 24)
    image[:, 8:16, 8:16, 17:] = 1
    windows = cut_windows(image, PATCH, bright)
    assert windows.shape == (2, 1, *PATCH)
    assert windows[0].sum() == 8 * 8 * 7


def test_the_middle_comes_first_where_nothing_is_shown():
    image = torch.zeros(1, 24, 24, 24)
    image[:, 8:16, 8:16, 8:16] = 0.25
    assert cut_windows(image, PATCH, bright)[0].min() == 0.25


def test_no_more_than_six_windows_are_looked_at():
    looks = []

    def look(windows: torch.Tensor) -> torch.Tensor:
        looks.append(windows.shape)
        return bright(windows)

    cut_windows(torch.zeros(1, 64, 64, 64), PATCH, look)
    assert looks == [(1, 1, *PATCH)] * MOST_LOOKS


def test_a_small_scan_is_padded_and_gives_the_one_window_there_is():
    windows = cut_windows(torch.ones(2, 5, 8, 3), PATCH, bright_first)
    assert windows.shape == (1, 2, *PATCH)
    assert windows.sum() == 2 * 5 * 8 * 3


def bright_first(windows: torch.Tensor) -> torch.Tensor:
    return bright(windows[:, :1])


def test_noise_is_scaled_as_scans_are_and_is_the_same_each_time():
    windows = make_windows(2, (16, 24, 16))
    assert windows.shape == (2, 2, 16, 24, 16)
    assert abs(windows.std() - 1) < 1e-4
    assert windows.mean().abs() < 0.3
    assert torch.equal(windows, make_windows(2, (16, 24, 16)))
    neighbours = torch.corrcoef(torch.stack([windows[..., 1:].ravel(), windows[..., :-1].ravel()]))
    assert neighbours[0, 1] > 0.8
