"""What `import volunet` offers: nine names, loaded when they are first used."""

from __future__ import annotations

import pytest

import volunet

NAMES = ["Grid", "Recipe", "Volume", "evaluate", "load", "plan", "read", "train", "write"]


def test_the_public_names_are_these_and_no_others():
    assert sorted(volunet.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_says_what_it_is(name):
    assert getattr(volunet, name).__doc__
    assert name in dir(volunet)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="trian"):
        volunet.trian  # noqa: B018
