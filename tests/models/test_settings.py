"""What a model recipe may say: settings by kind, decoder and head, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gatecast.config import GROUPS
from gatecast.core.errors import ConfigError
from gatecast.core.schema import COMMAND_LINE
from gatecast.models.config import Ensemble, Linear, Recurrent, flat
from gatecast.models.decoders.direct import Direct
from gatecast.models.decoders.experts import Experts
from gatecast.models.recipe import read_model
from gatecast.models.renamed import NEW_NAMES
from tests.recipes import model_of

FILE = "conf/model/mine.yaml"
RECIPES = sorted((Path(__file__).resolve().parents[2] / "conf/model").glob("*.yaml"))


def recurrent(**settings: Any) -> Recurrent:
    model = model_of(**settings)
    assert isinstance(model, Recurrent)
    return model


def refused(**settings: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_model(settings, FILE)
    assert FILE in str(caught.value)
    return caught.value


def test_a_recipe_is_flat_and_each_setting_finds_its_part() -> None:
    model = recurrent(decoder="experts", n_experts=4, head="point", loss="huber", dropout=0.1)
    assert isinstance(model.decoder, Experts)
    assert (model.decoder.n_experts, model.dropout) == (4, 0.1)
    assert model.head.model_dump() == {"name": "point", "loss": "huber"}


def test_what_a_recipe_leaves_out_has_a_default() -> None:
    assert isinstance(recurrent().decoder, Direct)
    assert recurrent() == recurrent(kind="recurrent", decoder="direct", head="quantile")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_survives_being_written_out(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = read_model(yaml.safe_load(path.read_text()), str(path))
    assert read_model(flat(model), "a package") == model
    assert capsys.readouterr().out == ""  # no remark: shipped recipes have the names of today


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", []),
        ("hidden_size", [64, 0]),
        ("hidden_size", 64.5),
        ("hidden_size", "64"),
        ("hidden_size", True),
        ("n_layers", 0),
        ("dilations", [1, 2]),
        ("dilations", [0]),
        ("recurrent_dropout", 1.0),
        ("input_dropout", -0.1),
        ("n_steps", 0),
        ("n_origins", 0),
        ("n_origins", 15),
        ("context_length", 0),
        ("context_multiple", 0),
        ("stride", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("relative_weight", -1),
        ("quantile_weight", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(key: str, value: Any) -> None:
    error = refused(**{key: value})
    assert error.code == "RANGE"
    assert f"{FILE}: `{key}` is" in str(error)


@pytest.mark.parametrize(
    ("parts", "key", "value"),
    [
        ({"decoder": "experts"}, "n_experts", 0),
        ({"decoder": "segment"}, "decoder_patches", 0),
        ({"decoder": "autoregressive", "head": "normal"}, "n_paths", 0),
        ({"decoder": "seq2seq"}, "teacher_forcing", 1.1),
        ({"head": "event"}, "event_weight", 0.0),
        ({"head": "event"}, "event", {"above": 1.0, "below": 0.0}),
        ({"head": "event"}, "event", {"over": 1.0}),
        ({"head": "event"}, "event", {"above": float("nan")}),
        ({"kind": "logistic"}, "event", {"above": "x"}),
        ({"kind": "linear"}, "penalties", []),
        ({"kind": "linear"}, "penalties", [1.0, 0.0]),
    ],
    ids=str,
)
def test_a_setting_of_a_part_out_of_range_is_refused_by_its_own_name(
    parts: dict[str, str], key: str, value: Any
) -> None:
    error = refused(**parts, **{key: value})
    assert error.code == "RANGE"
    assert f"{FILE}: `{key}` is" in str(error)


@pytest.mark.parametrize(
    ("parts", "key", "value", "meant"),
    [
        ({}, "kind", "recurent", "recurrent"),
        ({}, "cell", "ltsm", "lstm"),
        ({}, "activation", "tahn", "tanh"),
        ({}, "recurrent_activation", "hard-sigmoid", "hard_sigmoid"),
        ({}, "encoder_input", "contxt", "context"),
        ({}, "normalisation", "seasonl", "seasonal"),
        ({}, "augment_sign", "nevr", "never"),
        ({}, "series_weight", "volum", "volume"),
        ({}, "linear_skip", "fixd", "fixed"),
        ({}, "decoder", "seq2seg", "seq2seq"),
        ({}, "head", "studnet", "student"),
        ({"decoder": "segment"}, "decoder_cell", "gruu", "gru"),
        ({"decoder": "seq2seq"}, "attention", "adative", "additive"),
        ({"head": "point"}, "loss", "hubber", "huber"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_nearest_known_one(
    parts: dict[str, str], key: str, value: str, meant: str
) -> None:
    error = refused(**parts, **{key: value})
    assert error.code == "CHOICE"
    assert f"`{key}` is {value!r}" in str(error)
    assert f"Did you mean '{meant}'?" in str(error)


@pytest.mark.parametrize(
    ("settings", "key", "of"),
    [
        ({"n_experts": 8}, "n_experts", "`decoder: experts`, but there is `decoder: direct`"),
        ({"attention": "dot"}, "attention", "`decoder: seq2seq`, but there is `decoder: direct`"),
        ({"decoder": "segment", "n_paths": 9}, "n_paths", "`decoder: autoregressive`, but"),
        ({"decoder": "experts", "linear_skip": "fixed"}, "linear_skip", "`decoder: direct` or"),
        ({"loss": "mse"}, "loss", "`head: point`, but there is `head: quantile`"),
        ({"event": {"above": 1.0}}, "event", "`head: event`, but there is `head: quantile`"),
        ({"head": "point", "quantile_weight": 1}, "quantile_weight", "`head: quantile`, but"),
        ({"penalties": [1.0]}, "penalties", "`kind: linear` or `kind: logistic`, but"),
        ({"kind": "linear", "cell": "gru"}, "cell", "`kind: recurrent`, but there is `kind: linear`"),
        ({"kind": "linear", "n_experts": 2}, "n_experts", "`kind: recurrent`, but there is `kind: linear`"),
        ({"kind": "logistic", "normalisation": "log"}, "normalisation", "`kind: recurrent` or"),
        ({"members": [{}]}, "members", "`kind: ensemble`, but there is `kind: recurrent`"),
        ({"n_seeds": 2}, "n_seeds", "`kind: ensemble`, but there is `kind: recurrent`"),
    ],
)  # fmt: skip
def test_a_setting_of_another_part_is_refused_and_says_of_which(
    settings: dict[str, Any], key: str, of: str
) -> None:
    error = refused(**settings)
    assert error.code == "COMBINATION"
    assert f"`{key}` is a setting of {of}" in str(error)


@pytest.mark.parametrize(
    ("settings", "meant"),
    [({"droput": 0.1}, "dropout"), ({"n_expert": 4}, "n_experts"), ({"n_path": 4}, "n_paths")],
)
def test_an_unknown_setting_is_refused_with_the_nearest_of_all_parts(
    settings: dict[str, Any], meant: str
) -> None:
    error = refused(**settings)
    assert error.code == "UNKNOWN-KEY"
    assert f"Did you mean '{meant}'?" in str(error)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"hidden_size": [8, 8], "n_layers": 3}, "n_layers"),
        ({"hidden_size": [8, 8], "dilations": [1, 2, 4]}, "dilations"),
        ({"n_layers": 3, "dilations": [1, 2]}, "dilations"),
        ({"cell": "rnn", "recurrent_activation": "relu"}, "recurrent_activation"),
    ],
)
def test_layers_that_contradict_each_other_are_refused(settings: dict[str, Any], key: str) -> None:
    error = refused(**settings)
    assert error.code == "RANGE"
    assert f"{FILE}: `{key}` is" in str(error)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"decoder": "autoregressive"}, "`head` is quantile, but must be one of normal"),
        ({"decoder": "autoregressive", "head": "point"}, "`head` is point, but must be one of"),
        ({"decoder": "seq2seq", "head": "event", "event": {"above": 1.0}}, "`decoder: seq2seq`"),
        ({"head": "negative_binomial"}, "`normalisation: mean`"),
        ({"normalisation": "mean"}, "`head: negative_binomial`"),
        ({"kind": "logistic", "head": "quantile"}, "`kind: logistic` forecasts an event"),
        ({"kind": "linear", "head": "event"}, "`kind: linear` forecasts quantiles"),
        ({"kind": "ensemble", "head": "event", "members": [{"head": "point"}, {}]}, "a member"),
        ({"kind": "ensemble", "members": [{"kind": "logistic"}, {}]}, "a member"),
        ({"kind": "ensemble", "head": "event", "members": [{"kind": "linear"}, {}]}, "quantiles"),
    ],
    ids=str,
)
def test_parts_that_do_not_go_together_are_refused(settings: dict[str, Any], said: str) -> None:
    error = refused(**settings)
    assert error.code == "COMBINATION"
    assert said in str(error)


def test_the_state_that_a_decoder_reads_is_that_of_the_last_layer_in_all_directions() -> None:
    assert recurrent(hidden_size=8, n_layers=2).layer_sizes == [8, 8]
    assert recurrent(hidden_size=[8, 5]).state_size == 5
    assert recurrent(hidden_size=[8, 5], bidirectional=True).state_size == 10


def ensemble(*members: dict[str, Any], **defaults: Any) -> Ensemble:
    model = model_of(kind="ensemble", members=list(members), **defaults)
    assert isinstance(model, Ensemble)
    return model


def test_a_member_takes_the_defaults_that_it_has_and_changes_what_it_says() -> None:
    model = ensemble(
        {"decoder": "experts", "dropout": 0.3},
        {"kind": "linear", "n_seeds": 1},
        dropout=0.5,
        normalisation="auto",
        n_seeds=2,
        n_layers=2,
    )
    experts, again, linear = model.recipes
    assert isinstance(experts, Recurrent)
    assert isinstance(linear, Linear)
    assert (experts.dropout, experts.n_layers, experts.normalisation) == (0.3, 2, "auto")
    assert again == experts
    assert linear.normalisation == "auto"


@pytest.mark.parametrize(
    ("defaults", "code"),
    [({"n_paths": 9}, "COMBINATION"), ({"loss": "mse"}, "COMBINATION"), ({"lost": 1}, "UNKNOWN-KEY")],
)  # fmt: skip
def test_a_default_that_no_member_has_is_refused(defaults: dict[str, Any], code: str) -> None:
    error = refused(kind="ensemble", members=[{}, {"kind": "linear"}], **defaults)
    assert error.code == code
    assert f"`{next(iter(defaults))}`" in str(error)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ({"hidden_sise": 8}, "Did you mean 'hidden_size'?"),
        ({"hidden_size": "many"}, "`hidden_size`"),
        ({"n_seeds": 0}, "`n_seeds`"),
        ({"kind": "ensemble"}, "one of recurrent, linear, logistic"),
        ({"dropout": 2.0}, "`dropout`"),
        ({"n_experts": 4}, "`n_experts` is a setting of `decoder: experts`"),
    ],
)
def test_a_member_that_cannot_be_is_refused(member: dict[str, Any], said: str) -> None:
    error = refused(kind="ensemble", members=[{}, member])
    assert said in str(error)


@pytest.mark.parametrize("members", [{}, {"members": []}, {"members": {"kind": "linear"}}])
def test_an_ensemble_has_members(members: dict[str, Any]) -> None:
    error = refused(kind="ensemble", **members)
    assert error.code == "RANGE"
    assert "`members`" in str(error)


def test_an_old_name_still_works_and_says_what_it_is_called_now(
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = {"units": 8, "reads": "segment", "decoder": "experts", "experts": 3, "emphasis": 2.0}
    model = read_model(old, FILE)
    said = capsys.readouterr().out
    assert model == recurrent(
        hidden_size=8, encoder_input="patch", decoder="experts", n_experts=3, relative_weight=2.0
    )
    for key in ("units", "reads", "experts", "emphasis"):
        assert f"`{key}` is now `{NEW_NAMES[key]}`" in said
    assert FILE in said


def test_old_names_work_in_members_and_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    old = ensemble({"seeds": 2, "wider": 2}, {"kind": "linear", "ridge": [1.0]}, units=8)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert old == ensemble(
        {"n_seeds": 2, "context_multiple": 2}, {"kind": "linear", "penalties": [1.0]}, hidden_size=8
    )


def test_a_setting_by_both_of_its_names_is_refused() -> None:
    assert refused(units=8, hidden_size=8).code == "COMBINATION"


def test_an_old_value_of_a_new_name_works_with_a_remark(capsys: pytest.CaptureFixture[str]) -> None:
    assert read_model({"encoder_input": "window"}, FILE) == recurrent(encoder_input="context")
    said = capsys.readouterr().out
    assert "`encoder_input: window` is now `encoder_input: context`" in said


def test_a_setting_by_both_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="both are there") as caught:
        read_model({"units": 8, "hidden_size": 16}, FILE)
    assert caught.value.code == "COMBINATION"


def test_an_override_replaces_a_setting_that_the_recipe_has_by_its_old_name() -> None:
    model = read_model({"units": 8, "hidden_size": 16}, FILE, {"hidden_size": COMMAND_LINE})
    assert model == recurrent(hidden_size=16)


WRONG_OVERRIDES = {
    "a value out of range": {"dropout": 2.0},
    "a value of a wrong type": {"dropout": "much"},
    "a value below 1": {"n_layers": 0},
    "an unknown setting": {"hidden_sise": 8},
    "an unknown choice of cell": {"cell": "gruu"},
    "an unknown choice of decoder": {"decoder": "directt"},
    "a setting of another decoder": {"n_experts": 4},
    "a setting of the head out of range": {"quantile_weight": -1.0},
}


@pytest.mark.parametrize("wrong", WRONG_OVERRIDES.values(), ids=WRONG_OVERRIDES)
def test_a_wrong_override_is_blamed_on_the_command_line_alone(wrong: dict[str, Any]) -> None:
    (key,) = wrong
    for base in ({}, {"kind": "ensemble", "members": [{"head": "quantile"}]}):
        with pytest.raises(ConfigError) as caught:
            read_model(
                base | {"hidden_size": 8} | wrong,
                FILE,
                dict.fromkeys([key, "hidden_size"], COMMAND_LINE),
            )
        assert "]: the command line: " in str(caught.value)
        assert f"`model.{key}`" in str(caught.value)
        assert FILE not in str(caught.value)


def test_a_wrong_line_of_a_recipe_is_blamed_on_it_whatever_is_overridden() -> None:
    with pytest.raises(ConfigError) as caught:
        read_model({"dropout": 2.0, "hidden_size": 8}, FILE, {"hidden_size": COMMAND_LINE})
    assert f"{FILE}: `dropout`" in str(caught.value)
    assert "the command line" not in str(caught.value)


def test_a_member_s_own_wrong_setting_is_blamed_on_the_file() -> None:
    recipe = {"kind": "ensemble", "members": [{"dropout": 2.0}], "dropout": 0.1}
    with pytest.raises(ConfigError) as caught:
        read_model(recipe, FILE, {"dropout": COMMAND_LINE})
    assert f"{FILE}, member 1: `dropout`" in str(caught.value)


def test_settings_that_do_not_go_together_are_of_the_file_and_the_command_line() -> None:
    with pytest.raises(ConfigError) as caught:
        read_model({"decoder": "autoregressive", "head": "point"}, FILE, {"head": COMMAND_LINE})
    assert f"{FILE} and the command line" in str(caught.value)


def test_an_override_of_one_end_of_a_range_keeps_the_other_end_of_the_old_name() -> None:
    content = {"space": {"units": {"low": 8, "high": 64}, "hidden_size": {"high": 32}}}
    key = "search.space.hidden_size.high"
    names = {"overridden": {key: COMMAND_LINE}, "package": "search."}
    search = GROUPS["tune"].read(content, "conf/tune/x.yaml", **names)
    (size,) = search.space.values()
    assert (list(search.space), size.low, size.high) == (["hidden_size"], 8, 32)
