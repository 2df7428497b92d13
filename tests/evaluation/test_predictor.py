"""A net as a predictor of a panel's windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatecast.core.errors import EvaluationError, TrainError
from gatecast.core.forecast import QUANTILES
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, latest, rolling_origins
from gatecast.evaluation import predictor as module
from gatecast.evaluation.predictor import NetPredictor
from gatecast.feed.scaling import fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.build import build
from gatecast.models.cells import CELLS
from gatecast.models.config import Model
from tests.recipes import model_of

Panels = Callable[..., Panel]


def net(panel: Panel, recipe: Model) -> NetPredictor:
    torch.manual_seed(0)
    spec = input_spec(panel, recipe)
    made = build(recipe, spec)
    if recipe.kind == "linear":  # weights of zero would see nothing
        for buffer in made.buffers():
            buffer.copy_(torch.randn(buffer.shape).sort(-1).values * 0.05)
    return NetPredictor("net", made, spec, fit_scaling(panel), panel.meta)


RECIPES = [model_of(cell=c, hidden_size=8, n_steps=3, n_origins=1) for c in CELLS] + [
    model_of(kind="linear")
]
IDS = [*CELLS, "linear"]


@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_a_forecast_has_every_window_step_and_level(recipe: Model, demo_panel: Panel) -> None:
    windows = rolling_origins(demo_panel, "test")
    forecast = net(demo_panel, recipe).predict(demo_panel, windows)
    assert forecast.values.shape == (len(windows), 24, len(QUANTILES))
    assert forecast.values.dtype == np.float32
    assert np.isfinite(forecast.values).all()
    assert (np.diff(forecast.values, axis=-1) >= 0).all()


@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_nothing_after_the_origin_is_seen_but_known_covariates(
    recipe: Model, demo_panel: Panel
) -> None:
    """A panel that goes wild after the origins gives the same forecasts."""
    origin = 700
    windows = Windows(np.arange(demo_panel.n_series), np.minimum(origin, demo_panel.history))
    values = demo_panel.values.copy()
    row = np.arange(len(values)) - np.repeat(demo_panel.indptr[:-1], demo_panel.lengths)
    later = row >= np.repeat(windows.origin, demo_panel.lengths)
    values[later, 0] = 1e6
    wild = replace(demo_panel, values=values, observed=demo_panel.observed | later)
    model = net(demo_panel, recipe)
    expected = model.predict(demo_panel, windows).values
    np.testing.assert_array_equal(model.predict(wild, windows).values, expected)

    values = demo_panel.values.copy()
    values[later, 1] += 10  # temperature, known ahead
    warm = model.predict(replace(demo_panel, values=values), windows).values
    assert not np.allclose(warm, expected)


@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_the_newest_value_is_seen(recipe: Model, demo_panel: Panel) -> None:
    windows = Windows(np.array([0]), np.array([700]))
    values = demo_panel.values.copy()
    values[demo_panel.indptr[0] + 699, 0] *= 3
    model = net(demo_panel, recipe)
    a = model.predict(demo_panel, windows).values
    b = model.predict(replace(demo_panel, values=values), windows).values
    assert not np.allclose(a[0, 0], b[0, 0])


def test_windows_are_forecast_in_batches(
    demo_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, windows = net(demo_panel, RECIPES[0]), latest(demo_panel)
    whole = model.predict(demo_panel, windows).values
    monkeypatch.setattr(module, "at_once", lambda horizon: 5)
    np.testing.assert_allclose(
        model.predict(demo_panel, windows).values, whole, rtol=1e-4, atol=1e-6
    )


def test_dropout_does_not_reach_a_forecast(demo_panel: Panel) -> None:
    recipe = model_of(hidden_size=8, dropout=0.9, n_steps=3, n_origins=1)
    spec = input_spec(demo_panel, recipe)
    made = build(recipe, spec).train()
    model = NetPredictor("net", made, spec, fit_scaling(demo_panel), demo_panel.meta)
    a, b = (model.predict(demo_panel, latest(demo_panel)).values for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_no_window_gives_an_empty_forecast(demo_panel: Panel) -> None:
    none = Windows(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert net(demo_panel, RECIPES[0]).predict(demo_panel, none).values.shape == (0, 24, 11)


@pytest.mark.parametrize("change", [{"horizon": 12}, {"frequency": "30min"}])
def test_another_task_is_not_comparable(change: dict[str, object], demo_panel: Panel) -> None:
    other = replace(demo_panel, meta=replace(demo_panel.meta, **change))
    with pytest.raises(EvaluationError, match="NOT-COMPARABLE"):
        net(demo_panel, RECIPES[0]).predict(other, latest(demo_panel))


def test_other_columns_are_refused(demo_panel: Panel, make_panel: Panels) -> None:
    bare = make_panel({"a": np.arange(300.0)}, horizon=24, season_length=24)
    with pytest.raises(TrainError, match="CHANNELS"):
        net(demo_panel, RECIPES[0]).predict(bare, latest(bare))


def test_a_series_of_large_numbers_gets_a_finite_forecast(make_panel: Panels) -> None:
    """Ingest accepts every float32: token amounts reach 1e21 and more."""
    panel = make_panel({"a": np.random.default_rng(0).normal(5e21, 1e21, 80)})
    for recipe in RECIPES:
        forecast = net(panel, recipe).predict(panel, latest(panel))
        assert np.isfinite(forecast.values).all(), recipe.kind


def test_bfloat16_forecasts_nearly_the_same(demo_panel: Panel) -> None:
    windows = latest(demo_panel)
    model = net(demo_panel, RECIPES[1])
    exact = model.predict(demo_panel, windows).values
    rough = model.on("cpu", "bf16-mixed").predict(demo_panel, windows).values
    assert rough.dtype == np.float32
    assert (np.diff(rough, axis=-1) >= 0).all()
    spread = np.ptp(exact, axis=(1, 2), keepdims=True)
    assert (rough != exact).any()
    assert (np.abs(rough - exact) <= 0.05 * spread).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_a_gpu_forecasts_the_same(recipe: Model, demo_panel: Panel) -> None:
    windows = rolling_origins(demo_panel, "test")
    model = net(demo_panel, recipe)
    here = model.predict(demo_panel, windows).values
    there = model.on("cuda").predict(demo_panel, windows).values
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-3 * np.abs(here).max())
