"""The table of networks counts what each would cost."""

import pytest

from tests.planning.drawing import SMALL
from volunet.api.zoo import Costs, count_costs, plan_for_patch
from volunet.models.families import FAMILIES


def test_the_default_network_is_counted_as_it_is_built():
    plan = plan_for_patch("unet", (32, 32, 32), channels=1, classes=2, machine=SMALL)
    assert plan.residual
    assert not plan_for_patch("dynunet", (32,) * 3, channels=1, classes=2, machine=SMALL).residual


@pytest.mark.slow
def test_every_family_has_its_costs_and_larger_patches_cost_more():
    small, large = (count_costs((n,) * 3, channels=2, classes=3, machine=SMALL) for n in (32, 64))
    assert [row.family for row in small] == list(FAMILIES)
    for one, other in zip(small, large, strict=True):
        assert one.source
        if isinstance(one, Costs) and isinstance(other, Costs):
            assert one.gflop <= other.gflop
            assert one.parameters > 0
            assert one.training_gb <= other.training_gb
