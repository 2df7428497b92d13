"""What a net remembers: sensitivities that are known beforehand, gates, the files and pictures that show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch

from gatecast.core.errors import EvaluationError
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, latest
from gatecast.evaluation import memory, memory_plots
from gatecast.evaluation.predictor import NetPredictor
from gatecast.feed.sampling import validation_windows
from gatecast.feed.scaling import fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.build import build
from gatecast.models.cells import CELLS
from gatecast.models.config import Model
from gatecast.models.ensemble import EnsembleForecaster
from tests.recipes import model_of

Panels = Callable[..., Panel]
SMALL: dict[str, Any] = {"hidden_size": 8, "n_steps": 3, "n_origins": 1}
RECIPES = {
    **{cell: model_of(cell=cell, **SMALL) for cell in CELLS},
    "stacked": model_of(cell="gru", **SMALL | {"hidden_size": [8, 6]}, layer_norm=True),
    "bidirectional": model_of(**SMALL, bidirectional=True),
    "dilated": model_of(**SMALL, n_layers=2, dilations=[1, 2], residual=True),
    "relu": model_of(cell="rnn", **SMALL, activation="relu", encoder_input="patch"),
    "seasonal": model_of(**SMALL, normalisation="seasonal", decoder="experts"),
    "seq2seq": model_of(**SMALL, decoder="seq2seq", attention="dot"),
    "segment": model_of(cell="gru", **SMALL, decoder="segment"),
    "deepar": model_of(**SMALL, decoder="autoregressive", head="student", n_paths=20),
}


def net(panel: Panel, recipe: Model, seed: int = 0) -> NetPredictor:
    torch.manual_seed(seed)
    spec = input_spec(panel, recipe)
    return NetPredictor("net", build(recipe, spec), spec, fit_scaling(panel), panel.meta)


def linear(panel: Panel, weight: np.ndarray) -> NetPredictor:
    """A closed form of these weights, (W, H), and nothing else."""
    made = net(panel, model_of(kind="linear", context_length=len(weight), normalisation="level"))
    assert isinstance(made.net.weight, torch.Tensor)
    made.net.weight.copy_(torch.from_numpy(weight))
    made.net.known.zero_()  # type: ignore[union-attr,operator]
    return made


@pytest.fixture(scope="session")
def noise(make_panel: Panels) -> Panel:
    """Two series of noise around 20 without gaps; horizon 3, a season of 4."""
    r = np.random.default_rng(0)
    return make_panel({name: r.normal(20, 3, 120) for name in "ab"}, calendar=False)


def test_a_linear_net_is_as_sensitive_as_its_weights_say(noise: Panel) -> None:
    """With level m and weights w the forecast is m + sum of w (y - m): d / d y_i is w_i + (1 - sum of w) / W."""
    weight = np.random.default_rng(1).normal(0, 0.2, (16, 3)).astype(np.float32)
    found = memory.sensitivity(linear(noise, weight), noise, validation_windows(noise, 50))
    expected = np.abs(weight + (1 - weight.sum(0)) / 16).mean(1)[::-1]  # the newest row first
    np.testing.assert_allclose(found.lags, expected, rtol=1e-4)
    assert found.steps is None
    assert found.windows == len(validation_windows(noise, 50))


def test_a_net_that_reads_the_newest_row_only_remembers_nothing_else(noise: Panel) -> None:
    weight = np.zeros((16, 3), np.float32)
    weight[-1] = 1
    found = memory.sensitivity(linear(noise, weight), noise, validation_windows(noise, 50))
    np.testing.assert_allclose(found.lags, [1] + [0] * 15, atol=1e-6)
    assert found.horizons == {"memory_lags": 1}


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9])
def test_the_state_carries_what_its_recurrent_weights_let_through(
    factor: float, noise: Panel
) -> None:
    """Without its activation a plain cell whose recurrent weights are a times the identity keeps a^j of step T - j."""
    recipe = model_of(
        cell="rnn", activation="linear", input_projection=False, **SMALL | {"n_steps": 6}
    )
    made = net(noise, recipe)
    part = memory.recurrent_net(made.net)
    assert part is not None
    with torch.no_grad():
        part.encoder.get_parameter("recurrent.weight_hh_l0").copy_(factor * torch.eye(8))
    found = memory.sensitivity(made, noise, validation_windows(noise, 50))
    power = factor ** np.arange(6)
    assert found.steps is not None
    np.testing.assert_allclose(found.steps, power / power.sum(), rtol=1e-4, atol=1e-7)
    first = {0.0: 1, 0.5: 4, 0.9: 6}  # 1/2 + 1/4 + 1/8 are 0.875 of it, and 1/16 more is enough
    assert found.horizons["memory_steps"] == first[factor]


@pytest.mark.parametrize("recipe", ["lstm", "seasonal"])
def test_series_of_any_level_count_alike(recipe: str, make_panel: Panels) -> None:
    y = np.random.default_rng(0).normal(20, 3, 120)
    small, large = (make_panel({"a": y * unit}) for unit in (1.0, 1000.0))
    windows = validation_windows(small, 5)
    a, b = (memory.sensitivity(net(p, RECIPES[recipe]), p, windows) for p in (small, large))
    np.testing.assert_allclose(a.lags, b.lags, rtol=1e-3, atol=1e-6)


def test_a_lag_is_averaged_over_the_windows_that_know_it(make_panel: Panels) -> None:
    """A window that reaches back before its series began says nothing of the rows it does not have."""
    y = np.random.default_rng(0).normal(20, 3, 120)
    panel = make_panel({"a": y, "late": y[:40]}, begin={"late": 80}, calendar=False)
    weight = np.random.default_rng(1).normal(0, 0.2, (16, 3)).astype(np.float32)
    weight += (1 - weight.sum(0)) / 16  # the level has no weight of its own
    model = linear(panel, weight)
    windows = Windows(np.array([0, 1]), np.array([100, 8]))  # of which the second knows 8 rows
    found = memory.sensitivity(model, panel, windows)
    expected = np.abs(weight).mean(1)[::-1]
    np.testing.assert_allclose(found.lags[8:], expected[8:], rtol=1e-4)


@pytest.mark.parametrize("recipe", ["lstm", "seasonal"])
def test_constant_and_short_series_have_a_sensitivity_too(recipe: str, make_panel: Panels) -> None:
    y = np.random.default_rng(0).normal(20, 3, 120)
    panel = make_panel(
        {"a": y, "flat": np.full(120, 7.0), "zero": np.zeros(120), "late": y[:3]},
        begin={"late": 117},
    )
    windows = Windows(np.arange(4), np.array([110, 110, 110, 1]))
    found = memory.sensitivity(net(panel, RECIPES[recipe]), panel, windows)
    assert found.windows == 4
    assert np.isfinite(found.lags).all()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_shown(name: str, demo_panel: Panel, tmp_path: Path) -> None:
    made = net(demo_panel, RECIPES[name])
    windows = latest(demo_panel)[::4]
    found = memory.sensitivity(made, demo_panel, windows)
    part = memory.recurrent_net(made.net)
    assert part is not None
    assert found.lags.shape == (made.spec.lookback,)
    assert found.lags[0] > 0
    assert found.steps is not None
    assert found.steps.shape == (3,)
    assert found.steps.sum() == pytest.approx(1)
    seen = memory.activations(made, demo_panel, windows[:1])
    assert seen["state"].shape == (3, RECIPES[name].layer_sizes[-1])
    path = tmp_path / "gates.png"
    memory_plots.gates(name, seen, part.spec, demo_panel, windows[:1], path)
    assert is_picture(path)


def test_an_ensemble_shows_its_first_recurrent_member_that_counts(demo_panel: Panel) -> None:
    recipe = model_of(
        kind="ensemble",
        hidden_size=8,
        n_steps=3,
        n_origins=1,
        members=[
            {"kind": "linear"},
            {"cell": "rnn"},
            {"cell": "gru", "context_multiple": 2, "n_steps": 4},
        ],
    )
    made = net(demo_panel, recipe)
    assert isinstance(made.net, EnsembleForecaster)
    windows = latest(demo_panel)[:2]

    def steps(*counts: bool) -> int | None:
        made.net.counts.copy_(torch.tensor(counts))  # type: ignore[operator,union-attr]
        found = memory.sensitivity(made, demo_panel, windows)
        assert found.lags.shape == (made.spec.lookback,)
        return None if found.steps is None else len(found.steps)

    assert steps(True, True, True) == 3
    assert steps(True, False, True) == 4
    assert memory.activations(made, demo_panel, windows[:1]).keys() == {"reset", "update", "state"}
    assert steps(True, False, False) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "event", "event": {"above": 100.0}},
        {"head": "negative_binomial", "normalisation": "mean"},
    ],
    ids=["event", "count"],
)
def test_a_forecast_without_a_gradient_is_refused(
    changes: dict[str, Any], demo_panel: Panel
) -> None:
    made = net(demo_panel, model_of(**SMALL, **changes))
    with pytest.raises(EvaluationError, match="NO-GRADIENT"):
        memory.sensitivity(made, demo_panel, latest(demo_panel))


@pytest.mark.parametrize(
    ("shares", "n"), [([1, 0, 0], 1), ([6, 2, 1, 1], 3), ([1] * 10, 9), ([0, 0, 1], 3)]
)
def test_nine_tenths_lie_within(shares: list[float], n: int) -> None:
    assert memory.within(np.array(shares, float)) == n


def test_the_window_shown_is_one_whose_past_is_known(make_panel: Panels) -> None:
    y = np.random.default_rng(0).normal(20, 3, 120)
    gaps = y.copy()
    gaps[50:90] = np.nan
    panel = make_panel({"gaps": gaps, "late": y[:40], "whole": y}, begin={"late": 80})
    windows = validation_windows(panel, 50)
    chosen = memory.typical(panel, windows, 60)
    assert panel.ids[chosen.series[0]] == "whole"


def found_of(panel: Panel) -> list[memory.Sensitivity]:
    windows = validation_windows(panel, 4)
    return [
        replace(memory.sensitivity(net(panel, recipe), panel, windows), name=name)
        for name, recipe in (("lstm", RECIPES["lstm"]), ("gru", RECIPES["stacked"]))
    ]


def test_the_report_says_the_same_in_tables_and_in_words(noise: Panel, tmp_path: Path) -> None:
    weight = np.full((16, 3), 1 / 16, np.float32)
    windows = validation_windows(noise, 4)
    flat = replace(memory.sensitivity(linear(noise, weight), noise, windows), name="linear")
    found = [*found_of(noise), flat]
    memory.write(tmp_path, found, {"counts": "it jumps"}, noise)
    lags = pd.read_csv(tmp_path / "sensitivity.csv")
    for f in found:
        own = lags[lags["variant"] == f.name]
        np.testing.assert_array_equal(own["lag"], np.arange(1, len(f.lags) + 1))
        np.testing.assert_allclose(own["sensitivity"], f.lags, rtol=1e-5)
    steps = pd.read_csv(tmp_path / "steps.csv")
    assert steps.groupby("variant")["share"].sum().round(4).to_dict() == {"gru": 1, "lstm": 1}
    summary = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))["variants"]
    assert summary["counts"] == {"left_out": "it jumps"}
    assert summary["linear"]["memory_lags"] == 15  # 0.9 of 16 equal ones
    assert "memory_steps" not in summary["linear"]
    assert summary["lstm"]["memory_steps"] == found[0].horizons["memory_steps"]
    said = memory.render(found, "title")
    assert "15 of 16 rows" in said
    assert f"{summary['lstm']['memory_steps']} of 3 steps of 4 rows" in said


def is_picture(path: Path) -> bool:
    """A PNG with something drawn on it."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    return len(np.unique(matplotlib.image.imread(path))) > 20


@pytest.mark.parametrize("season_length", [1, 4, 500])
def test_sensitivities_are_a_picture(season_length: int, noise: Panel, tmp_path: Path) -> None:
    path = tmp_path / "sensitivity.png"
    memory_plots.sensitivity(found_of(noise), season_length, path)
    assert is_picture(path)


def test_sensitivities_without_a_recurrent_layer_are_a_picture(
    noise: Panel, tmp_path: Path
) -> None:
    weight = np.zeros((16, 3), np.float32)
    weight[-1] = 1
    found = memory.sensitivity(linear(noise, weight), noise, validation_windows(noise, 4))
    memory_plots.sensitivity([found], 4, tmp_path / "sensitivity.png")
    assert is_picture(tmp_path / "sensitivity.png")
