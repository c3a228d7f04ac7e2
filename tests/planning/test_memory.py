"""More work takes more memory, and a plan is made to fit the memory there is, or refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.drawing import plan_for
from volunet.errors import ConfigError
from volunet.planning.machine import (
    GB,
    Machine,
    find_device,
    host_memory_bytes,
    read_bytes,
    this_machine,
)
from volunet.planning.make import MEMORY_SHARE, fit_memory
from volunet.planning.memory import training_bytes

few = settings(max_examples=6)
patches = st.tuples(*[st.integers(2, 16).map(lambda n: 4 * n)] * 3)


def machine_for(plan, factor: float = 1.0) -> Machine:
    """A machine that holds just so much of the plan's training step."""
    return Machine("cpu", 2, factor * training_bytes(plan) / MEMORY_SHARE / GB)


@few
@given(patches, st.integers(1, 8), st.integers(0, 2))
def test_training_takes_more_for_a_larger_patch_or_batch(patch, batch, axis):
    plan = plan_for(patch=patch, batch=batch)
    grown = tuple(n + 4 * (a == axis) for a, n in enumerate(patch))
    needed = training_bytes(plan)
    assert training_bytes(plan_for(patch=grown, batch=batch)) > needed
    assert training_bytes(plan_for(patch=patch, batch=batch + 1)) > needed
    assert training_bytes(plan, half=False) > needed


@few
@given(patches)
def test_training_memory_grows_evenly_with_the_batch(patch):
    one, two, nine = (training_bytes(plan_for(patch=patch, batch=n)) for n in (1, 2, 9))
    assert nine - one == pytest.approx(8 * (two - one))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_largest_batch_that_fits_is_taken(batch):
    machine = machine_for(plan_for(batch=batch), factor=1.000001)
    assert fit_memory(plan_for(batch=9), machine).batch == batch
    assert fit_memory(plan_for(batch=1), machine).batch == 1


def test_a_plan_that_fits_is_not_changed():
    plan = plan_for(batch=3)
    assert fit_memory(plan, machine_for(plan, factor=10)) == plan


def test_feature_maps_are_computed_again_where_not_even_one_patch_fits():
    patch, batch = (64, 64, 64), 3
    kept, again = (plan_for(patch=patch, recompute=r) for r in (False, True))
    assert training_bytes(again) < training_bytes(kept)
    small = machine_for(kept.model_copy(update={"batch": 1}), factor=0.999)
    assert fit_memory(kept, small) == again.model_copy(update={"batch": 1})
    wanted = kept.model_copy(update={"batch": batch})
    fits = machine_for(again.model_copy(update={"batch": batch}), factor=1.0001)
    assert fit_memory(wanted, fits, free=("recompute",)).recompute
    assert fit_memory(wanted, machine_for(wanted, factor=1.0001), free=("recompute",)) == wanted


def test_a_step_that_does_not_fit_is_refused_with_the_memory_that_it_takes():
    least = plan_for(batch=1, recompute=True)
    small = machine_for(least, factor=0.9)
    needed = training_bytes(least) / GB
    with pytest.raises(ConfigError, match=rf"batch 1 would take about {needed:.1f} GB.*smaller"):
        fit_memory(plan_for(batch=9), small)


def test_a_batch_that_somebody_wants_is_not_made_smaller():
    fits_two = machine_for(plan_for(batch=2), factor=1.0001)
    assert fit_memory(plan_for(batch=2), fits_two, free=("recompute",)).batch == 2
    with pytest.raises(ConfigError, match="batch 99 would take"):
        fit_memory(plan_for(batch=99), fits_two, free=("recompute",))


def test_a_machine_that_trains_in_four_bytes_holds_less():
    plan = plan_for(batch=4, patch=(64, 64, 64))
    memory = training_bytes(plan) / MEMORY_SHARE / GB * 1.0001
    assert fit_memory(plan, Machine("cpu", 2, memory, half=True)).batch == 4
    assert fit_memory(plan, Machine("cpu", 2, memory, half=False)).batch < 4


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("4GB", 4e9),
        ("3.5 GB", 3.5e9),
        ("4GiB", 2.0**32),
        ("800MB", 8e8),
        (" .5gib ", 2.0**29),
        ("1tb", 1e12),
        (5e9, 5e9),
        (10, 10.0),
    ],
)
def test_sizes_of_memory_are_read(size, expected):
    assert read_bytes(size) == expected


@pytest.mark.parametrize("size", ["", "4", "GB", "-4GB", "4 G B", "4PB", "0GB", "4GBs", 0, -1.0])
def test_what_is_no_size_of_memory_is_refused(size):
    with pytest.raises(ConfigError, match="is no size of memory"):
        read_bytes(size)


def test_this_machine_has_cores_and_memory():
    machine = this_machine(torch.device("cpu"))
    assert (machine.device, machine.cores >= 1) == ("cpu", True)
    assert machine.memory_gb == host_memory_bytes() / GB > 0.1


def test_the_best_device_works_and_one_that_is_named_is_taken():
    torch.ones(1, device=find_device())
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "cpu:x"])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"'{name}' cannot be used here: "):
        find_device(name)
