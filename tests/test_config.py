"""A settings file is read to the letter, or refused with the place and the reason."""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from volunet.config import Settings, build, override, read_config, read_values, to_json
from volunet.errors import ConfigError


class Net(Settings):
    kind: Literal["unet", "resunet"] = "unet"
    features: tuple[int, ...] = (32, 64)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Experiment(Settings):
    name: str
    network: Net = Net()
    others: tuple[Net, ...] = ()
    by_name: dict[str, Net] = Field(default_factory=dict)
    epochs: int = 10
    seed: int | None = None
    fast: bool = False

    @model_validator(mode="after")
    def _fit(self) -> Experiment:
        if self.epochs < 1:
            raise ValueError("there must be an epoch")
        return self


GOOD = """
name = "x"
epochs = 5
fast = true
[network]
kind = "resunet"
features = [8, 16, 32]
dropout = 0
[[others]]
kind = "unet"
[by_name.small]
features = [4]
"""


def read(tmp_path, text: str, name: str = "r.toml") -> Experiment:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_config(tmp_path / name, Experiment)


def test_what_is_written_is_read_back(tmp_path):
    experiment = read(tmp_path, GOOD)
    assert experiment.network.features == (8, 16, 32)
    assert experiment.by_name["small"].features == (4,)
    assert (experiment.epochs, experiment.seed, experiment.fast) == (5, None, True)
    assert read(tmp_path, to_json(experiment), "r.json") == experiment


@given(
    st.builds(
        Experiment,
        name=st.text(),
        epochs=st.integers(1, 10**9),
        seed=st.none() | st.integers(),
        network=st.builds(
            Net,
            features=st.lists(st.integers()).map(tuple),
            dropout=st.floats(0, 0.99),
        ),
    )
)
def test_any_settings_come_back_from_json(tmp_path_factory, experiment):
    assert read(tmp_path_factory.mktemp("c"), to_json(experiment), "r.json") == experiment


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'kind = "r',
            'knd = "r',
            "does not know 'network.knd'. Did you mean 'kind'? It knows kind,",
        ),
        ("[[others]]\nkind", "[[others]]\nfeature", "does not know 'others.0.feature'"),
        (
            "small]\nfeatures",
            "small]\nfeaturs",
            "'by_name.small.featurs'. Did you mean 'features'?",
        ),
        ("epochs =", "epoch =", "does not know 'epoch'. Did you mean 'epochs'?"),
        ("epochs = 5", 'epochs = "5"', "epochs: Input should be a valid integer (got '5')"),
        ("epochs = 5", "epochs = true", "epochs: Input should be a valid integer (got True)"),
        ("epochs = 5", "epochs = 5.0", "epochs: Input should be a valid integer (got 5.0)"),
        ("epochs = 5", "epochs = 0", "r.toml: there must be an epoch."),
        ("fast = true", 'fast = "yes"', "fast: Input should be a valid boolean (got 'yes')"),
        ("dropout = 0", "dropout = nan", "network.dropout: Input should be a finite number"),
        ("dropout = 0", "dropout = 1", "network.dropout: Input should be less than 1 (got 1)"),
        ('"resunet"', '"vnet"', "network.kind: Input should be 'unet' or 'resunet' (got 'vnet')"),
        ('name = "x"', "", "is incomplete: 'name' is missing"),
        ("epochs = 5", "epochs = ", "r.toml is not valid TOML"),
        ("epochs = 5", "epochs = 5\nepochs = 6", "r.toml is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert str(caught.value).startswith("r.toml")


def test_every_mistake_is_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD.replace("kind", "knd").replace("= 5", "= 5.5"))
    assert len(str(caught.value).splitlines()) == 3


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(ConfigError) as caught:
        build(Net, {"features": "9" * 10_000}, at="r.toml")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.json", b"[1, 2]", "r.json must hold a table"),
        ("r.json", b"{", "r.json is not valid JSON"),
        ("r.toml", b"\xff\xfe", "r.toml is not valid TOML"),
        ("r.json", b"[" * 100_000, "r.json is not valid JSON"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_values(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"r\.toml cannot be read: No such file"):
        read_values(tmp_path / "r.toml")


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "r.json").write_text('{"name": "x"}', encoding="utf-8-sig")
    assert read_values(tmp_path / "r.json") == {"name": "x"}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("epochs=7", {"epochs": 7}),
        ("network.dropout = 1e-2", {"network": {"kind": "unet", "dropout": 0.01}}),
        ("network.features=[1, 2]", {"network": {"kind": "unet", "features": [1, 2]}}),
        ("new.deep.key=true", {"new": {"deep": {"key": True}}}),
        ("name=plain text", {"name": "plain text"}),
        ('name="5"', {"name": "5"}),
        ("name=a=b", {"name": "a=b"}),
        ("name=", {"name": ""}),
        ("budget=20m", {"budget": "20m"}),
    ],
)
def test_an_override_changes_one_key_and_leaves_the_table_alone(assignment, expected):
    values = {"name": "x", "network": {"kind": "unet"}}
    assert override(values, [assignment]) == values | expected
    assert values == {"name": "x", "network": {"kind": "unet"}}


def test_a_later_override_wins_and_dates_are_let_be():
    values = tomllib.loads("made = 2024-02-29")
    assert override(values, ["a=1", "a=2"]) == values | {"a": 2}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs", "--set takes key=value, got 'epochs'"),
        ("=5", "--set takes key=value"),
        ("name.first=5", "--set name.first: name is a value, not a table"),
    ],
)
def test_an_override_that_is_none_is_refused(assignment, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        override({"name": "x"}, [assignment])


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Net().kind = "resunet"
