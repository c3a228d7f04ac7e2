"""Labels say what whole numbers mean, and nothing that does not fit together."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volunet.config import read_config, to_json
from volunet.errors import ConfigError, LabelError
from volunet.space.labels import PALETTE, Labels
from volunet.space.labels_file import labels_from, read_labels

KIDNEYS = {
    "channels": ["CT"],
    "labels": {"background": 0, "tumour": 7, "left": 2, "right": 3},
    "colours": {"tumour": "#FF0000", "kidneys": "#00ff00"},
    "pairs": [["left", "right"]],
    "regions": {"kidneys": [2, 3]},
    "ignore": 255,
}


@st.composite
def declared(draw) -> Labels:
    """Any values up to 2**40, with an ignore value below, among or above them, or none."""
    values = draw(st.sets(st.integers(1, 2**40) | st.integers(1, 300), min_size=1, max_size=6))
    *used, ignore = draw(st.permutations(sorted(values)))
    ignore = ignore if used and draw(st.booleans()) else None
    used = used if ignore is not None else sorted(values)
    return Labels(structures={f"s{v}": v for v in used}, ignore=ignore)


@given(declared(), st.integers(0, 2**32 - 1))
def test_values_become_indices_and_come_back(labels, seed):
    ignored = () if labels.ignore is None else (labels.ignore,)
    values = np.array((0, *labels.values, *ignored), dtype=labels.dtype)
    voxels = np.random.default_rng(seed).choice(values, (3, 4, 5))
    index = labels.to_index(voxels)
    back = labels.to_values(index)
    np.testing.assert_array_equal(back, voxels)
    assert (index.dtype, back.dtype) == (np.uint8, labels.dtype)
    assert index.max() <= labels.classes
    assert ((index == labels.classes) == (voxels == (labels.ignore or -1))).all()


@given(declared(), st.integers(0, 2**41))
def test_a_value_that_nobody_declared_is_refused_by_its_number(labels, value):
    if value in (0, *labels.values, labels.ignore):
        return
    with pytest.raises(LabelError, match=rf"\[{value}\].*not declared.*labels\.json"):
        labels.to_index(np.array([[0, value]]))


def test_indices_count_up_in_the_order_of_the_values_and_ignore_is_last():
    labels = labels_from(KIDNEYS, at="labels.json")
    assert labels.names == ("left", "right", "tumour")
    assert (labels.values, labels.classes, labels.ignore_index) == ((2, 3, 7), 4, 4)
    voxels = np.array([0, 7, 2, 255, 3])
    assert labels.to_index(voxels).tolist() == [0, 3, 1, 4, 2]
    assert labels.to_values(np.array([0, 3, 1, 4, 2])).tolist() == voxels.tolist()


def test_an_index_past_the_classes_is_an_error_and_no_background():
    with pytest.raises(IndexError):
        Labels(structures={"a": 1}).to_values(np.array([2]))


@pytest.mark.parametrize(
    ("largest", "ignore", "kind"),
    [(1, None, "u1"), (255, None, "u1"), (256, None, "u2"), (3, 300, "u2"), (70000, None, "u4")],
)
def test_the_type_is_the_smallest_that_holds_every_value(largest, ignore, kind):
    assert Labels(structures={"a": largest}, ignore=ignore).dtype == np.dtype(kind)


def test_many_structures_have_indices_in_two_bytes():
    labels = Labels.of_values(range(0, 301))
    assert labels.names[0] == "1"
    assert labels.classes == 301
    assert labels.to_index(np.array([300])).dtype == np.uint16


def test_labels_of_an_empty_map_know_background_only():
    labels = Labels.of_values([0])
    assert (labels.names, labels.classes) == ((), 1)
    assert labels.to_index(np.zeros(3, int)).tolist() == [0, 0, 0]


def test_colours_are_those_given_or_told_apart():
    labels = labels_from(KIDNEYS, at="labels.json")
    assert labels.colour_of("tumour") == "#FF0000"
    assert (labels.colour_of("left"), labels.colour_of("right")) == PALETTE[:2]
    assert labels.colour_of("kidneys") == "#00ff00"
    assert len(set(PALETTE)) == len(PALETTE)
    plain = Labels(structures={"a": 1}, regions={"both": (1,)})
    assert plain.colour_of("both") != plain.colour_of("a")
    with pytest.raises(LabelError, match="'spleen'; known are"):
        labels.colour_of("spleen")


def test_a_value_has_a_name_or_is_refused():
    labels = labels_from(KIDNEYS, at="labels.json")
    assert labels.name_of(7) == "tumour"
    with pytest.raises(LabelError, match="value 9; known are"):
        labels.name_of(9)


def test_what_is_written_is_read_back(tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps(KIDNEYS))
    labels = read_labels(tmp_path / "labels.json")
    (tmp_path / "again.json").write_text(to_json(labels))
    assert read_config(tmp_path / "again.json", Labels) == labels
    assert read_labels(tmp_path / "again.json") == labels


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": {"a": -1}}, "whole numbers from 0 up"),
        ({"labels": {"a": 1, "b": 1}}, "two names have the same value"),
        ({"labels": {"a": 1.5}}, "structures.a: Input should be a valid integer"),
        ({"labels": {"a": "1"}}, "structures.a: Input should be a valid integer (got '1')"),
        ({"labels": {"a": True}}, "structures.a: Input should be a valid integer (got True)"),
        ({"labels": ["a"]}, "structures: Input should be a valid dictionary"),
        ({"labels": None}, "structures: Input should be a valid dictionary"),
        ({"color": {}}, "does not know 'color'. Did you mean 'colours'?"),
        ({"colours": {"spleen": "#000000"}}, "['spleen'] are not among the names"),
        ({"colours": {"left": "red"}}, "colours are written #rrggbb, got ['red']"),
        ({"pairs": [["left", "spleen"]]}, "['spleen'] are not among the names"),
        ({"pairs": [["left", "kidneys"]]}, "['kidneys'] cannot be paired"),
        ({"pairs": [["left", "left"]]}, "['left'] cannot be paired"),
        ({"pairs": [["left", "right"], ["left", "tumour"]]}, "['left'] cannot be paired"),
        ({"pairs": [["left"]]}, "'pairs.0.1' is missing"),
        ({"regions": {"kidneys": [2, 9]}}, "regions use values [9] that no structure has"),
        (
            {"regions": {"kidneys": [2, 3], "left": [3]}},
            "['left'] name both a structure and a region of others",
        ),
        ({"ignore": 0}, "the ignore value must be above 0"),
        ({"ignore": 7}, "belong to no structure"),
    ],
)
def test_a_mistake_is_named(change, says):
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        labels_from(KIDNEYS | change, at="labels.json")
    assert str(caught.value).startswith("labels.json")


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (("kidney_left", "kidney_right", "liver"), (("kidney_left", "kidney_right"),)),
        (("Left Lung", "Right Lung"), (("Left Lung", "Right Lung"),)),
        (("rib_left_1", "rib_left_2", "rib_right_1"), (("rib_left_1", "rib_right_1"),)),
        (("lung_l", "lung_r"), (("lung_l", "lung_r"),)),
        (("vertebra_L1", "vertebra_L2", "vertebra_T1"), ()),
        (("left_atrium", "aorta"), ()),
        (("brightness", "leftover"), ()),
        (("LeftParotid", "RightParotid", "Cord"), (("LeftParotid", "RightParotid"),)),
        (("KidneyL", "KidneyR"), (("KidneyL", "KidneyR"),)),
        (("Parotid_Lt", "Parotid_Rt"), (("Parotid_Lt", "Parotid_Rt"),)),
        (("EyeLt", "EyeRt"), (("EyeLt", "EyeRt"),)),
        (("leftkidney", "rightkidney"), (("leftkidney", "rightkidney"),)),
        (("LV", "RV", "model", "moder"), ()),
        (("ctx-lh-insula", "ctx-rh-insula"), (("ctx-lh-insula", "ctx-rh-insula"),)),
        (("LParotid", "RParotid", "LV", "RV"), (("LParotid", "RParotid"),)),
        (("Lkidney", "Rkidney", "Liver"), (("Lkidney", "Rkidney"),)),
        (("PAROTIDL", "PAROTIDR", "CORD"), (("PAROTIDL", "PAROTIDR"),)),
        (("PAROTIDL", "ORAL", "LIVER", "RIVER"), ()),
        (("Left kidney", "right Kidney"), (("Left kidney", "right Kidney"),)),
        (("kidney_l", "kidney_left", "kidney_right"), (("kidney_l", "kidney_right"),)),
        (("kidney_left", "Kidney Left", "kidney_l"), ()),
        (("liver", "river", "L1", "R1", "lung", "rung"), ()),
        (
            ("left_lobe_of_right_lung", "right_lobe_of_left_lung", "right_lobe_of_right_lung"),
            (("left_lobe_of_right_lung", "right_lobe_of_left_lung"),),
        ),
    ],
)
def test_sides_are_known_by_names_that_differ_by_them_alone(names, sides):
    labels = Labels(structures={name: place + 1 for place, name in enumerate(names)})
    assert labels.sides == sides
    assert labels.tells_sides or not sides
    paired = labels.model_copy(update={"pairs": sides})
    assert paired.sides == ()
    assert paired.tells_sides == labels.tells_sides


@pytest.mark.parametrize(
    ("names", "single"),
    [
        (("left_atrium", "aorta"), ("left_atrium",)),
        (
            ("KidneyLeft", "LeftParotid", "ctx-rh-insula"),
            ("KidneyLeft", "LeftParotid", "ctx-rh-insula"),
        ),
        (("kidney_left", "kidney_right", "Right Lung"), ("Right Lung",)),
        (("kidney_l", "LParotid", "PAROTIDL", "KidneyLt", "L1", "LV"), ()),
        (("brightness", "leftover", "upright", "leftkidney"), ()),
        (("left_and_right_lung", "lungs (left, right)"), ()),
    ],
)
def test_a_side_without_a_partner_is_known_by_a_word(names, single):
    labels = Labels(structures={name: place + 1 for place, name in enumerate(names)})
    assert labels.single_sides == single
    assert labels.tells_sides == bool(single or labels.sides)
