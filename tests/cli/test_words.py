"""What a user writes on the command line is what Hydra composes."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gatecast.cli.words import rewritten
from gatecast.core.schema import Schema, Text
from gatecast.models.renamed import NEW_NAMES


class Options(Schema):
    reason: Text = ""
    digest: Text | None = None
    format: Literal["text", "json"] = "text"


def composed(*words: str, recipe: dict[str, Any] | None = None) -> dict[str, Any]:
    """What Hydra makes of a command line, laid over a recipe."""
    cfg = OmegaConf.create(recipe or {})
    overrides = OverridesParser.create().parse_overrides(rewritten(list(words), [], Options))
    ConfigLoaderImpl._apply_overrides_to_config(overrides, cfg)
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


@pytest.mark.parametrize(
    "text",
    [
        "over-forecasts,see_12",
        "site (north) fails",
        "see_#12",
        "it's worse",
        '"worse" and "worse"',
        "'a' and 'b'",
        "C:\\old\\",
        "\\'",
        "${nothing}",
        "\\${nothing}\\",
        " a b ",
        "null",
        "true",
        "12",
        "1e5",
        "",
    ],
)
def test_a_text_option_may_hold_any_characters(text: str) -> None:
    assert composed(f"reason={text}") == {"reason": text}


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp"))) | st.text("\\'\"${}a, "))
def test_a_text_option_comes_back_as_it_was_written(text: str) -> None:
    assume(not (len(text) > 1 and text[0] == text[-1] and text[0] in "'\""))
    assert composed(f"reason={text}") == {"reason": text}


@pytest.mark.parametrize("quoted", ["'a, b'", '"a, b"'])
def test_a_quoted_text_option_loses_its_quotes_alone(quoted: str) -> None:
    assert composed(f"reason={quoted}") == {"reason": "a, b"}


def test_a_text_that_may_be_left_out_may_be_null() -> None:
    assert composed("digest=null") == {"digest": None}


def test_a_choice_is_not_quoted_and_can_be_swept() -> None:
    assert rewritten(["format=text,json"], [], Options) == ["++format=text,json"]


def test_a_text_setting_of_params_yaml_can_be_swept() -> None:
    word = "as_of=2025-04-08T23:00,2025-04-09T23:00"
    assert rewritten([word], [], Options) == [f"++{word}"]


@pytest.mark.parametrize(
    "recipe", [{}, {"task": {"event": {"above": 200}}}, {"task": {"event": {}}}]
)
def test_an_event_takes_the_place_of_the_recipe_s(recipe: dict[str, Any]) -> None:
    feed = composed("feed.task.event={below: 5}", recipe={"feed": recipe})["feed"]
    assert feed["task"]["event"] == {"below": 5}


@pytest.mark.parametrize("old", NEW_NAMES)
def test_an_old_name_is_translated_with_a_remark(
    old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new = NEW_NAMES[old]
    assert composed(f"model.{old}=3", recipe={"model": {new: 2}}) == {"model": {new: 3}}
    assert f"the command line: `model.{old}` is now `model.{new}`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "now"),
    [
        ("+model.units=3", "+model.hidden_size=3"),
        ("~model.units", "~model.hidden_size"),
        ("search.space.layers.high=3", "++search.space.n_layers.high=3"),
        ("~search.space.wider", "~search.space.context_multiple"),
        ("model.units_of_sale=3", "++model.units_of_sale=3"),
        ("feed.units=3", "++feed.units=3"),
        ("model.decoder=segment", "++model.decoder=segment"),
    ],
)
def test_old_names_are_translated_where_models_have_them(word: str, now: str) -> None:
    assert rewritten([word], [], Options) == [now]
