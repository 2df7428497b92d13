"""What is searched around a recipe, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gatecast.core.errors import ConfigError
from gatecast.training.config import Fit
from gatecast.tuning.config import Range, Search
from gatecast.tuning.space import Space
from tests.recipes import model_of

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {p.stem: yaml.safe_load(p.read_text()) for p in (ROOT / "conf/model").glob("*.yaml")}
RECURRENT = sorted(n for n, r in RECIPES.items() if r.get("kind", "recurrent") == "recurrent")


def space(keys: dict[str, Range], **model: Any) -> Space:
    return Space.of(Search(space=keys), "shop", model_of(**model), Fit(), "conf/tune/mine.yaml")


def refused(keys: dict[str, Range], **model: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        space(keys, **model)
    return str(caught.value)


@pytest.mark.parametrize("name", RECURRENT)
def test_the_shipped_search_goes_with_every_recurrent_recipe(name: str) -> None:
    shipped = yaml.safe_load((ROOT / "conf/tune/default.yaml").read_text())["space"]
    around = space({key: Range(**r) for key, r in shipped.items()}, **RECIPES[name])
    model, fit = around.recipe(around.base)
    assert (model, fit) == (model_of(**RECIPES[name]), Fit())
    assert set(around.base) | set(around.kept) == set(shipped)


def test_the_recipes_own_values_belong_to_the_space() -> None:
    keys = {
        "hidden_size": Range(low=8, high=32),
        "cell": Range(choices=["gru", "rnn"]),
        "relative_weight": Range(low=1, high=40),
    }
    around = space(keys, hidden_size=100, cell="lstm")
    assert around.base == {"hidden_size": 100, "cell": "lstm", "relative_weight": 0.0}
    for key, value in around.base.items():
        d = around.distributions[key]
        assert d._contains(d.to_internal_repr(value))
    assert around.distributions["hidden_size"].low == 8  # type: ignore[attr-defined]


def test_a_setting_that_is_no_single_number_keeps_its_value_in_a_range() -> None:
    around = space(
        {"hidden_size": Range(low=8, high=32), "dropout": Range(low=0.0, high=0.5)},
        hidden_size=[128, 64],
    )
    assert around.kept == {"hidden_size": [128, 64]}
    assert set(around.base) == {"dropout"}


def test_choices_may_be_lists_and_null() -> None:
    keys = {"hidden_size": Range(choices=[[8, 4], 16]), "context_length": Range(choices=[None, 48])}
    around = space(keys, hidden_size=[128, 64])
    model, _ = around.recipe({"hidden_size": "[8, 4]", "context_length": 48})
    assert (model.hidden_size, model.context_length) == ([8, 4], 48)
    assert around.recipe(around.base)[0].hidden_size == [128, 64]


def test_sampled_numbers_have_three_digits_and_the_recipes_own_all_of_theirs() -> None:
    around = space({"dropout": Range(low=0.0, high=0.5)}, dropout=0.123456)
    assert around.values({"dropout": 0.2345678}) == {"dropout": 0.235}
    assert around.values(around.base) == {"dropout": 0.123456}


def test_settings_of_the_trainer_are_searched_too() -> None:
    around = space({"learning_rate": Range(low=1e-4, high=1e-2, log=True)})
    assert around.recipe({"learning_rate": 0.001})[1].learning_rate == 0.001


@pytest.mark.parametrize(
    ("keys", "model", "said"),
    [
        ({"droput": Range(low=0.0, high=0.5)}, {}, "ConfigError[UNKNOWN-KEY]: conf/tune/mine.yaml: `space.droput`"),
        ({"droput": Range(low=0.0, high=0.5)}, {}, "Did you mean 'dropout'?"),
        ({"devices": Range(low=1, high=4)}, {}, "ConfigError[UNKNOWN-KEY]"),
        ({"cell": Range(choices=["gruu"])}, {}, "ConfigError[SPACE]: conf/tune/mine.yaml: `space.cell` holds 'gruu'"),
        ({"dropout": Range(low=0.0, high=1.5)}, {}, "ConfigError[SPACE]"),
        ({"dropout": Range(choices=["much"])}, {}, "`space.dropout` holds 'much', which conf/model/shop.yaml"),
        ({"decoder": Range(choices=["autoregressive"])}, {}, "samples from a distribution"),
        ({"hidden_size": Range(low=8.5, high=32)}, {}, "ConfigError[RANGE]"),
        ({"dropout": Range(low=0.01, high=0.5, log=True)}, {"dropout": 0}, "ConfigError[RANGE]"),
        ({"context_length": Range(low=24, high=48)}, {}, "[SPACE]: conf/tune/mine.yaml: `space` has no setting"),
        ({"dropout": Range(low=0.0, high=0.5)}, {"kind": "linear"}, "ConfigError[KIND]"),
        ({"dropout": Range(low=0.0, high=0.5)}, {"kind": "ensemble", "members": [{}]}, "Tune a recurrent recipe"),
        ({"dropout": Range(low=0.0, high=0.5)}, {"head": "event", "event": {"above": 1.0}}, "ConfigError[KIND]"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(
    keys: dict[str, Range], model: dict[str, Any], said: str
) -> None:
    assert said in refused(keys, **model)
